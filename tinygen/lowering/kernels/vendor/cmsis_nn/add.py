"""ADD by arm_elementwise_add_s8 and _s16: operands of one shape."""

from __future__ import annotations

from tinygen.ir.fixed_point import quantized_activation_range
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.binary import Add
from tinygen.lowering.kernels.vendor.cmsis_nn import support
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(Add, name="cmsis_nn_add", family=support.FAMILY)
def add(node: Node) -> KernelPlan | None:
    """int8, and int16 unless all scales are powers of two (LiteRT only shifts these, which the library does not
    support).
    """
    op = node.op
    assert isinstance(op, Add)
    suffix = support.type_suffix(node)
    same = node.input(0).shape == node.input(1).shape == node.output.shape
    if suffix is None or not same or op.shifts(node) is not None:
        return None
    scales = op.scales(node)
    function = f"arm_elementwise_add_{suffix}"
    return KernelPlan(
        template="vendor/cmsis_nn/add.c.j2",
        stem=f"cmsis_nn_add_{suffix}",
        context={
            "function": function,
            "size": node.output.size,
            "left_shift": scales.left_shift,
            "first": [-node.input(0).zero_point, *scales.first],
            "second": [-node.input(1).zero_point, *scales.second],
            "output": [node.output.zero_point, *scales.output],
            "clamp": list(quantized_activation_range(op.activation, node.output)),
        },
        operands=(("first", 0), ("second", 1)),
        headers=support.HEADERS,
        cycles=80.0 * node.output.size,
        library=support.call_without_scratch(function),
    )
