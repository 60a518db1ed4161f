"""Convolutions with counted lists for Armv7E-M: two pixels times four filters, live activations and weights in scratch.

The number of live channels is known only at run time. Scratch is for all channels; cycles are those of the worst input.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.masked_conv_2d import MaskedConv2D
from tinygen.lowering.kernels.gated.live_conv import BLOCKS, LiveConv, live_conv
from tinygen.lowering.kernels.support.activations.codes import kind_of
from tinygen.lowering.kernels.support.activations.window import window_stem
from tinygen.lowering.kernels.support.loops.dot_job import AHEAD
from tinygen.lowering.kernels.support.weights.gathered import HEADER
from tinygen.lowering.plan import KernelPlan, kernel

_HEADERS = ("tinygen_codes.h", "tinygen_dot.h", "tinygen_live.h", HEADER, "tinygen_math.h", "tinygen_simd.h")
# Instructions: a weight gathered, or unpacked; an activation placed twice; a product; a row of a window; an output.
_GATHER, _UNPACK, _PLACE, _MAC, _ROW, _OUTPUT = 2.6, 8.0, 5.0, 0.48, 3.0, 13.0


@kernel(MaskedConv2D, name="masked_conv_2d_dsp", family="tinygen", isa="dsp")
def masked_conv_2d_dsp(node: Node) -> Sequence[KernelPlan]:
    """Windows taken from rows of live channels."""
    conv = live_conv(node)
    if conv is None:
        return ()
    height = node.output.shape[1]
    return [_plan(conv, size) for size in sorted({min(size, height) for size in BLOCKS})]


def _plan(conv: LiveConv, size: int) -> KernelPlan:
    """The plan that places the input of `size` output rows at a time."""
    node, op = conv.node, conv.node.op
    assert isinstance(op, MaskedConv2D)
    rows, columns = geometry = op.geometry(node)
    filters, k_h, k_w, channels = conv.weights.shape
    # Pointwise loops take eight channels in a turn.
    eights = k_h * k_w == 1
    most = -(-channels // 8) * 8 if eights else -(-channels // 4) * 4
    span = (rows.kernel - 1) * rows.dilation + 1
    buffered, width = (size - 1) * rows.stride + span, int(conv.context["width"])
    weight_words = 2 * most * k_h * k_w
    blocks = -(-rows.output // size)
    pairs = -(-columns.output // 2)

    def cycles(live_out: float, live_in: float) -> float:
        deep = k_h * k_w * most * live_in / channels
        weights = live_out * deep * (_UNPACK if conv.packed else _GATHER)
        placed = blocks * (buffered * width * most * live_in / channels * _PLACE + weights)
        return placed + 2.0 * rows.output * pairs * live_out * (deep * _MAC + k_h * _ROW + _OUTPUT)

    return KernelPlan(
        template="gated/masked_conv_2d_dsp.c.j2",
        stem=window_stem(f"masked_conv_2d_{kind_of(node.input(0).integer)}_dsp", geometry),
        context=conv.context
        | {
            "eights": eights,
            "turn": 2 * k_w * (2 if eights else 1),
            "rows": size,
            "span_h": span,
            "weight_words": weight_words,
            "pairs_w": pairs,
        },
        operands=conv.operands,
        constants=conv.constants,
        # A missing second pixel is read and written behind the last row.
        scratch_bytes=4 * (weight_words + (columns.stride + buffered * width + columns.stride) * most) + AHEAD,
        headers=_HEADERS,
        cycles=cycles(filters, channels),
        live_cycles=cycles,
    )
