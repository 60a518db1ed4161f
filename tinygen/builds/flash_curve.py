"""A plot of flash against cycles: a step for each choice of kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.builds.pages import COLOURS

_WIDTH, _LEFT, _TOP, _PLOT = 1000, 90, 10, 300
_MARGIN = 40
"""Right of the curve: half of a figure below its end."""
_MARKS = 4


def flash_curve(
    points: Sequence[tuple[int, int]], *, limit: int | None = None, chosen: tuple[int, int] | None = None
) -> dict[str, Any]:
    """What flash_curve.svg.j2 draws.

    Args:
        points: bytes and cycles, the smallest first; not empty.
        limit: bytes; drawn as a line unless far beyond the last point.
        chosen: the point that gets a ring.
    """
    smallest, largest, most = points[0][0], points[-1][0], max(cycles for _, cycles in points) or 1
    # A limit far beyond the fastest point would compress all steps into one.
    beyond = largest + (largest - smallest) // _MARKS
    right = max(largest, beyond if limit is None else min(limit, beyond), smallest + 1)

    def x_of(count: int) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - _MARGIN) * (count - smallest) / (right - smallest), 1)

    def y_of(cycles: float) -> float:
        return round(_TOP + _PLOT * (1 - cycles / most), 1)

    places = [(x_of(size), y_of(cycles)) for size, cycles in points]
    # Between two points, the smaller one is the choice that fits.
    ends = [*(x for x, _ in places[1:]), x_of(right)]
    sides = [
        {"x": _LEFT - 6, "y": y_of(mark) + 4, "anchor": "end", "text": f"{mark:,}"}
        for mark in (most * k // _MARKS for k in range(_MARKS + 1))
    ]
    bottoms = [
        {"x": x_of(mark), "y": _TOP + _PLOT + 16, "anchor": "middle", "text": f"{mark:,} B"}
        for mark in (smallest + (right - smallest) * k // _MARKS for k in range(_MARKS + 1))
    ]
    return {
        "width": _WIDTH,
        "height": _TOP + _PLOT + 24,
        "top": _TOP,
        "bottom": _TOP + _PLOT,
        "colours": COLOURS,
        "line": " ".join(f"{x},{y} {end},{y}" for (x, y), end in zip(places, ends, strict=True)),
        "points": [
            {"x": x, "y": y, "title": f"{size:,} B, {cycles:,} cycles"}
            for (x, y), (size, cycles) in zip(places, points, strict=True)
        ],
        "ticks": [*sides, *bottoms],
        "limit": None if limit is None or limit > right else {"x": x_of(limit), "text": f"limit {limit:,} B"},
        "chosen": None if chosen is None else {"x": x_of(chosen[0]), "y": y_of(chosen[1])},
    }
