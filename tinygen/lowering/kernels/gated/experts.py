"""Kernels of TOPK_V2 and of weighted sums: the operators of mixtures of experts."""

from __future__ import annotations

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.top_k import TopK
from tinygen.ir.ops.weighted_sum import WeightedSum
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations import codes
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(TopK, name="top_k")
def top_k(node: Node) -> KernelPlan | None:
    """Inserts each element into the list of the k largest."""
    op, x = node.op, node.input(0)
    assert isinstance(op, TopK)
    if op.by_position:
        return None
    return KernelPlan(
        template="gated/top_k.c.j2",
        stem=f"top_k_{x.dtype.name}",
        context={
            "rows": node.output.size // op.k,
            "depth": x.shape[-1],
            "k": op.k,
            "real": x.is_float,
            "type": ctype(node.outputs[1].dtype),
        },
        results=(("values", 0), ("positions", 1)),
        cycles=(8.0 + 3.0 * op.k) * x.size,
    )


@kernel(WeightedSum, name="weighted_sum")
def weighted_sum(node: Node) -> KernelPlan | None:
    """Plain loops, any encoding of bytes."""
    op, weights, first = node.op, node.input(0), node.input(1)
    assert isinstance(op, WeightedSum)
    kinds = [codes.activation_context(weights), codes.activation_context(first)]
    if None in kinds:
        return None
    after = codes.ending(op.epilogue)
    count, channels = len(node.inputs) - 1, first.shape[-1]
    return KernelPlan(
        template="gated/weighted_sum.c.j2",
        stem=f"weighted_sum_{codes.kind_of(first.integer)}",
        context={
            "pixels": first.size // channels,
            "channels": channels,
            "count": count,
            "weight_codes": kinds[0],
            "value_codes": kinds[1],
            "after": after.context,
            **codes.output_context(node.output),
        },
        operands=(("weights", 0), *((f"value_{i}", 1 + i) for i in range(count))),
        constants=after.constants,
        headers=codes.HEADERS,
        cycles=node.output.size * (4.0 + 4.0 * count + after.cycles),
    )
