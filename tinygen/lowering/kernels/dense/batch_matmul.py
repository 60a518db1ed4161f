"""Kernels of BATCH_MATMUL."""

from __future__ import annotations

from typing import Any

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.batch_matmul import BatchMatmul
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.loops import scalar
from tinygen.lowering.kernels.support.loops.nest import make_nest, row_major
from tinygen.lowering.plan import KernelPlan, kernel

_FOUR = 4
_DSP_HEADERS = ("tinygen_dot.h", "tinygen_math.h", "tinygen_simd.h")
_MOST_DEPTH = 2**14
"""Taps up to which sums of products of centred codes stay below 2^30."""
_MOST_SHIFT = 22
# Cycles of a product, of an element of the first matrix and of the second that is laid out, of an output: of Armv7E-M,
# of the ESP32-C3's core.
_DSP, _SCALAR = (0.9, 6.0, 8.0, 17.0), (3.2, 8.0, 13.0, 26.0)


@kernel(BatchMatmul, name="batch_matmul")
def batch_matmul(node: Node) -> KernelPlan | None:
    """Plain loops, int8 or float32."""
    op = node.op
    assert isinstance(op, BatchMatmul)
    return _plan(
        node,
        "dense/batch_matmul.c.j2",
        {
            "type": ctype(node.output.dtype),
            "real": node.output.is_float,
            "acc_type": "float" if node.output.is_float else "int32_t",
        },
        cycles=7.0 * op.macs(node),
    )


@kernel(BatchMatmul, name="batch_matmul_s8_dsp", family="tinygen", isa="dsp")
def batch_matmul_s8_dsp(node: Node) -> KernelPlan | None:
    """Two rows times four columns, codes widened to int16 in scratch."""
    return _tuned(node, dsp=True)


@kernel(BatchMatmul, name="batch_matmul_s8_scalar", family="tinygen", isa="scalar")
def batch_matmul_s8_scalar(node: Node) -> KernelPlan | None:
    """Four rows times four columns, which are widened to int16 in scratch."""
    return _tuned(node, dsp=False)


def _tuned(node: Node, *, dsp: bool) -> KernelPlan | None:
    op = node.op
    assert isinstance(op, BatchMatmul)
    m, k, n = op.sizes(node)
    if node.output.is_float or n < _FOUR or not _FOUR <= k < _MOST_DEPTH:
        return None
    _, shift = op.scale(node)
    context: dict[str, Any] = {"dsp": dsp, "pairs": -(-k // _FOUR) * 2}
    if 0 < -shift <= _MOST_SHIFT:
        context["offset"] = (1 << (-shift - 1)) + (node.output.zero_point << -shift)
    copied = dsp or op.adjoint_first
    product, first, second, output = _DSP if dsp else _SCALAR
    # A row alone takes as long as two, or a good part of four.
    rows = m + m % 2 if dsp else m if m >= _FOUR else 2 * m
    batches = node.output.size // (m * n)
    scratch = 8 * context["pairs"] * 2 + 4 * context["pairs"] * m + 16 if dsp else 8 * k + (k * m if copied else 0)
    return _plan(
        node,
        "dense/batch_matmul_s8.c.j2",
        context,
        cycles=batches * (product * rows * k * n + first * m * k * copied + second * k * n + output * m * n),
        scratch_bytes=scratch,
        headers=_DSP_HEADERS if dsp else (*scalar.HEADERS, scalar.HALVES_HEADER),
    )


def _plan(node: Node, template: str, values: dict[str, Any], **how: Any) -> KernelPlan:
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
        **values,
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
        template=template,
        stem=f"batch_matmul_{node.output.dtype.name}_{m}x{k}x{n}",
        context=context,
        operands=(("first", 0), ("second", 1)),
        **how,
    )


def _batch_strides(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Elements to step per batch dimension; 0 where the operand is broadcast."""
    dense = row_major(shape)[:-2]
    own = tuple(0 if size == 1 else stride for size, stride in zip(shape[:-2], dense, strict=True))
    return (0,) * (rank - len(own)) + own
