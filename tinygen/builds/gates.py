"""Entries of gated layers in manifests and reports: how each is computed, and the figures that decide it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # commands that show no build need not load the kernels
    from tinygen.lowering.dense_gates import GateDecision


@dataclass(frozen=True)
class GateEntry:
    """A gated convolution. Cycles are estimates, as kernels are chosen by.

    Attributes:
        switch: "" of a network that cannot be switched.
        channels: of its output, live and dead.
        live: number of live outputs; the mean over the inputs of `--profile` where it depends on the input, None
            without them.
        computes: "live" channels alone, or "all" of them, of which the dead ones are then set to zero.
        dynamic: whether the number of live channels depends on the input.
        live_cycles: of the convolution of live channels; where their number is unknown, those of all.
        all_cycles: of the convolution of all channels, with what masks, gathers and scatters; None where it cannot be
            computed so.
        gate_cycles: of the gate, which runs in either case.
        ungated_cycles: of the layer without a gate.
        break_even: the most live channels with which computing them alone costs less than computing all.
        pays_with: the most live channels with which the layer and its gate cost less than the layer without a gate.
    """

    switch: str
    name: str
    channels: int
    live: float | None
    computes: str
    dynamic: bool
    live_cycles: int
    all_cycles: int | None
    gate_cycles: int
    ungated_cycles: int
    break_even: int
    pays_with: int

    @property
    def layer(self) -> str:
        """Its name, with that of the switch."""
        return f"{self.switch} {self.name}".lstrip()

    @property
    def text(self) -> str:
        """`60 of 64 channels live, all are computed; ...`."""
        live = f"{self.channels}" if self.live is None else f"{self.live:.1f}".removesuffix(".0")
        kept = f"{'up to ' if self.live is None else ''}{live} of {self.channels} channels live"
        what = "all are computed" if self.computes == "all" else "computed alone"
        cheaper, pays = (f"{n} ({100 * n / self.channels:.0f} %)" for n in (self.break_even, self.pays_with))
        return f"{kept}, {what}; live ones cost less than all up to {cheaper}, the gate pays up to {pays}"


def gate_entry(decision: GateDecision, switch: str) -> GateEntry:
    """The entry of a decision."""
    return GateEntry(
        switch=switch,
        name=decision.name,
        channels=decision.channels,
        live=None if decision.live is None else round(decision.live, 3),
        computes="all" if decision.all_computed else "live",
        dynamic=decision.dynamic,
        live_cycles=round(decision.gated),
        all_cycles=None if decision.dense is None else round(decision.dense),
        gate_cycles=round(decision.gate),
        ungated_cycles=round(decision.ungated),
        break_even=decision.break_even,
        pays_with=decision.pays_with,
    )
