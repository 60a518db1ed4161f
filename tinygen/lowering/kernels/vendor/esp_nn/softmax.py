"""SOFTMAX by esp_nn_softmax_s8."""

from __future__ import annotations

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.softmax import Softmax
from tinygen.lowering.kernels.vendor.esp_nn import support
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(Softmax, name="esp_nn_softmax", family=support.FAMILY)
def softmax(node: Node) -> KernelPlan | None:
    """int8, along the last dimension."""
    op = node.op
    assert isinstance(op, Softmax)
    if not support.computes(node):
        return None
    depth = node.output.shape[-1]
    rows = node.output.size // depth
    multiplier, shift, reach = op.scaling(node)
    return KernelPlan(
        template="vendor/esp_nn/softmax.c.j2",
        stem="esp_nn_softmax_s8",
        context={
            "rows": rows,
            "depth": depth,
            "multiplier": multiplier,
            "shift": shift,
            "smallest_difference": -reach,
        },
        headers=support.HEADERS,
        alignment=support.ALIGNMENT,
        cycles=300.0 * node.output.size,
        library=support.call("softmax", depth, rows),
    )
