"""DEPTHWISE_CONV_2D by esp_nn_depthwise_conv_s8."""

from __future__ import annotations

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.lowering.kernels.support.activations.window import window_stem
from tinygen.lowering.kernels.support.epilogues import mac
from tinygen.lowering.kernels.vendor import support as vendor
from tinygen.lowering.kernels.vendor.esp_nn import support
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_STRIPS = 48 * 1024
"""Bytes of input and filter, as int16, beyond which ESP32-S3's form takes single rows, and pads them with code 0."""


@kernel(DepthwiseConv2D, name="esp_nn_depthwise_conv_2d", family=support.FAMILY, unless=support.VECTORS)
def depthwise_conv_2d(node: Node) -> KernelPlan | None:
    """Any window, stride and channel multiplier; halves away from zero."""
    return _plan(node)


@kernel(DepthwiseConv2D, name="esp_nn_depthwise_conv_2d_vectors", family=support.FAMILY, isa=support.VECTORS)
def depthwise_conv_2d_vectors(node: Node) -> KernelPlan | None:
    """The same, without the paddings for which the ESP32-S3 version is wrong."""
    op = node.op
    assert isinstance(op, DepthwiseConv2D)
    rows, columns = op.geometry(node)
    channels = node.input(0).shape[3]
    if op.multiplier(node) == 1 and channels % 8 == 0:
        before = {rows.before, columns.before}
        if rows.kernel == columns.kernel == 3:
            # It reserves the scratch of another version, unless both axes are padded alike.
            if channels % 16 == 0 and before not in ({0}, {1}):
                return None
        elif 2 * (node.input(0).size + node.input(1).size) > _STRIPS and rows.padded:
            return None
    return _plan(node)


def _plan(node: Node) -> KernelPlan | None:
    op = node.op
    assert isinstance(op, DepthwiseConv2D)
    rows, columns = geometry = op.geometry(node)
    if not support.computes(node) or not vendor.takes_weights(node):
        return None
    if rows.dilation != 1 or columns.dilation != 1:
        return None
    weights = node.constant(1)
    channels, multiplier = weights.shape[3], op.multiplier(node)
    window = vendor.Window.of(node, op)
    inputs, filters, outputs = map(support.dims, (node.input(0).shape, weights.shape, node.output.shape))
    return KernelPlan(
        template="vendor/esp_nn/depthwise_conv_2d.c.j2",
        stem=window_stem("esp_nn_depthwise_conv_2d_s8", geometry),
        context={
            "multiplier": multiplier,
            "inputs": inputs,
            "filters": filters,
            "outputs": outputs,
            **window.context(),
        },
        constants=(
            Constant("weights", weights.reshape(-1), f"[KH, KW, C] {list(weights.shape[1:])}"),
            mac.bias_or_zeros(node, channels, np.int32),
            *vendor.scale_constants(node, channels),
        ),
        headers=support.HEADERS,
        alignment=support.ALIGNMENT,
        cycles=12.0 * op.macs(node),
        library=support.call("depthwise_conv", inputs, filters, outputs, window.depthwise_params(multiplier)),
    )
