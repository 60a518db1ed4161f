"""MUL by esp_nn_mul_elementwise_s8: operands of one shape."""

from __future__ import annotations

from tinygen.ir.fixed_point import quantized_activation_range
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.binary import Mul
from tinygen.lowering.kernels.vendor.esp_nn import support
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(Mul, name="esp_nn_mul", family=support.FAMILY)
def mul(node: Node) -> KernelPlan | None:
    """Products that are scaled by less than one: the library's header requires shifts to the right."""
    op = node.op
    assert isinstance(op, Mul)
    if not support.computes(node) or not node.input(0).shape == node.input(1).shape == node.output.shape:
        return None
    multiplier, shift = op.scale(node)
    if shift > 0:
        return None
    return KernelPlan(
        template="vendor/esp_nn/mul.c.j2",
        stem="esp_nn_mul_s8",
        context={
            "size": node.output.size,
            "offsets": [-node.input(0).zero_point, -node.input(1).zero_point],
            "output": [node.output.zero_point, multiplier, shift],
            "clamp": list(quantized_activation_range(op.activation, node.output)),
        },
        operands=(("first", 0), ("second", 1)),
        headers=support.HEADERS,
        alignment=support.ALIGNMENT,
        cycles=30.0 * node.output.size,
        library=support.call_without_scratch("esp_nn_mul_elementwise_s8"),
    )
