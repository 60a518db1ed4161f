"""Sums of experts' weights with the experts side by side: one address, and on Armv7E-M one load, serves four."""

from __future__ import annotations

import math

import numpy as np

from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.mix_weights import MixWeights
from tinygen.lowering.kernels.support import codes
from tinygen.lowering.kernels.support.gathered import HEADER, computed_operands
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_MOST = 16
"""Experts that are written out."""
# Cycles per live weight: of four experts, around them.
_SIMD, _SCALAR, _REST = 5.0, 16.0, 8.0


@kernel(MixWeights, name="mix_weights_dsp", family="tinygen", isa="dsp")
def mix_weights_dsp(node: Node) -> KernelPlan | None:
    """Two multiply-accumulates for four experts."""
    return _plan(node, simd=True)


@kernel(MixWeights, name="mix_weights_scalar", family="tinygen", isa="scalar")
def mix_weights_scalar(node: Node) -> KernelPlan | None:
    """A multiplication for each expert."""
    return _plan(node, simd=False)


def _plan(node: Node, *, simd: bool) -> KernelPlan | None:
    """None if rounding the sums needs 64 bits."""
    op, experts = node.op, node.input(1)
    assert isinstance(op, MixWeights)
    alpha = codes.activation_context(node.input(0))
    count, all_out, kernel_h, kernel_w, all_in = experts.shape
    multiplier, offset, shift = op.epilogue.multiplier[0], op.epilogue.offset[0], op.epilogue.shift[0]
    largest = 128 * count * integer_mac.largest_integer(node.input(0).encoding)
    if alpha is None or alpha["kind"] == "table" or count > _MOST or shift > 31:
        return None
    if largest * abs(multiplier) + abs(offset) >= 2**31:
        return None
    apart = -(-count // 4) * 4 if simd else count
    together = np.zeros((*experts.shape[1:], apart), np.int8)
    together[..., :count] = np.moveaxis(node.constant(1), 0, -1)
    data = together.reshape(-1).view("<u4").astype(np.uint32) if simd else together.reshape(-1)
    operands = computed_operands(node, alpha=0, live_in=2, live_out=3)
    return KernelPlan(
        template="gated/mix_weights_by_four.c.j2",
        stem=f"mix_weights_of_{count}_{'dsp' if simd else 'scalar'}",
        context={
            "simd": simd,
            "count": count,
            "apart": apart // 4 if simd else apart,
            "taps": kernel_h * kernel_w,
            "all_out": all_out,
            "all_in": all_in,
            "out_c": node.output.shape[0],
            "in_c": node.output.shape[3],
            "alpha_codes": alpha,
            **{name: any(name == own for own, _ in operands) for name in ("live_in", "live_out")},
            "multiplier": multiplier,
            "offset": offset,
            "shift": shift,
            "low": max(op.epilogue.low, *op.epilogue.floor) if op.epilogue.floor else op.epilogue.low,
            "high": min(op.epilogue.high, *op.epilogue.ceiling) if op.epilogue.ceiling else op.epilogue.high,
        },
        operands=operands,
        constants=(Constant("experts", data, f"{[*experts.shape[1:], apart]} int8, experts side by side"),),
        headers=(HEADER, *codes.HEADERS, "tinygen_simd.h") if simd else codes.HEADERS,
        cycles=math.prod(node.output.shape) * ((_SIMD if simd else _SCALAR) * -(-count // 4) + _REST),
    )
