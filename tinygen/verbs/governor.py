"""The example governor beside a build: its C, and the network's ladder of costs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tinygen.emit.ctext import comment_safe
from tinygen.emit.templates import environment
from tinygen.paths import resource
from tinygen.version import VERSION

FOLDER = "governor"
_LARGEST = 2**32 - 1


def write_governor(manifest: dict[str, Any], folder: Path) -> None:
    """Writes `governor/` into a build: governor.h and .c, and NAME_ladder.h and .c with the cost of each switch.

    The firmware does not use it; applications may. Nothing is written for a network that cannot be switched, or that
    was not profiled, or whose costs do not fit 32 bits.

    Args:
        manifest: with the profile of every switch.
        folder: of the build.
    """
    rungs = _ladder(manifest)
    if not rungs or rungs[-1]["cost"] > _LARGEST:
        return
    target = folder / FOLDER
    target.mkdir(parents=True)
    for suffix in ("h", "c"):
        shutil.copyfile(resource("firmware") / "governor" / f"governor.{suffix}", target / f"governor.{suffix}")
    name = manifest["model"]
    context = {
        "name": name,
        "NAME": name.upper(),
        "board": comment_safe(manifest["board_title"]),
        "unit": rungs[0]["unit"],
        "rungs": rungs,
        "version": VERSION,
    }
    for suffix in ("h", "c"):
        text = environment().get_template(f"governor/ladder.{suffix}.j2").render(context)
        (target / f"{name}_ladder.{suffix}").write_text(text, encoding="utf-8", newline="\n")


def _ladder(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Switches from the cheapest to the dearest; empty when a cost is not known."""
    entries = manifest["switches"]
    if any(entry["profile"] is None for entry in entries):
        return []
    in_energy = all("microjoules_predicted" in entry["profile"] for entry in entries)
    rungs = [
        {
            "macro": f"{manifest['model']}_{entry['name']}".upper(),
            "cycles": entry["profile"]["cycles_predicted"],
            "cost": round(entry["profile"]["microjoules_predicted"] * 1000)
            if in_energy
            else entry["profile"]["cycles_predicted"],
            "unit": "nanojoules" if in_energy else "cycles",
        }
        for entry in entries
    ]
    return sorted(rungs, key=lambda rung: rung["cost"])
