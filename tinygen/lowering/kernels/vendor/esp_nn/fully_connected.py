"""FULLY_CONNECTED by esp_nn_fully_connected_s8 and esp_nn_fully_connected_per_ch_s8.

The library scales accumulators as its convolutions do, LiteRT's reference with one rounding: results may differ by one
code (`vendor.rounded_twice`).
"""

from __future__ import annotations

from collections.abc import Callable

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.lowering.kernels.vendor import support as vendor
from tinygen.lowering.kernels.vendor.esp_nn import support
from tinygen.lowering.plan import KernelPlan, PlanFunction, kernel

_LONGEST = 65535
"""Sizes are uint16_t."""


def _dense(isa: str = "c99", unless: str = "", suffix: str = "") -> Callable[[PlanFunction], PlanFunction]:
    return kernel(
        FullyConnected,
        of="tflite",
        name=f"esp_nn_fully_connected{suffix}",
        family=support.FAMILY,
        isa=isa,
        arithmetic=vendor.rounded_twice,
        unless=unless,
    )


@_dense(unless=support.VECTORS)
def fully_connected(node: Node) -> KernelPlan | None:
    """Per tensor or per channel; no layers that round halves upwards."""
    return _plan(node)


@_dense(isa=support.VECTORS, suffix="_vectors")
def fully_connected_vectors(node: Node) -> KernelPlan | None:
    """The same, if every row is aligned for vector loads."""
    depth = node.input(1).shape[1]
    return _plan(node) if node.input(0).size == depth or depth % support.ALIGNMENT == 0 else None


def _plan(node: Node) -> KernelPlan | None:
    op = node.op
    assert isinstance(op, FullyConnected)
    if not support.computes(node) or not vendor.takes_weights(node):
        return None
    dense = vendor.Dense.of(node)
    outputs, depth = dense.shape
    if max(outputs, depth) > _LONGEST:
        return None
    function = "esp_nn_fully_connected_per_ch_s8" if dense.per_channel else "esp_nn_fully_connected_s8"
    return KernelPlan(
        template="vendor/esp_nn/fully_connected.c.j2",
        stem=f"esp_nn_fully_connected_s8_{depth}x{outputs}",
        context=dense.context(function),
        constants=dense.constants(),
        headers=support.HEADERS,
        alignment=support.ALIGNMENT,
        cycles=8.0 * op.macs(node),
        library=support.call_without_scratch(function),
    )
