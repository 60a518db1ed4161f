"""CONV_2D by arm_convolve_wrapper_s8 and _s16."""

from __future__ import annotations

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.lowering.kernels.support.activations.window import window_stem
from tinygen.lowering.kernels.support.epilogues import mac
from tinygen.lowering.kernels.vendor import support as vendor
from tinygen.lowering.kernels.vendor.cmsis_nn import support
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_S16_COLUMNS = 512
"""Beyond these taps (MAX_COL_COUNT) the plain and DSP forms of arm_convolve_s16 no longer add up right."""


@kernel(Conv2D, of="tflite", name="cmsis_nn_conv_2d", family=support.FAMILY)
def conv_2d(node: Node) -> KernelPlan | None:
    """Any window, stride and dilation; groups in int8 only; halves away from zero."""
    op = node.op
    assert isinstance(op, Conv2D)
    suffix = support.type_suffix(node)
    if suffix is None or not vendor.takes_weights(node):
        return None
    if suffix == "s16" and not _s16_is_exact(node, op):
        return None
    weights = node.constant(1)
    channels = weights.shape[0]
    window = vendor.Window.of(node, op)
    inputs, filters, outputs = map(support.dims, (node.input(0).shape, weights.shape, node.output.shape))
    function = f"arm_convolve_wrapper_{suffix}"
    return KernelPlan(
        template="vendor/cmsis_nn/conv_2d.c.j2",
        stem=window_stem(f"cmsis_nn_conv_2d_{suffix}", op.geometry(node)),
        context={
            "function": function,
            "wide": suffix == "s16",
            "inputs": inputs,
            "filters": filters,
            "outputs": outputs,
            **window.context(),
        },
        constants=(
            Constant("weights", weights.reshape(-1), f"OHWI {list(weights.shape)}"),
            mac.bias_or_zeros(node, channels, np.int64 if suffix == "s16" else np.int32),
            *vendor.scale_constants(node, channels),
        ),
        headers=support.HEADERS,
        cycles=2.3 * op.macs(node),
        library=support.call(function, window.conv_params(), inputs, filters, outputs),
    )


def _s16_is_exact(node: Node, op: Conv2D) -> bool:
    weights = node.constant(1)
    small = weights[0].size <= _S16_COLUMNS and op.groups(node) == 1
    shifts = vendor.scales(node)[1]
    return small and support.sums_fit_int32(weights, 0) and bool(shifts.max() <= support.LARGEST_LEFT_SHIFT_S16)
