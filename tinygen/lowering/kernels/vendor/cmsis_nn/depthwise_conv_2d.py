"""DEPTHWISE_CONV_2D by arm_depthwise_conv_wrapper_s8 and _s16."""

from __future__ import annotations

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.lowering.kernels.support.activations.window import window_stem
from tinygen.lowering.kernels.support.epilogues import mac
from tinygen.lowering.kernels.vendor import support as vendor
from tinygen.lowering.kernels.vendor.cmsis_nn import support
from tinygen.lowering.plan import Constant, KernelPlan, kernel


@kernel(DepthwiseConv2D, name="cmsis_nn_depthwise_conv_2d", family=support.FAMILY)
def depthwise_conv_2d(node: Node) -> KernelPlan | None:
    """Any window, stride, dilation and channel multiplier; halves away from zero."""
    op = node.op
    assert isinstance(op, DepthwiseConv2D)
    suffix = support.type_suffix(node)
    if suffix is None or not vendor.takes_weights(node):
        return None
    if suffix == "s16" and vendor.scales(node)[1].max() > support.LARGEST_LEFT_SHIFT_S16:
        return None
    weights = node.constant(1)
    channels = weights.shape[3]
    window = vendor.Window.of(node, op)
    inputs, filters, outputs = map(support.dims, (node.input(0).shape, weights.shape, node.output.shape))
    function = f"arm_depthwise_conv_wrapper_{suffix}"
    return KernelPlan(
        template="vendor/cmsis_nn/depthwise_conv_2d.c.j2",
        stem=window_stem(f"cmsis_nn_depthwise_conv_2d_{suffix}", op.geometry(node)),
        context={
            "function": function,
            "multiplier": op.multiplier(node),
            "inputs": inputs,
            "filters": filters,
            "outputs": outputs,
            **window.context(),
        },
        constants=(
            Constant("weights", weights.reshape(-1), f"[KH, KW, C] {list(weights.shape[1:])}"),
            mac.bias_or_zeros(node, channels, np.int64 if suffix == "s16" else np.int32),
            *vendor.scale_constants(node, channels),
        ),
        headers=support.HEADERS,
        cycles=8.0 * op.macs(node),
        library=support.call(function, window.depthwise_params(op.multiplier(node)), inputs, filters, outputs),
    )
