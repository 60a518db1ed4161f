"""Axes of reductions."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.frontends.onnx.node import Operator


def axes_of(operator: Operator, rank: int) -> list[int] | None:
    """The axes of a reduction, an attribute or an input by opset; None if there are none, and it does nothing."""
    if operator.has(1):
        given: Sequence[int] = operator.array(1, "axes").reshape(-1).tolist()
    else:
        given = operator.integers_of("axes", ())
    if not given and operator.attribute("noop_with_empty_axes", 0):
        return None
    return sorted({operator.axis(int(axis), rank) for axis in given} or range(rank))
