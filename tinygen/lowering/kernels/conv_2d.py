"""Kernels of CONV_2D."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.lowering.kernels.support import mac
from tinygen.lowering.kernels.support.window import window_context, window_stem
from tinygen.lowering.plan import Constant, KernelPlan, kernel


def _direct(
    node: Node, kind: str, *, context: dict[str, Any], constants: tuple[Constant, ...], headers: tuple[str, ...] = ()
) -> KernelPlan:
    """The plain loops, for any type."""
    op = node.op
    assert isinstance(op, Conv2D)
    weights = node.constant(1)
    geometry = op.geometry(node)
    packed = Constant("weights", weights.reshape(-1), f"OHWI {list(weights.shape)}")
    return KernelPlan(
        template="conv_2d/conv_2d.c.j2",
        stem=window_stem(f"conv_2d_{kind}", geometry),
        context={
            **window_context(node, geometry),
            "depth": weights.shape[3],
            "groups": op.groups(node),
            "real": kind == "f32",
            "wide": kind == "s16",
            "input_zero": 0,
            **context,
        },
        constants=(packed, *constants),
        headers=("tinygen_math.h", *headers),
        cycles=7.0 * op.macs(node) + 20.0 * node.output.size,
    )


@kernel(Conv2D, name="conv_2d_s8")
def conv_2d_s8(node: Node) -> KernelPlan | None:
    """Plain loops."""
    if node.output.dtype != np.int8 or not node.input(1).is_constant:
        return None
    channels = node.output.shape[3]
    scale = mac.requantization(node, channels=channels)
    types = {"input_type": "int8_t", "weight_type": "int8_t", "acc_type": "int32_t"}
    return _direct(
        node, "s8",
        context=types | scale.context | {"input_zero": node.input(0).zero_point},
        constants=(mac.bias_or_zeros(node, channels, np.int32), *scale.constants),
        headers=scale.headers,
    )  # fmt: skip


@kernel(Conv2D, name="conv_2d_s16")
def conv_2d_s16(node: Node) -> KernelPlan | None:
    """Plain loops over 16-bit activations, 64-bit accumulators."""
    if node.output.dtype != np.int16 or not node.input(1).is_constant:
        return None
    channels = node.output.shape[3]
    scale = mac.requantization(node, channels=channels)
    types = {"input_type": "int16_t", "weight_type": "int8_t", "acc_type": "int64_t"}
    return _direct(
        node, "s16", context=types | scale.context,
        constants=(mac.bias_or_zeros(node, channels, np.int64), *scale.constants),
    )  # fmt: skip


@kernel(Conv2D, name="conv_2d_f32")
def conv_2d_f32(node: Node) -> KernelPlan | None:
    """Plain loops in single precision."""
    if not node.output.is_float or not node.input(1).is_constant:
        return None
    types = {"input_type": "float", "weight_type": "float", "acc_type": "float"}
    bias = mac.bias_or_zeros(node, node.output.shape[3], np.float32)
    return _direct(node, "f32", context=types | mac.float_clamp(node), constants=(bias,))
