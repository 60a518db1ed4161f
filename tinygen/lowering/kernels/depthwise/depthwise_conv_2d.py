"""Kernels of DEPTHWISE_CONV_2D."""

from __future__ import annotations

from functools import partial

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.mac import centred_weights
from tinygen.lowering.kernels.support.activations.codes import smallest_integers
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.kernels.support.epilogues import mac
from tinygen.lowering.kernels.support.loops.plain import KINDS, plain_loops
from tinygen.lowering.plan import Constant, KernelPlan, kernel


def _plain(node: Node, kind: str) -> KernelPlan | None:
    """Plain loops; those over 16-bit activations have 64-bit accumulators."""
    op = node.op
    assert isinstance(op, DepthwiseConv2D)
    loops = plain_loops(node, kind)
    if loops is None:
        return None
    geometry = op.geometry(node)
    return KernelPlan(
        template="depthwise/depthwise_conv_2d.c.j2",
        stem=window_stem(f"depthwise_conv_2d_{kind}", geometry),
        context={**window_context(node, geometry), "multiplier_count": op.multiplier(node), **loops.context},
        constants=(_weights(loops.weights), *loops.constants),
        headers=("tinygen_math.h", *loops.headers),
        cycles=16.0 * op.macs(node) + 30.0 * node.output.size,
    )


def _weights(weights: np.ndarray) -> Constant:
    return Constant("weights", weights.reshape(-1), f"[KH, KW, C] {list(weights.shape[1:])}")


for _kind in KINDS:
    kernel(DepthwiseConv2D, name=f"depthwise_conv_2d_{_kind}")(partial(_plain, kind=_kind))


@kernel(DepthwiseConv2D, name="depthwise_conv_2d_s8_dsp", family="tinygen", isa="dsp")
def depthwise_conv_2d_s8_dsp(node: Node) -> KernelPlan | None:
    """Four channels at a time with SMLABB/SMLATT: for dilated rows, and less than four channels."""
    op = node.op
    assert isinstance(op, DepthwiseConv2D)
    if node.output.dtype != np.int8 or not node.input(1).is_constant or op.multiplier(node) > 1:
        return None
    weights = smallest_integers(centred_weights(node))
    if weights.dtype != np.int8:
        return None
    channels = node.output.shape[3]
    geometry = op.geometry(node)
    scale = mac.requantization(node, channels=channels)
    padded = any(axis.padded for axis in geometry)
    return KernelPlan(
        template="depthwise/depthwise_conv_2d_dsp.c.j2",
        stem=window_stem("depthwise_conv_2d_s8_dsp", geometry),
        context={**window_context(node, geometry), "input_zero": node.input(0).zero_point, **scale.context},
        constants=(_weights(weights), mac.folded_bias(node, axis=3), *scale.constants),
        scratch_bytes=channels if padded else 0,
        headers=("tinygen_math.h", "tinygen_simd.h", *scale.headers),
        cycles=4.0 * op.macs(node) + 30.0 * node.output.size,
    )
