"""CONV_2D by esp_nn_conv_s8."""

from __future__ import annotations

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.window import Axis
from tinygen.lowering.kernels.support.activations.window import window_stem
from tinygen.lowering.kernels.support.epilogues import mac
from tinygen.lowering.kernels.vendor import support as vendor
from tinygen.lowering.kernels.vendor.esp_nn import support
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_WIDE = 16
"""Bytes of a vector: rows of a filter that are shorter are handled a window at a time, with every edge looked at."""


@kernel(Conv2D, of="tflite", name="esp_nn_conv_2d", family=support.FAMILY, unless=support.VECTORS)
def conv_2d(node: Node) -> KernelPlan | None:
    """Any window and stride; halves away from zero; no groups."""
    return _plan(node)


@kernel(Conv2D, of="tflite", name="esp_nn_conv_2d_vectors", family=support.FAMILY, isa=support.VECTORS)
def conv_2d_vectors(node: Node) -> KernelPlan | None:
    """The same, where windows do not reach further behind the input than they do before it, but for one element."""
    op = node.op
    assert isinstance(op, Conv2D)
    rows, columns = op.geometry(node)
    narrow = columns.kernel * node.input(0).shape[3] < _WIDE <= rows.kernel * columns.kernel * node.input(0).shape[3]
    # ESP32-S3's form pads as much behind the input as before it; where nothing is before, both look at what is behind.
    behind = not rows.before and not columns.before and max(map(_lacking, (rows, columns))) <= 1
    alike = all(_lacking(axis) <= axis.before for axis in (rows, columns))
    return _plan(node) if narrow or behind or alike else None


def _lacking(axis: Axis) -> int:
    """How far the last window reaches beyond the end of the input."""
    return (axis.output - 1) * axis.stride + axis.kernel - axis.before - axis.input


def _plan(node: Node) -> KernelPlan | None:
    op = node.op
    assert isinstance(op, Conv2D)
    rows, columns = geometry = op.geometry(node)
    if not support.computes(node) or not vendor.takes_weights(node):
        return None
    if op.groups(node) != 1 or rows.dilation != 1 or columns.dilation != 1:
        return None
    # Padding does not matter for a window of one tap.
    if rows.kernel == columns.kernel == 1 and (rows.padded or columns.padded):
        return None
    weights = node.constant(1)
    window = vendor.Window.of(node, op)
    inputs, filters, outputs = map(support.dims, (node.input(0).shape, weights.shape, node.output.shape))
    return KernelPlan(
        template="vendor/esp_nn/conv_2d.c.j2",
        stem=window_stem("esp_nn_conv_2d_s8", geometry),
        context={"inputs": inputs, "filters": filters, "outputs": outputs, **window.context()},
        constants=(
            Constant("weights", weights.reshape(-1), f"OHWI {list(weights.shape)}"),
            mac.bias_or_zeros(node, weights.shape[0], np.int32),
            *vendor.scale_constants(node, weights.shape[0]),
        ),
        headers=support.HEADERS,
        alignment=support.ALIGNMENT,
        cycles=8.0 * op.macs(node),
        library=support.call("conv", inputs, filters, outputs, window.conv_params()),
    )
