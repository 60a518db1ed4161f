"""AVERAGE_POOL_2D and MAX_POOL_2D by arm_avgpool_s8, arm_max_pool_s8 and their s16 forms."""

from __future__ import annotations

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.pool_2d import AveragePool2D, MaxPool2D
from tinygen.lowering.kernels.support.activations.window import window_stem
from tinygen.lowering.kernels.vendor import support as vendor
from tinygen.lowering.kernels.vendor.cmsis_nn import support
from tinygen.lowering.plan import KernelPlan, kernel


def _pool(node: Node, *, average: bool) -> KernelPlan | None:
    op = node.op
    assert isinstance(op, AveragePool2D | MaxPool2D)
    suffix = support.type_suffix(node)
    if suffix is None:
        return None
    inputs, outputs = support.dims(node.input(0).shape), support.dims(node.output.shape)
    if average:
        function = f"arm_avgpool_{suffix}"
        library = support.call(function, outputs[2], inputs[3])
    else:
        function = f"arm_max_pool_{suffix}"
        library = support.call_without_scratch(function)
    kind = "average" if average else "max"
    return KernelPlan(
        template="vendor/cmsis_nn/pool_2d.c.j2",
        stem=window_stem(f"cmsis_nn_{kind}_pool_{suffix}", op.geometry(node)),
        context={
            "function": function,
            "inputs": inputs,
            "filters": (1, *op.kernel, 1),
            "outputs": outputs,
            **vendor.Window.of(node, op).context(),
        },
        headers=support.HEADERS,
        cycles=6.0 * node.output.size * op.kernel[0] * op.kernel[1],
        library=library,
    )


@kernel(AveragePool2D, of="tflite", name="cmsis_nn_average_pool_2d", family=support.FAMILY)
def average_pool_2d(node: Node) -> KernelPlan | None:
    """int8 and int16, halves away from zero."""
    assert isinstance(node.op, AveragePool2D)
    return None if node.op.upwards else _pool(node, average=True)


@kernel(MaxPool2D, name="cmsis_nn_max_pool_2d", family=support.FAMILY)
def max_pool_2d(node: Node) -> KernelPlan | None:
    """int8 and int16."""
    assert isinstance(node.op, MaxPool2D)
    return _pool(node, average=False) if node.op.is_tflite(node) else None
