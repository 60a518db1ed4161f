"""Predictions beside published measurements: `python -m tests.timing.published [--write] [ELF POINT]`.

Without arguments it prints the table of points.yaml and what 90 % of programs lie between; --write keeps that in
tinygen/targets/cycles/intervals.yaml, where `build` and `bench` find it. With the program of a point, compiled flat
(code at 0x08000000, data at 0x20000000, entry points `prepare` and the point's function), it predicts anew. The
programs are other people's and not kept here; points.yaml says where they are public.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tinygen.targets.board import MemoryTiming
from tinygen.targets.boards import load_board
from tinygen.targets.cycles import core_cost, decoder_of
from tinygen.targets.cycles.interval import INTERVALS, Interval, as_yaml, interval_from
from tinygen.targets.emulator import BareCore
from tinygen.targets.emulator.counting import Watch

POINTS = Path(__file__).with_name("points.yaml")


@dataclass(frozen=True)
class Point:
    """A measurement and our prediction of it.

    Attributes:
        name: of the point.
        program: the set of points.yaml, programs of one framework and library.
        core, board, mhz: what it ran on.
        memory: the board file whose memory timing holds, "" for memory that never waits.
        mcycles: measured, millions.
        predicted: millions of cycles; `stalls` of them waiting for flash.
        instructions: millions executed; 0 where they were not kept.
        classes: of the executed instructions, by kind, millions; those below half a percent are left out. Empty where
            they were not kept.
        fitted: parameters were chosen with it.
    """

    name: str
    program: str
    core: str
    board: str
    mhz: float
    mcycles: float
    function: str
    memory: str
    predicted: float
    stalls: float
    instructions: float
    classes: dict[str, float]
    fitted: bool

    @property
    def error(self) -> float:
        """Of the prediction, as a fraction of the measurement."""
        return self.predicted / self.mcycles - 1

    @property
    def ratio(self) -> float:
        """Measured by predicted."""
        return self.mcycles / self.predicted


@dataclass(frozen=True)
class Ratio:
    """Cycles of a slow program by those of a fast one on a Cortex-M7; see points.yaml."""

    name: str
    slow: str
    fast: str
    measured: float
    predicted: tuple[int, int]
    fitted: bool = False

    @property
    def error(self) -> float:
        """Of the predicted ratio, as a fraction of the measured one."""
        return self.predicted[0] / self.predicted[1] / self.measured - 1


def read_ratios() -> list[Ratio]:
    """The ratios of points.yaml."""
    content = yaml.safe_load(POINTS.read_text(encoding="utf-8"))
    return [Ratio(**(entry | {"predicted": tuple(entry["predicted"])})) for entry in content["ratios"]]


def read_points() -> list[Point]:
    """The table."""
    content: dict[str, Any] = yaml.safe_load(POINTS.read_text(encoding="utf-8"))
    sets: dict[str, dict[str, Any]] = content["sets"]
    points = []
    for entry in content["points"]:
        shared = {key: sets[entry["set"]][key] for key in ("core", "board", "mhz", "memory")}
        own = {key: entry[key] for key in entry if key not in ("set", "ms", "cycles", "note")}
        mcycles = entry["cycles"] / 1e6 if "cycles" in entry else entry["ms"] * shared["mhz"] / 1000
        known = {"program": entry["set"], "fitted": False, "function": "infer", "instructions": 0.0, "classes": {}}
        points.append(Point(**{**known, **shared, **own, "mcycles": mcycles}))
    return points


def held_out(points: Sequence[Point]) -> dict[str, list[Point]]:
    """By core: the points that nothing was chosen with."""
    found: dict[str, list[Point]] = {}
    for point in points:
        if not point.fitted:
            found.setdefault(point.core, []).append(point)
    return found


def interval(points: Sequence[Point]) -> Interval | None:
    """Of held-out points of one core; None where they are too few."""
    programs: dict[str, list[float]] = {}
    for point in points:
        programs.setdefault(point.program, []).append(point.ratio)
    return interval_from(list(programs.values()))


def intervals(points: Sequence[Point]) -> dict[str, Interval]:
    """By core, as intervals.yaml has them."""
    found = {core: interval(chosen) for core, chosen in held_out(points).items()}
    return {core: one for core, one in found.items() if one is not None}


def inside(points: Sequence[Point]) -> tuple[int, int]:
    """How many of one core's points are within the interval of all, and within that of all programs but their own."""
    tests = [(point, interval(points), interval([p for p in points if p.program != point.program])) for point in points]
    whole, others = (
        sum(one is not None and one.low <= point.ratio <= one.high for point, one in pairs)
        for pairs in ([(p, a) for p, a, _ in tests], [(p, b) for p, _, b in tests])
    )
    return whole, others


