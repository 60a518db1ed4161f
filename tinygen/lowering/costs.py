"""The cost of an inference of a network with branches: worst, best, and expected over a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tinygen.ir.paths import Path
from tinygen.lowering.branches import CHOOSING, handing_cycles
from tinygen.lowering.program import Program, Step

LayerCycles = Sequence[float]
"""Cycles by the layer's number (`lowering.layers`): a branch's own are without the layers in it."""


@dataclass(frozen=True)
class Cost:
    """Cost of an inference, or the mean of several."""

    cycles: float
    macs: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.cycles + other.cycles, self.macs + other.macs)

    def times(self, factor: float) -> Cost:
        return Cost(self.cycles * factor, self.macs * factor)


NOTHING = Cost(0.0, 0)


@dataclass(frozen=True)
class PathCost:
    """Cost of the inputs that take one path.

    Attributes:
        path: the branches that ran.
        share: of the data set's inputs, 0 to 1.
        cost: of one inference.
    """

    path: Path
    share: float
    cost: Cost


@dataclass(frozen=True)
class Costs:
    """Costs of a program.

    Attributes:
        worst, best: of any path that indices allow, whether or not an input takes it; cycles and MAC independently.
        expected: the mean over a data set; None without one.
        paths: taken by the data set, the most frequent first.
    """

    worst: Cost
    best: Cost
    expected: Cost | None = None
    paths: tuple[PathCost, ...] = ()


def has_branches(program: Program) -> bool:
    """Whether the cost depends on the input."""
    return any(step.branches for step in program.steps)


def costs_of(program: Program, counts: Mapping[Path, int] | None = None, cycles: LayerCycles | None = None) -> Costs:
    """
    Args:
        program: from lowering.
        counts: how many inputs of a data set take each path, as `ir.paths.count_paths` gives them.
        cycles: of every layer, from an emulated board; None for the kernels' estimates.
    """
    worst, best = (Cost(*(_extreme(program, pick, part, cycles) for part in ("cycles", "macs"))) for pick in (max, min))
    total = sum(counts.values()) if counts else 0
    if not counts or not total:
        return Costs(worst, best)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    paths = tuple(PathCost(path, count / total, path_cost(program, path, cycles)) for path, count in ordered)
    expected = sum((one.cost.times(one.share) for one in paths), NOTHING)
    return Costs(worst, best, expected, paths)


def path_cost(program: Program, path: Path, cycles: LayerCycles | None = None) -> Cost:
    """Cost of the inferences that take one path; see `costs_of`."""
    taken = dict(path)
    cost = NOTHING
    for step in program.layers:
        if step.branches:
            number = taken[step.node.op.name]
            cost += _choosing(step, number, cycles) + path_cost(step.branches[number], path, cycles)
        else:
            cost += _plain(step, cycles)
    return cost


def _plain(step: Step, cycles: LayerCycles | None) -> Cost:
    return Cost(step.plan.cycles if cycles is None else cycles[step.index], step.node.op.macs(step.node))


def _choosing(step: Step, number: int, cycles: LayerCycles | None) -> Cost:
    """Cost of a branch in addition to its layers."""
    estimated = CHOOSING + handing_cycles(step.branches[number])
    return Cost(estimated if cycles is None else cycles[step.marks[number]], 0)


def _extreme(program: Program, pick: Callable[..., float], part: str, cycles: LayerCycles | None) -> float:
    """The maximum or minimum of one part of the cost."""
    total = 0.0
    for step in program.layers:
        each = [
            getattr(_choosing(step, number, cycles), part) + _extreme(inner, pick, part, cycles)
            for number, inner in enumerate(step.branches)
        ]
        total += pick(each) if each else getattr(_plain(step, cycles), part)
    return total
