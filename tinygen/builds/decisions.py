"""Manifest entries of dynamic networks: thresholds, and the cost of inferences."""

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
    """A threshold: its default code `value`, and its range `low` to `high`."""

    name: str
    value: int
    low: int
    high: int


@dataclass(frozen=True)
class CostEntry:
    """Cost of an inference, or the mean of several."""

    cycles: int
    macs: int


@dataclass(frozen=True)
class PathEntry:
    """Cost of the inputs that take one path.

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
class SettingEntry:
    """A setting of thresholds, and its cost.

    Attributes:
        thresholds: codes by name.
        expected: the mean over the data set.
        worst_cycles: of a path that inputs of the data set take.
        accuracy: share of the data set's inputs that get the right answer, 0 to 1; None without labels.
    """

    thresholds: Mapping[str, int]
    expected: CostEntry
    worst_cycles: int
    accuracy: float | None = None

    @property
    def text(self) -> str:
        """`EXIT_1 = 40, EXIT_2 = 25`."""
        return ", ".join(f"{name} = {code}" for name, code in self.thresholds.items())

    @property
    def cost_text(self) -> str:
        """`11,450 cycles expected, 11,602 at worst, accuracy 91.20 %`."""
        text = f"{self.expected.cycles:,} cycles expected, {self.worst_cycles:,} at worst"
        return text if self.accuracy is None else f"{text}, accuracy {100 * self.accuracy:.2f} %"


@dataclass(frozen=True)
class CostsEntry:
    """Costs of a network with branches.

    Attributes:
        source: of cycles: "estimated" or "predicted".
        worst, best: of any path that indices allow.
        expected: the mean over a data set; None without one.
        inputs: of the data set.
        paths: taken by the data set, the most frequent first.
        settings: settings of the thresholds, from the lowest to the highest cost; of networks that are not switchable.
    """

    source: str
    worst: CostEntry
    best: CostEntry
    expected: CostEntry | None = field(default=None, metadata=OPTIONAL)
    inputs: int = field(default=0, metadata=OPTIONAL)
    paths: tuple[PathEntry, ...] = field(default=(), metadata=OPTIONAL)
    settings: tuple[SettingEntry, ...] = field(default=(), metadata=OPTIONAL)


def describe_costs(costs: Costs, source: str, inputs: int = 0, settings: tuple[SettingEntry, ...] = ()) -> CostsEntry:
    """Manifest entry of costs; see `CostsEntry`."""
    return CostsEntry(
        source,
        cost_entry(costs.worst),
        cost_entry(costs.best),
        None if costs.expected is None else cost_entry(costs.expected),
        inputs,
        tuple(
            PathEntry(dict(one.path), round(one.share, 6), round(one.cost.cycles), round(one.cost.macs))
            for one in costs.paths
        ),
        settings,
    )


def cost_entry(cost: Cost) -> CostEntry:
    """Rounded."""
    return CostEntry(round(cost.cycles), round(cost.macs))
