"""Kernels of BATCH_MATMUL."""

from __future__ import annotations

from typing import Any

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.batch_matmul import BatchMatmul
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.nest import make_nest, row_major
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(BatchMatmul, name="batch_matmul")
def batch_matmul(node: Node) -> KernelPlan | None:
    """Plain loops, int8 or float32."""
    op = node.op
    assert isinstance(op, BatchMatmul)
    m, k, n = op.sizes(node)
    batches = node.output.shape[:-2]
    strides = [_batch_strides(node.input(i).shape, len(batches)) for i in (0, 1)]
    context: dict[str, Any] = {
        **make_nest(batches, strides, (0, 0)).context(),
        "m": m,
        "k": k,
        "n": n,
        "a_row": 1 if op.adjoint_first else k,
        "a_step": m if op.adjoint_first else 1,
        "b_row": 1 if op.adjoint_second else n,
        "b_step": k if op.adjoint_second else 1,
        "type": ctype(node.output.dtype),
        "real": node.output.is_float,
        "acc_type": "float" if node.output.is_float else "int32_t",
    }
    if not node.output.is_float:
        multiplier, shift = op.scale(node)
        context |= {
            "zeros": [node.input(0).zero_point, node.input(1).zero_point],
            "output_zero": node.output.zero_point,
            "multiplier": multiplier,
            "shift": shift,
        }
    return KernelPlan(
        template="batch_matmul/batch_matmul.c.j2",
        stem=f"batch_matmul_{node.output.dtype.name}_{m}x{k}x{n}",
        context=context,
        operands=(("first", 0), ("second", 1)),
        cycles=7.0 * op.macs(node),
    )


def _batch_strides(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Elements to step per batch dimension; 0 where the operand is broadcast."""
    dense = row_major(shape)[:-2]
    own = tuple(0 if size == 1 else stride for size, stride in zip(shape[:-2], dense, strict=True))
    return (0,) * (rank - len(own)) + own
