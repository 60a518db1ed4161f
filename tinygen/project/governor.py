"""The example governor beside a build: its C, and the network's ladder of costs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygen.emit.ctext import comment_safe
from tinygen.emit.templates import environment
from tinygen.paths import resource
from tinygen.version import VERSION

FOLDER = "governor"
_LARGEST = 2**32 - 1


@dataclass(frozen=True)
class Rung:
    """A switch and what one inference costs.

    Attributes:
        microjoules: None where the board's current is not known.
    """

    switch: str
    cycles: int
    microjoules: float | None


def write_governor(folder: Path, model: str, board_title: str, rungs: Sequence[Rung]) -> None:
    """Writes `governor/` into a build: governor.h and .c, and NAME_ladder.h and .c with the cost of each switch.

    The firmware does not use it; applications may. Nothing is written where there is nothing to choose from, or where
    costs do not fit 32 bits.

    Args:
        folder: of the build.
        model: its name in the C.
        board_title: for the comment.
        rungs: all switches, in any order; none where one of them was not profiled.
    """
    ladder = _ladder(model, rungs)
    if not ladder or ladder[-1]["cost"] > _LARGEST:
        return
    target = folder / FOLDER
    target.mkdir(parents=True)
    for suffix in ("h", "c"):
        shutil.copyfile(resource("firmware") / "governor" / f"governor.{suffix}", target / f"governor.{suffix}")
    context = {
        "name": model,
        "NAME": model.upper(),
        "board": comment_safe(board_title),
        "unit": ladder[0]["unit"],
        "rungs": ladder,
        "version": VERSION,
    }
    for suffix in ("h", "c"):
        text = environment().get_template(f"governor/ladder.{suffix}.j2").render(context)
        (target / f"{model}_ladder.{suffix}").write_text(text, encoding="utf-8", newline="\n")


def _ladder(model: str, rungs: Sequence[Rung]) -> list[dict[str, Any]]:
    """Switches from the cheapest to the dearest: by energy where that is known of all of them."""
    energies = [rung.microjoules for rung in rungs if rung.microjoules is not None]
    in_energy = len(energies) == len(rungs)
    ladder = [
        {
            "macro": f"{model}_{rung.switch}".upper(),
            "cycles": rung.cycles,
            "cost": round((rung.microjoules or 0) * 1000) if in_energy else rung.cycles,
            "unit": "nanojoules" if in_energy else "cycles",
        }
        for rung in rungs
    ]
    return sorted(ladder, key=lambda rung: rung["cost"])
