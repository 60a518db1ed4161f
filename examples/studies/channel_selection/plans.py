"""The networks of the suite, and which of them are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from torch import nn

from examples.studies.channel_selection import training
from tinygen.apps.digits.lowbit import Digits
from tinygen.nn import GatedConv2d

SEEDS = (0, 1, 2, 3, 4)
HALF, QUARTER = Fraction(1, 2), Fraction(1, 4)
WIDTHS = (Fraction(3, 4), HALF, Fraction(3, 8), QUARTER)
MASSES = (1.0, 0.95, 0.9, 0.8, 0.7)


@dataclass(frozen=True)
class Plan:
    """A network that trains from scratch for both halves.

    Attributes:
        share: of the channels that it has.
        apart: its gates keep all channels in the first half.
    """

    layer: training.Layer
    share: Fraction = Fraction(1)
    apart: bool = False

    def trained(self, seed: int, digits: Digits, epochs: int) -> nn.Module:
        made = training.network(self.layer, seed, self.share)
        if not self.apart:
            return training.train(made, digits, seed, 2 * epochs)
        gates = [part for part in made if isinstance(part, GatedConv2d)]
        live = [gate.k for gate in gates]
        for gate in gates:
            gate.k = len(gate.beta)
        training.train(made, digits, seed, epochs)
        for gate, k in zip(gates, live, strict=True):
            gate.k = k
        return training.train(made, digits, seed, epochs)


DENSE = "dense"
NARROW = tuple(f"narrow-{round(100 * width)}" for width in WIDTHS)
FROM_SCRATCH: Mapping[str, Plan] = {
    **{name: Plan(training.plain, width) for name, width in zip(NARROW, WIDTHS, strict=True)},
    "narrow-condconv-25": Plan(training.mixed, QUARTER),
    "fbs-50": Plan(training.gated(HALF)),
    "fbs-25": Plan(training.gated(QUARTER)),
    "fbs-condconv-25": Plan(training.gated(QUARTER, training.EXPERTS)),
    "fbs-condconv-25-softmax": Plan(training.gated(QUARTER, training.EXPERTS, "softmax")),
    "fbs-condconv-25-apart": Plan(training.gated(QUARTER, training.EXPERTS), apart=True),
}
DYNAMIC: Mapping[str, training.Layer] = {
    **{f"ftwt-{mass}": training.masked(mass) for mass in MASSES},
    **{f"ftwt-{mass}-joint": training.masked(mass, joint=True) for mass in MASSES},
    "ftwt-0.8-maxima": training.masked(0.8, prediction="maxima"),
}
"""The number of live channels, and so the cycles, depend on the input and on what was learnt."""
MASKED: Mapping[str, training.Layer] = {
    **DYNAMIC,
    "ftwt-fixed-50": training.masked(density=HALF),
    "ftwt-fixed-50-maxima": training.masked(density=HALF, prediction="maxima"),
    "random-50": training.masked(density=HALF, prediction="random"),
}
TUNED = (DENSE, "taylor-50", *MASKED)
"""What starts from a trained dense network."""
NAMES = (*FROM_SCRATCH, *TUNED)
PAIRS = (
    ("fbs-50", "narrow-50"),
    ("fbs-25", "narrow-25"),
    ("fbs-condconv-25", "fbs-25"),
    ("fbs-condconv-25", "narrow-condconv-25"),
    ("narrow-condconv-25", "narrow-25"),
    ("fbs-condconv-25", "fbs-condconv-25-apart"),
    ("fbs-condconv-25", "fbs-condconv-25-softmax"),
    *((f"ftwt-{mass}", DENSE) for mass in MASSES),
    *((f"ftwt-{mass}-joint", f"ftwt-{mass}") for mass in MASSES),
    ("ftwt-fixed-50", "taylor-50"),
    ("ftwt-fixed-50", "narrow-50"),
    ("taylor-50", "narrow-50"),
    ("ftwt-0.8", "ftwt-0.8-maxima"),
    ("ftwt-fixed-50", "ftwt-fixed-50-maxima"),
    ("ftwt-fixed-50", "random-50"),
    ("random-50", "narrow-50"),
)
BRIER = (
    DENSE,
    "ftwt-0.9",
    "ftwt-0.8",
    "ftwt-0.8-maxima",
    "ftwt-fixed-50",
    "ftwt-fixed-50-maxima",
    "random-50",
    "taylor-50",
    "narrow-50",
)
BRIER_PAIRS = (("ftwt-0.8", "ftwt-0.8-maxima"), ("ftwt-fixed-50", "ftwt-fixed-50-maxima"))
"""Whose Brier scores are shown."""
