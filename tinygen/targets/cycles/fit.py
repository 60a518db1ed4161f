"""Fits predicted cycles to measured ones: `python -m tinygen.targets.cycles.fit first-light-BOARD.json`.

    counted = core x (predicted - stalls) + memory x stalls

Both factors are fitted to the loops, whose cost is known, or with --on to points of another kind; all others are held
out, and the errors of both are printed, before and after. Least squares of relative errors, so that large points count
no more than small ones. A factor of `memory` is one for the `miss_cycles` of the board file; one of `core` away from 1
says that the core's pipeline model is off, and by how much.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tinygen.errors import BoardError, TinygenError
from tinygen.targets.boards import load_board
from tinygen.targets.first_light import KERNEL, LOOP, MEASURED, MODEL, FirstLight, Point, read_first_light, spread_of

_LEAST = 3
_FEW_STALLS = 0.01


@dataclass(frozen=True)
class Fit:
    """Factors of a board.

    Attributes:
        core, memory: see the module; `memory` is 1 where hardly any fitted point waits for memory.
        fitted: the points they come from; held_out: the others.
    """

    core: float
    memory: float
    fitted: tuple[Point, ...]
    held_out: tuple[Point, ...]

    def predicted(self, point: Point) -> Point:
        """The point with its prediction corrected by the factors."""
        assert point.predicted is not None
        return replace(
            point, predicted=round(self.core * (point.predicted - point.stalls) + self.memory * point.stalls)
        )


def fit(found: FirstLight, kinds: Sequence[str] = (LOOP,)) -> Fit:
    """Fits to the points of these kinds.

    Raises:
        BoardError: its cycles were not measured on a real board, or there are too few.
    """
    if found.source != MEASURED:
        what = f"its cycles are {found.source} ({found.place}): there is nothing to fit to"
        raise BoardError(what, where=f"first light of {found.board}", fix="Run the suite on a real board.")
    points = [point for point in found.points if point.ratio is not None]
    chosen = tuple(point for point in points if point.kind in kinds)
    if len(chosen) < _LEAST:
        raise BoardError(
            f"{len(chosen)} points of kind {', '.join(kinds)} are too few",
            where=f"first light of {found.board}",
            fix=f"At least {_LEAST} are needed; --on names other kinds: {LOOP}, {KERNEL}, {MODEL}.",
        )
    rows = np.array([_row(point) for point in chosen])
    waits = bool(rows[:, 1].max() > _FEW_STALLS)
    used = rows if waits else rows[:, :1]
    factors = np.linalg.lstsq(used, np.ones(len(rows)), rcond=None)[0].tolist()
    held_out = tuple(point for point in points if point.kind not in kinds)
    return Fit(factors[0], factors[1] if waits else 1.0, chosen, held_out)


def _row(point: Point) -> tuple[float, float]:
    """Shares of the counted cycles that the core, and the memories, should have taken."""
    assert point.predicted is not None and point.cycles is not None
    return (point.predicted - point.stalls) / point.cycles, point.stalls / point.cycles


def describe(found: FirstLight, result: Fit) -> list[str]:
    """For people."""
    lines = [
        f"{found.board}, {found.place}, {found.created}",
        f"core x {result.core:.3f}, memory x {result.memory:.3f}",
        "counted by predicted:",
    ]
    for title, points in (("fitted", result.fitted), ("held out", result.held_out)):
        if points:
            lines.append(f"  {title}, before: {spread_of(points)}")
            lines.append(f"  {title}, after:  {spread_of([result.predicted(point) for point in points])}")
    timing = load_board(found.board).timing
    for what, cache in (("code", timing.code), ("data", timing.data)) if timing else ():
        for misses in dict.fromkeys(miss for _, _, miss in cache.regions):
            lines.append(f"miss_cycles of {what}: {misses} would be {result.memory * misses:.1f}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the fit; 1 when there is none."""
    parser = argparse.ArgumentParser(
        prog="python -m tinygen.targets.cycles.fit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, help="first-light-BOARD.json of a real board")
    parser.add_argument("--on", default=LOOP, help=f"kinds of points: {LOOP},{KERNEL},{MODEL}; default: {LOOP}")
    options = parser.parse_args(arguments)
    try:
        found = read_first_light(options.file)
        print("\n".join(describe(found, fit(found, options.on.split(",")))))
    except TinygenError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
