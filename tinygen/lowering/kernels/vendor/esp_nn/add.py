"""ADD by esp_nn_add_elementwise_s8: operands of one shape."""

from __future__ import annotations

from tinygen.ir.fixed_point import quantized_activation_range
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.binary import Add
from tinygen.lowering.kernels.vendor.esp_nn import support
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(Add, name="esp_nn_add", family=support.FAMILY)
def add(node: Node) -> KernelPlan | None:
    """Scales that are only shifted to the right, as the library's header requires."""
    op = node.op
    assert isinstance(op, Add)
    if not support.computes(node) or not node.input(0).shape == node.input(1).shape == node.output.shape:
        return None
    scales = op.scales(node)
    if max(shift for _, shift in (scales.first, scales.second, scales.output)) > 0:
        return None
    (multiplier_1, shift_1), (multiplier_2, shift_2) = scales.first, scales.second
    return KernelPlan(
        template="vendor/esp_nn/add.c.j2",
        stem="esp_nn_add_s8",
        context={
            "size": node.output.size,
            "left_shift": scales.left_shift,
            "offsets": [-node.input(0).zero_point, -node.input(1).zero_point],
            "multipliers": [multiplier_1, multiplier_2],
            "shifts": [shift_1, shift_2],
            "output": [node.output.zero_point, *scales.output],
            "clamp": list(quantized_activation_range(op.activation, node.output)),
        },
        operands=(("first", 0), ("second", 1)),
        headers=support.HEADERS,
        alignment=support.ALIGNMENT,
        cycles=60.0 * node.output.size,
        library=support.call_without_scratch("esp_nn_add_elementwise_s8"),
    )
