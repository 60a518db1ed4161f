"""What the manifest says of networks that decide: thresholds that may be set, and what inputs cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tinygen.builds.plain import OPTIONAL

if TYPE_CHECKING:  # commands that show no build need not load the kernels
    from tinygen.lowering.costs import Cost, Costs

ESTIMATED, PREDICTED = "estimated", "predicted"
"""Cycles as kernels are chosen by; as the emulated board takes them."""


@dataclass(frozen=True)
class ThresholdEntry:
    """A code that gates compare with, and that may be set: at first `value`, from `low` to `high`."""

    name: str
    value: int
    low: int
    high: int


@dataclass(frozen=True)
class CostEntry:
    """Of an inference, or the mean of several."""

    cycles: int
    macs: int


@dataclass(frozen=True)
class PathEntry:
    """What inputs that take one path cost.

    Attributes:
        branches: that ran, by operator.
        share: of the data set's inputs, 0 to 1.
    """

    branches: Mapping[str, int]
    share: float
    cycles: int
    macs: int

    @property
    def text(self) -> str:
        """`first 0, first/0/second 1`."""
        return path_text(self.branches)


def path_text(branches: Mapping[str, int]) -> str:
    """`first 0, first/0/second 1`."""
    return ", ".join(f"{operator} {number}" for operator, number in branches.items())


@dataclass(frozen=True)
class CostsEntry:
    """Of a network whose inputs decide what runs.

    Attributes:
        source: of cycles: "estimated" or "predicted".
        worst, best: of any path that indices allow.
        expected: the mean over a data set; None without one.
        inputs: of the data set.
        paths: those that it takes, the most frequent first.
    """

    source: str
    worst: CostEntry
    best: CostEntry
    expected: CostEntry | None = field(default=None, metadata=OPTIONAL)
    inputs: int = field(default=0, metadata=OPTIONAL)
    paths: tuple[PathEntry, ...] = field(default=(), metadata=OPTIONAL)


def describe_costs(costs: Costs, source: str, inputs: int = 0) -> CostsEntry:
    """What the manifest says of costs; see `CostsEntry`."""
    return CostsEntry(
        source,
        _cost(costs.worst),
        _cost(costs.best),
        None if costs.expected is None else _cost(costs.expected),
        inputs,
        tuple(
            PathEntry(dict(one.path), round(one.share, 6), round(one.cost.cycles), round(one.cost.macs))
            for one in costs.paths
        ),
    )


def _cost(cost: Cost) -> CostEntry:
    return CostEntry(round(cost.cycles), round(cost.macs))
