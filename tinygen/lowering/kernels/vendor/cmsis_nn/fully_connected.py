"""FULLY_CONNECTED by arm_fully_connected_s8, arm_fully_connected_wrapper_s8 (per channel) and arm_fully_connected_s16.

The library scales accumulators as its convolutions do, LiteRT's reference with one rounding: results may differ by one
code (`arithmetic`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.ir.fixed_point import multiply_by_quantized_multiplier_64
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.lowering.kernels.vendor import support as vendor
from tinygen.lowering.kernels.vendor.cmsis_nn import support
from tinygen.lowering.plan import KernelPlan, VendorCall, kernel


def arithmetic(node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What the library computes: arm_nn_requantize for int8 (doubling high multiply, then a shift, each rounded),
    arm_nn_requantize_s64 for int16 (16-bit multiplier, one rounding upwards); Include/arm_nnsupportfunctions.h."""
    if node.output.dtype != np.int16:
        return vendor.rounded_twice(node, values)
    sums = vendor.dense_sums(node, values)
    return vendor.dense_codes(node, multiply_by_quantized_multiplier_64(sums, *vendor.scales(node)))


@kernel(FullyConnected, of="tflite", name="cmsis_nn_fully_connected", family=support.FAMILY, arithmetic=arithmetic)
def fully_connected(node: Node) -> KernelPlan | None:
    """Per tensor or per channel; int16 per tensor only; no layers that round halves upwards."""
    op = node.op
    assert isinstance(op, FullyConnected)
    suffix = support.type_suffix(node)
    if suffix is None or not vendor.takes_weights(node):
        return None
    dense = vendor.Dense.of(node)
    outputs, depth = dense.shape
    if suffix == "s16" and (
        dense.per_channel
        or not support.sums_fit_int32(node.constant(1), 0)
        or dense.shifts[0] > support.LARGEST_LEFT_SHIFT_S16
    ):
        return None
    function = "arm_fully_connected_wrapper_s8" if dense.per_channel else f"arm_fully_connected_{suffix}"
    return KernelPlan(
        template="vendor/cmsis_nn/fully_connected.c.j2",
        stem=f"cmsis_nn_fully_connected_{suffix}_{depth}x{outputs}",
        context=dense.context(function),
        constants=dense.constants(np.int64 if suffix == "s16" else np.int32),
        headers=support.HEADERS,
        cycles=2.1 * op.macs(node),
        library=_call(function, suffix, (depth, 1, 1, outputs)),
    )


def _call(function: str, suffix: str, filters: tuple[int, ...]) -> VendorCall:
    """The scratch of int8 layers, needed with MVE only, holds the sums of the weights."""
    also = ("arm_vector_sum_s8",) if suffix == "s8" else ()
    query = f"arm_fully_connected_{suffix}_get_buffer_size"
    return VendorCall(support.HEADER_FILES, (function, *also), query, (filters,))
