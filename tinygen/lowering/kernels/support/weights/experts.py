"""Weights of experts for tuned kernels: side by side, so that one address, and on Armv7E-M one load, serves four."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.mix_weights import MixWeights
from tinygen.lowering.kernels.support.activations import codes
from tinygen.lowering.plan import Constant

_MOST = 16
"""Experts that are written out."""
# Cycles per live weight: of four experts, around them.
_SIMD, _SCALAR, _REST = 5.0, 16.0, 8.0


@dataclass(frozen=True, eq=False)
class Experts:
    """Experts side by side.

    Attributes:
        constant: the weights, [O, KH, KW, I, E].
        context: template values (kernels/gated/mix_weights_by_four.c.j2).
        cycles: of mixing a weight.
    """

    constant: Constant
    context: dict[str, Any]
    cycles: float


def experts_of(node: Node, *, simd: bool) -> Experts | None:
    """None if rounding the sums needs 64 bits, or for too many experts.

    Args:
        node: of a `MixWeights`.
        simd: four experts in a word.
    """
    op, experts = node.op, node.input(1)
    assert isinstance(op, MixWeights)
    alpha, ending = codes.activation_context(node.input(0)), op.epilogue
    count, (all_out, kernel_h, kernel_w, all_in) = experts.shape[0], experts.shape[1:]
    multiplier, offset, shift = ending.multiplier[0], ending.offset[0], ending.shift[0]
    largest = 128 * count * integer_mac.largest_integer(node.input(0).encoding)
    if alpha is None or alpha["kind"] == "table" or count > _MOST or shift > 31:
        return None
    reach = largest * abs(multiplier) + abs(offset)
    if reach >= 2**31:
        return None
    low = max(ending.low, *ending.floor) if ending.floor else ending.low
    high = min(ending.high, *ending.ceiling) if ending.ceiling else ending.high
    apart = -(-count // 4) * 4 if simd else count
    together = np.zeros((*experts.shape[1:], apart), np.int8)
    together[..., :count] = np.moveaxis(node.constant(1), 0, -1)
    data = together.reshape(-1).view("<u4").astype(np.uint32) if simd else together.reshape(-1)
    return Experts(
        Constant("experts", data, f"{[*experts.shape[1:], apart]} int8, experts side by side"),
        {
            "simd": simd,
            "count": count,
            "apart": apart // 4 if simd else apart,
            "taps": kernel_h * kernel_w,
            "all_out": all_out,
            "all_in": all_in,
            "alpha_codes": alpha,
            "multiplier": multiplier,
            "offset": offset,
            "shift": shift,
            # Saturated to 8 bits in one instruction; the least of them is left out in two, of a pair.
            "symmetric": simd and (low, high) == (-127, 127) and reach + (128 << shift) < 2**31,
            "low": low,
            "high": high,
        },
        (_SIMD if simd else _SCALAR) * -(-count // 4) + _REST,
    )
