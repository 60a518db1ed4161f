"""The example governor beside a build: its C, and the network's ladder of costs: of switches, or of thresholds."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
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
class SwitchSetting:
    """A switch and what one inference costs.

    Attributes:
        microjoules: None if the board's current is unknown.
    """

    switch: str
    cycles: int
    microjoules: float | None


@dataclass(frozen=True)
class Setting:
    """Codes of thresholds, and the cost of an inference with them.

    Attributes:
        thresholds: codes by name; the same names in all settings of a ladder.
        cycles: the mean over the data set.
        microjoules: of these; None where the board's current is not known.
        worst_cycles: the most cycles that an input of the data set takes.
        accuracy: 0 to 1; None without labels.
    """

    thresholds: Mapping[str, int]
    cycles: int
    microjoules: float | None
    worst_cycles: int
    accuracy: float | None = None


@dataclass(frozen=True)
class Basis:
    """The source of a ladder's costs.

    Attributes:
        board: its title, for comments.
        source: of the cycles: "predicted" or "estimated".
        inputs: of the data set.
    """

    board: str
    source: str
    inputs: int


def write_governor(folder: Path, model: str, board_title: str, settings: Sequence[SwitchSetting]) -> None:
    """Writes `governor/` into a build: governor.h and .c, and NAME_ladder.h and .c with the cost of each switch.

    The firmware does not use it; applications may. Nothing is written where there is nothing to choose from, or where
    costs do not fit 32 bits.

    Args:
        folder: of the build.
        model: its name in the C.
        board_title: for the comment.
        settings: all switches, in any order; none where one of them was not profiled.
    """
    ladder = _ladder(model, settings)
    if not ladder or ladder[-1]["cost"] > _LARGEST:
        return
    _write(folder, model, board_title, "ladder", {"unit": ladder[0]["unit"], "settings": ladder})


def write_threshold_governor(folder: Path, model: str, basis: Basis, settings: Sequence[Setting]) -> None:
    """Writes the same for settings of a network's thresholds, and a function that sets them.

    Nothing is written where there is nothing to choose from, or where costs do not fit 32 bits.

    Args:
        folder: of the build.
        model: its name in the C.
        basis: for comments.
        settings: in any order.
    """
    if not settings:
        return
    names = list(settings[0].thresholds)
    costs, unit = _costs([(one.cycles, one.microjoules) for one in settings])
    rows = [
        {
            "cost": cost,
            "cycles": one.cycles,
            "worst_cycles": one.worst_cycles,
            "accuracy": "" if one.accuracy is None else f", accuracy {100 * one.accuracy:.2f} %",
            "codes": [_literal(one.thresholds[name]) for name in names],
        }
        for one, cost in sorted(zip(settings, costs, strict=True), key=lambda pair: pair[1])
    ]
    if max(costs) > _LARGEST or max(one.worst_cycles for one in settings) > _LARGEST:
        return
    macros = [f"{model}_{name}".upper() for name in names]
    context = {
        "macros": macros,
        "settings": rows,
        "unit": unit,
        "source": basis.source,
        "inputs": f"{basis.inputs:,}",
    }
    _write(folder, model, basis.board, "thresholds", context)


def _literal(code: int) -> str:
    """A code as a C expression: the smallest 32-bit integer has no literal."""
    return "INT32_MIN" if code == -(2**31) else str(code)


def _write(folder: Path, model: str, board_title: str, template: str, context: Mapping[str, Any]) -> None:
    """The governor's C, and NAME_ladder.h and .c out of the templates."""
    target = folder / FOLDER
    target.mkdir(parents=True)
    for suffix in ("h", "c"):
        shutil.copyfile(resource("firmware") / "governor" / f"governor.{suffix}", target / f"governor.{suffix}")
    names = {"name": model, "NAME": model.upper(), "board": comment_safe(board_title), "version": VERSION}
    for suffix in ("h", "c"):
        text = environment().get_template(f"governor/{template}.{suffix}.j2").render({**names, **context})
        (target / f"{model}_ladder.{suffix}").write_text(text, encoding="utf-8", newline="\n")


def _costs(found: Sequence[tuple[int, float | None]]) -> tuple[list[int], str]:
    """(cycles, microjoules) as integers, and the unit to compare: energy if it is known for all of them."""
    energies = [microjoules for _, microjoules in found if microjoules is not None]
    if len(energies) == len(found):
        return [round(1000 * microjoules) for microjoules in energies], "nanojoules"
    return [cycles for cycles, _ in found], "cycles"


def _ladder(model: str, settings: Sequence[SwitchSetting]) -> list[dict[str, Any]]:
    """Switches in ascending order of cost: by energy if it is known for all of them."""
    costs, unit = _costs([(setting.cycles, setting.microjoules) for setting in settings])
    ladder = [
        {"macro": f"{model}_{setting.switch}".upper(), "cycles": setting.cycles, "cost": cost, "unit": unit}
        for setting, cost in zip(settings, costs, strict=True)
    ]
    return sorted(ladder, key=lambda setting: setting["cost"])
