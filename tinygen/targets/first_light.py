"""Results of the acceptance suite (top-level folder `hil`) for a board: first-light-BOARD.json.

Kept in `boards/measured/` it is what is known of the real board. Only what was measured on one may lie there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.errors import BoardError
from tinygen.paths import resource

SCHEMA, SCHEMA_VERSION = "tinygen first light", 1
MEASURED, PREDICTED, REPORTED = "measured", "predicted", "reported"
LOOP, KERNEL, MODEL = "loop", "kernel", "model"
_SHARE = 90.0


@dataclass(frozen=True)
class Point:
    """Cycles of a piece of code: what the board counted, beside what was predicted of the same firmware.

    Attributes:
        kind: LOOP, KERNEL or MODEL.
        name: of the loop, of the layer, of the model.
        kernel: of the library, of a layer.
        cycles: by the board's own counter; None where it has none.
        predicted: by its emulated twin; None where there is none.
        stalls: of `predicted`, those that memories cost.
        instructions: that the twin executed.
    """

    kind: str
    name: str
    kernel: str = ""
    cycles: int | None = None
    predicted: int | None = None
    stalls: int = 0
    instructions: int = 0

    @property
    def ratio(self) -> float | None:
        """Counted cycles divided by predicted ones."""
        return self.cycles / self.predicted if self.cycles and self.predicted else None


@dataclass(frozen=True)
class Spread:
    """Counted cycles by predicted ones: the median, and what 90 % of the points lie within."""

    points: int
    median: float
    low: float
    high: float

    def __str__(self) -> str:
        low, high = (f"{100 * (one - 1):+.1f}" for one in (self.low, self.high))
        return f"{self.points} points, median {100 * (self.median - 1):+.1f} %, 90 % of them {low} to {high} %"


def spread_of(points: Sequence[Point]) -> Spread | None:
    """The spread of the points with both figures; None if there are none."""
    ratios = [point.ratio for point in points if point.ratio is not None]
    if not ratios:
        return None
    low, middle, high = np.percentile(ratios, [(100 - _SHARE) / 2, 50, (100 + _SHARE) / 2]).tolist()
    return Spread(len(ratios), middle, low, high)


@dataclass(frozen=True)
class FirstLight:
    """A run of the suite.

    Attributes:
        board: its name.
        place: the port, or the emulator used instead.
        source: what its cycles are worth: "measured" on a real board, "predicted" of an emulated one, "reported" by
            what is behind a pseudo-terminal or a network.
        created, tinygen, toolchain, clock_hz: when, by what, built by what, and what the firmware said it runs at.
        points: see `Point`.
        checks: name, status ("passed", "failed", "skipped") and message of each.
        gaps: what could not be tested, and why.
        rates: of core and line, see `hil/clock.py`.
        energy: as `tinygen hil` reports it, by model.
    """

    board: str
    place: str
    source: str
    created: str
    tinygen: str
    toolchain: str
    clock_hz: int | None = None
    points: tuple[Point, ...] = ()
    checks: tuple[Mapping[str, str], ...] = ()
    gaps: tuple[str, ...] = ()
    rates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    energy: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return all(check["status"] != "failed" for check in self.checks)

    def spread(self, *kinds: str) -> Spread | None:
        """The spread of the points of these kinds; of all points if no kind is named."""
        return spread_of([point for point in self.points if not kinds or point.kind in kinds])

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **asdict(self), "passed": self.passed}


def read_first_light(path: Path) -> FirstLight:
    """
    Raises:
        BoardError: it cannot be read, or is something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA or content["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema {content['schema']!r}, version {content['schema_version']}")
        known: dict[str, Any] = {key: value for key, value in content.items() if key in FirstLight.__dataclass_fields__}
        known["points"] = tuple(Point(**point) for point in content["points"])
        known |= {key: tuple(value) for key, value in known.items() if isinstance(value, list)}
        return FirstLight(**known)
    except (OSError, ValueError, KeyError, TypeError) as error:
        fix = "Run `pytest hil --board NAME --port auto`, which writes it."
        raise BoardError(f"is no first light: {error}", where=str(path), fix=fix) from error


def measured_of(board: str) -> FirstLight | None:
    """The results for a board in `boards/measured/`; None if nothing was measured.

    Raises:
        BoardError: what lies there is another board's, or was not measured on a real one, or did not pass.
    """
    path = resource("boards") / "measured" / f"first-light-{board}.json"
    if not path.is_file():
        return None
    found = _read_once(path, path.stat().st_mtime_ns)
    problem = ""
    if found.board != board:
        problem = f"is {found.board}'s"
    elif found.source != MEASURED:
        problem = f"was {found.source} ({found.place}), not measured on a board"
    elif not found.passed:
        problem = "has checks that failed"
    if problem:
        raise BoardError(problem, where=str(path), fix="Keep only what a real board said: take the file away.")
    return found


@lru_cache(maxsize=4)
def _read_once(path: Path, changed: int) -> FirstLight:
    return read_first_light(path)


def spread_on(board: str) -> Spread | None:
    """How far predicted cycles of kernels and models are off on a real board; None where nothing was measured.

    Raises:
        BoardError: see `measured_of`.
    """
    found = measured_of(board)
    return found.spread(KERNEL, MODEL) if found is not None else None
