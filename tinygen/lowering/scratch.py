"""How much scratch each layer gets: bytes below the arena's peak are free; a little more may buy speed."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.lowering.plan import KernelPlan
from tinygen.lowering.planner import aligned
from tinygen.lowering.select import Choice

_GROWTH = 0.125
_GROWTH_BYTES = 2048
_CLOSE = 1.03
CALL_CYCLES = 60
"""Of a call, its arguments and its observer: what makes many small stripes dearer than few large ones."""


def price(cost: tuple[float, int], worth: float, free: int = 1) -> float:
    """Of (cycles, bytes of the arena): so that an arena one per cent smaller is worth `worth` per cent of cycles.

    Args:
        free: bytes that count beside the arena's, so that what is small anyhow is not bought with many cycles.
    """
    return float(cost[0] * (cost[1] + free) ** worth)


def budget_without_limit(peak: int) -> int:
    """The arena may become an eighth (or 2 KiB) larger than with least scratch everywhere."""
    return peak + max(int(peak * _GROWTH), _GROWTH_BYTES)


def spend_scratch(choices: Sequence[Choice], live: Sequence[int], budget: int) -> list[KernelPlan]:
    """Chooses the variant of each layer.

    Of the variants that fit, a layer takes the smallest that is within 3 % of the fastest.

    Args:
        choices: per step.
        live: bytes alive at each step when every layer takes its first variant.
        budget: limit of live bytes; a layer that exceeds it already keeps the first variant.
    """
    plans = []
    for choice, used in zip(choices, live, strict=False):
        least = choice.variants[0]
        room = budget - used + aligned(least.scratch_bytes)
        fitting = [plan for plan in choice.variants if aligned(plan.scratch_bytes) <= room] or [least]
        fastest = min(plan.cycles for plan in fitting)
        plans.append(next(plan for plan in fitting if plan.cycles <= _CLOSE * fastest))
    return plans
