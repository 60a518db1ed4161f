"""Plain kernel of dense layers on integer codes."""

from __future__ import annotations

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations import codes
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(FullyConnected, of="codes", name="fully_connected_codes")
def fully_connected_codes(node: Node) -> KernelPlan | None:
    """Plain loops, any encoding."""
    op, x = node.op, node.input(0)
    assert isinstance(op, FullyConnected)
    activations = codes.activation_context(x)
    if activations is None or not node.input(1).is_constant:
        return None
    outputs, depth = node.input(1).shape
    if depth % x.shape[-1]:
        return None
    pixels = depth // x.shape[-1]
    weights, arrays = codes.plain_weights(node)
    after = codes.ending(op.of_sums)
    kinds = f"{codes.kind_of(x.integer)}_{codes.kind_of(node.input(1).integer)}"
    return KernelPlan(
        template="dense/fully_connected_codes.c.j2",
        stem=f"fully_connected_{kinds}",
        context={
            "rows": x.size // depth,
            "depth": depth,
            "out_c": outputs,
            "pixels": pixels,
            "pixel": codes.pixel_elements(x),
            "row_words": pixels * codes.pixel_elements(x),
            "activations": activations,
            "input_type": ctype(x.memory_dtype),
            "after": after.context,
            **codes.output_context(node.output),
            **weights,
        },
        constants=(*arrays, *after.constants),
        headers=codes.HEADERS,
        cycles=9.0 * op.macs(node) + (10.0 + after.cycles) * node.output.size,
    )
