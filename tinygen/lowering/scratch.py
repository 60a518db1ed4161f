"""How much scratch each layer gets: what the arena's peak leaves over is free, a little more buys speed."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.lowering.plan import KernelPlan
from tinygen.lowering.planner import Buffer, aligned, lower_bound
from tinygen.lowering.select import Choice

_GROWTH = 0.125
_GROWTH_BYTES = 2048
_CLOSE = 1.03


def spend_scratch(choices: Sequence[Choice], buffers: Sequence[Buffer]) -> list[KernelPlan]:
    """The variant each layer uses.

    The arena may become an eighth (or 2 KiB) larger than with least scratch everywhere. Of the variants that fit, a
    layer takes the smallest that is within 3 % of the fastest.

    Args:
        choices: per step.
        buffers: the arena's buffers when every layer takes its first variant.
    """
    peak = lower_bound(buffers)
    budget = peak + max(int(peak * _GROWTH), _GROWTH_BYTES)
    plans = []
    for step, choice in enumerate(choices):
        least = choice.variants[0]
        live = sum(aligned(b.size) for b in buffers if b.first <= step <= b.last)
        room = budget - live + aligned(least.scratch_bytes)
        fitting = [plan for plan in choice.variants if aligned(plan.scratch_bytes) <= room] or [least]
        fastest = min(plan.cycles for plan in fitting)
        plans.append(next(plan for plan in fitting if plan.cycles <= _CLOSE * fastest))
    return plans
