"""SOFTMAX by arm_softmax_s8."""

from __future__ import annotations

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.softmax import Softmax
from tinygen.lowering.kernels.vendor.cmsis_nn import support
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(Softmax, name="cmsis_nn_softmax", family=support.FAMILY)
def softmax(node: Node) -> KernelPlan | None:
    """int8 only: the operator has no int16 form here."""
    op = node.op
    assert isinstance(op, Softmax)
    if support.type_suffix(node) != "s8":
        return None
    depth = node.output.shape[-1]
    multiplier, shift, reach = op.scaling(node)
    return KernelPlan(
        template="vendor/cmsis_nn/softmax.c.j2",
        stem="cmsis_nn_softmax_s8",
        context={
            "rows": node.output.size // depth,
            "depth": depth,
            "multiplier": multiplier,
            "shift": shift,
            "smallest_difference": -reach,
        },
        headers=support.HEADERS,
        cycles=420.0 * node.output.size,
        library=support.call_without_scratch("arm_softmax_s8"),
    )
