"""Kernels of TRANSPOSE_CONV."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.transpose_conv import TransposeConv
from tinygen.lowering.kernels.support import mac
from tinygen.lowering.plan import Constant, KernelPlan, kernel


@kernel(TransposeConv, name="transpose_conv")
def transpose_conv(node: Node) -> KernelPlan | None:
    """Plain loops, any type."""
    op = node.op
    assert isinstance(op, TransposeConv)
    if not node.input(1).is_constant:
        return None
    weights = node.constant(1)
    kind = {"float32": "f32", "int8": "s8", "int16": "s16"}[node.output.dtype.name]
    context, constants = _arithmetic(node, kind, weights.shape[0])
    rows, columns = op.geometry(node)
    batch, in_h, in_w, in_c = node.input(0).shape
    return KernelPlan(
        template="transpose_conv/transpose_conv.c.j2",
        stem=f"transpose_conv_{kind}_{rows.kernel}x{columns.kernel}",
        context={
            "batch": batch, "in_h": in_h, "in_w": in_w, "in_c": in_c,
            "out_h": op.size[0], "out_w": op.size[1], "out_c": weights.shape[0],
            "k_h": rows.kernel, "k_w": columns.kernel, "stride_h": rows.stride, "stride_w": columns.stride,
            "pad_h": rows.before, "pad_w": columns.before, "real": kind == "f32", "wide": kind == "s16",
            **context,
        },
        constants=(Constant("weights", weights.reshape(-1), f"OHWI {list(weights.shape)}"), *constants),
        cycles=8.0 * op.macs(node),
    )  # fmt: skip


def _arithmetic(node: Node, kind: str, channels: int) -> tuple[dict[str, Any], tuple[Constant, ...]]:
    """Types, bias and epilogue."""
    if kind == "f32":
        types = {"input_type": "float", "weight_type": "float", "acc_type": "float", "input_zero": 0}
        return types | mac.float_clamp(node), (mac.bias_or_zeros(node, channels, np.float32),)
    scale = mac.requantization(node, channels=channels)
    wide = kind == "s16"
    types = {
        "input_type": "int16_t" if wide else "int8_t",
        "weight_type": "int8_t",
        "acc_type": "int64_t" if wide else "int32_t",
        "input_zero": node.input(0).zero_point,
    }
    bias = mac.bias_or_zeros(node, channels, np.int64 if wide else np.int32)
    return types | scale.context, (bias, *scale.constants)