def predict(elf: Path, core: str, function: str, timing: MemoryTiming | None) -> dict[str, Any]:
    """Millions of cycles, of stalls and of instructions of one call of `function`, after one of `prepare`."""
    bare: BareCore
    cost = core_cost(core, lambda address, size: bare.read(address, size), timing=timing)
    bare = BareCore(elf, core, Watch(cost=cost, strict=False), stack_bytes=128 * 1024)
    bare.call("prepare")
    bare.clear_blocks()
    cycles, instructions = bare.cycles, bare.instructions
    bare.call(function)
    rows = bare.blocks()
    classes: Counter[str] = Counter()
    for row in rows:
        for instruction in decoder_of(core)(bare.read(row.address, row.size), row.address):
            classes[instruction.kind.name.lower()] += row.passes
    total = sum(classes.values())
    return {
        "predicted": round((bare.cycles - cycles) / 1e6, 6),
        "stalls": round(sum(row.stalls for row in rows) / 1e6, 6),
        "instructions": round((bare.instructions - instructions) / 1e6, 6),
        "classes": {name: round(count / 1e6, 4) for name, count in classes.most_common() if count >= 0.005 * total},
    }


def _short(mcycles: float) -> str:
    return f"{mcycles:.3f}" if mcycles >= 0.01 else f"{mcycles:.6f}"


def table(points: Sequence[Point]) -> str:
    """One line per point, then the median error per core."""
    lines = [f"{'point':<26}{'board':<24}{'MHz':>5}{'measured':>10}{'predicted':>11}{'error':>9}  (million cycles)"]
    for p in points:
        name = f"{p.name}{' *' if p.fitted else ''}"
        measured, predicted = _short(p.mcycles), _short(p.predicted)
        clock = f"{p.mhz:.0f}" if p.mhz else ""
        lines.append(f"{name:<26}{p.board:<24}{clock:>5}{measured:>10}{predicted:>11}{p.error:>+9.1%}")
    for core in dict.fromkeys(p.core for p in points):
        for label, chosen in (
            ("all", [p for p in points if p.core == core]),
            ("held out", [p for p in points if p.core == core and not p.fitted]),
        ):
            errors = [abs(p.error) for p in chosen]
            if not errors:
                continue
            lines.append(
                f"{core}, {label}: median |error| {statistics.median(errors):.1%}, largest {max(errors):.1%}, "
                f"{len(errors)} points"
            )
    for core, chosen in held_out(points).items():
        found = interval(chosen)
        if found is None:
            lines.append(f"{core}: {len(chosen)} held out, too few for an interval")
            continue
        whole, others = inside(chosen)
        lines.append(
            f"{core}: measured by predicted, 90 %: {found}; {found.points} points of {found.programs} programs, "
            f"{whole} of them inside, {others} inside that of the other programs"
        )
    for r in read_ratios():
        slow, fast = r.predicted
        name = f"{r.name}{' *' if r.fitted else ''}"
        text = f"{slow} : {fast} = {slow / fast:.2f} predicted, {r.measured:.2f} measured"
        lines.append(f"{name:<20}{text}, error {r.error:+.1%}")
    return "\n".join([*lines, "* parameters, or a rule, were chosen with it"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table or a new prediction."""
    parser = argparse.ArgumentParser(prog="python -m tests.timing.published", description=__doc__)
    parser.add_argument("elf", type=Path, nargs="?")
    parser.add_argument("point", nargs="?")
    parser.add_argument("--write", action="store_true", help=f"write {INTERVALS.name}")
    options = parser.parse_args(arguments)
    points = read_points()
    if options.write:
        INTERVALS.write_text(as_yaml(intervals(points)), encoding="utf-8")
    if options.elf is None:
        print(table(points))
        return 0
    found = [p for p in points if p.name == options.point]
    if not found:
        parser.error(f"there is no point '{options.point}'; there are: {', '.join(p.name for p in points)}")
    point = found[0]
    result = predict(options.elf, point.core, point.function, load_board(point.memory).timing if point.memory else None)
    print(yaml.safe_dump(result, sort_keys=False, default_flow_style=None, width=120), end="")
    print(f"measured {point.mcycles:.4f}, error {result['predicted'] / point.mcycles - 1:+.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
