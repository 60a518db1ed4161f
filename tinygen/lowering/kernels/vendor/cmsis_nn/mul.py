"""MUL by arm_elementwise_mul_s8 and _s16: operands of one shape."""

from __future__ import annotations

from tinygen.ir.fixed_point import quantized_activation_range
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.binary import Mul
from tinygen.lowering.kernels.vendor.cmsis_nn import support
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(Mul, name="cmsis_nn_mul", family=support.FAMILY)
def mul(node: Node) -> KernelPlan | None:
    """int8 and int16."""
    op = node.op
    assert isinstance(op, Mul)
    suffix = support.type_suffix(node)
    if suffix is None or not node.input(0).shape == node.input(1).shape == node.output.shape:
        return None
    function = f"arm_elementwise_mul_{suffix}"
    return KernelPlan(
        template="vendor/cmsis_nn/mul.c.j2",
        stem=f"cmsis_nn_mul_{suffix}",
        context={
            "function": function,
            "size": node.output.size,
            "offsets": [-node.input(0).zero_point, -node.input(1).zero_point],
            "output": [node.output.zero_point, *op.scale(node)],
            "clamp": list(quantized_activation_range(op.activation, node.output)),
        },
        operands=(("first", 0), ("second", 1)),
        headers=support.HEADERS,
        cycles=30.0 * node.output.size,
        library=support.call_without_scratch(function),
    )
