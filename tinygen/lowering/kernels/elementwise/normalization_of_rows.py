"""Kernels of L2_NORMALIZATION and LOCAL_RESPONSE_NORMALIZATION."""

from __future__ import annotations

from typing import Any

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.normalization_of_rows import LEAST, OUTPUT_BITS, L2Normalization, LocalResponseNormalization
from tinygen.lowering.plan import KernelPlan, kernel


def _rows(node: Node) -> dict[str, Any]:
    depth = node.output.shape[-1]
    return {"rows": node.output.size // depth, "depth": depth}


@kernel(L2Normalization, name="l2_normalization")
def l2_normalization(node: Node) -> KernelPlan:
    """A reciprocal root per row."""
    op, x = node.op, node.input(0)
    assert isinstance(op, L2Normalization)
    if x.is_float:
        how = {"least": LEAST}
    else:
        before = OUTPUT_BITS if op.unsigned else 0
        how = {"input_zero": x.zero_point, "factor": 1 << before, "bits": OUTPUT_BITS - before}
    return KernelPlan(
        template="elementwise/l2_normalization.c.j2",
        stem=f"l2_normalization_{x.dtype.name}",
        context={**_rows(node), "real": x.is_float, **how},
        inplace=((0, 0),),
        headers=("tinygen_math.h", "tinygen_elementary.h" if x.is_float else "tinygen_inverse_root.h"),
        cycles=30.0 * x.size,
    )


@kernel(LocalResponseNormalization, name="local_response_normalization")
def local_response_normalization(node: Node) -> KernelPlan:
    """A power per element, in double precision."""
    op = node.op
    assert isinstance(op, LocalResponseNormalization)
    return KernelPlan(
        template="elementwise/local_response.c.j2",
        stem="local_response_f32",
        context={
            **_rows(node),
            # No neighbour is further away than the last channel.
            "radius": min(op.radius, node.output.shape[-1]),
            "bias": op.bias,
            "alpha": op.alpha,
            "power": -op.beta,
        },
        headers=("tinygen_math.h", "tinygen_elementary.h"),
        cycles=(1500.0 + 10.0 * op.radius) * node.output.size,
    )
