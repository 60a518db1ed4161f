"""Convolutions with counted lists for cores without SIMD: four pixels times four filters, live bytes in scratch."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.masked_conv_2d import MaskedConv2D
from tinygen.lowering.kernels.gated.live_conv import BLOCKS, LiveConv, live_conv
from tinygen.lowering.kernels.support.activations.codes import kind_of
from tinygen.lowering.kernels.support.activations.window import window_stem
from tinygen.lowering.kernels.support.loops import scalar
from tinygen.lowering.kernels.support.weights.gathered import HEADER
from tinygen.lowering.plan import KernelPlan, kernel

# Cycles of an ESP32-C3: a weight gathered; an activation copied; a tap of a tile; a row of its windows; its outputs.
_GATHER, _COPY, _TAP, _ROW, _TILE = 12.0, 8.0, 50.0, 24.0, 400.0


@kernel(MaskedConv2D, name="masked_conv_2d_scalar", family="tinygen", isa="scalar")
def masked_conv_2d_scalar(node: Node) -> Sequence[KernelPlan]:
    """Windows taken from rows of live channels."""
    conv = live_conv(node)
    if conv is None or node.input(0).code_range[1] > 127:
        return ()
    height = node.output.shape[1]
    return [_plan(conv, size) for size in sorted({min(size, height) for size in BLOCKS})]


def _plan(conv: LiveConv, size: int) -> KernelPlan:
    """The plan that copies the input of `size` output rows at a time."""
    node, op = conv.node, conv.node.op
    assert isinstance(op, MaskedConv2D)
    rows, columns = geometry = op.geometry(node)
    filters, k_h, k_w, channels = conv.weights.shape
    span, width = (rows.kernel - 1) * rows.dilation + 1, int(conv.context["width"])
    copied = ((size - 1) * rows.stride + span) * width * channels
    taps, blocks = k_h * k_w * channels, -(-rows.output // size)
    tiles = -(-rows.output * columns.output // 4)

    def cycles(live_out: float, live_in: float) -> float:
        deep, share = k_h * k_w * live_in, live_in / channels
        gathered = blocks * (copied * share * _COPY + live_out * deep * _GATHER)
        return gathered + -(-live_out // 4) * tiles * (deep * _TAP + k_h * _ROW + _TILE)

    return KernelPlan(
        template="gated/masked_conv_2d_scalar.c.j2",
        stem=window_stem(f"masked_conv_2d_{kind_of(node.input(0).integer)}_scalar", geometry),
        context=conv.context | {"rows": size, "span_h": span},
        operands=conv.operands,
        constants=conv.constants,
        scratch_bytes=4 * taps + copied,
        headers=("tinygen_codes.h", HEADER, *scalar.HEADERS),
        cycles=cycles(filters, channels),
        live_cycles=cycles,
    )
