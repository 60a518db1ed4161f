"""AVERAGE_POOL_2D and MAX_POOL_2D by esp_nn_avg_pool_s8 and esp_nn_max_pool_s8."""

from __future__ import annotations

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.pool_2d import AveragePool2D, MaxPool2D
from tinygen.lowering.kernels.support.activations.window import window_stem
from tinygen.lowering.kernels.vendor import support as vendor
from tinygen.lowering.kernels.vendor.esp_nn import support
from tinygen.lowering.plan import KernelPlan, kernel

_MOST_TAPS = 255
"""Whose sum fits the int16 that ESP32-S3's form adds up in."""


def _pool(node: Node, function: str) -> KernelPlan | None:
    op = node.op
    assert isinstance(op, AveragePool2D | MaxPool2D)
    if not support.computes(node):
        return None
    return KernelPlan(
        template="vendor/esp_nn/pool_2d.c.j2",
        stem=window_stem(function, op.geometry(node)),
        context={
            "function": function,
            "inputs": support.dims(node.input(0).shape),
            "filters": (op.kernel[1], op.kernel[0]),
            "outputs": support.dims(node.output.shape),
            **vendor.Window.of(node, op).context(),
        },
        headers=support.HEADERS,
        alignment=support.ALIGNMENT,
        cycles=10.0 * node.output.size * op.kernel[0] * op.kernel[1],
        library=support.call_without_scratch(function),
    )


@kernel(AveragePool2D, of="tflite", name="esp_nn_average_pool_2d", family=support.FAMILY)
def average_pool_2d(node: Node) -> KernelPlan | None:
    """Windows of up to 255 taps, halves away from zero."""
    op = node.op
    assert isinstance(op, AveragePool2D)
    fits = op.kernel[0] * op.kernel[1] <= _MOST_TAPS and not op.upwards
    return _pool(node, "esp_nn_avg_pool_s8") if fits else None


@kernel(MaxPool2D, name="esp_nn_max_pool_2d", family=support.FAMILY)
def max_pool_2d(node: Node) -> KernelPlan | None:
    """Any window."""
    assert isinstance(node.op, MaxPool2D)
    return _pool(node, "esp_nn_max_pool_s8") if node.op.is_tflite(node) else None
