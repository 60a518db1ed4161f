"""Plain kernel of convolutions on integer codes."""

from __future__ import annotations

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations import codes
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(Conv2D, of="codes", name="conv_2d_codes")
def conv_2d_codes(node: Node) -> KernelPlan | None:
    """Plain loops, any encoding."""
    op, x = node.op, node.input(0)
    assert isinstance(op, Conv2D)
    activations = codes.activation_context(x)
    if activations is None or not node.input(1).is_constant:
        return None
    geometry = op.geometry(node)
    weights, arrays = codes.plain_weights(node)
    after = codes.ending(op.of_sums)
    kinds = f"{codes.kind_of(x.integer)}_{codes.kind_of(node.input(1).integer)}"
    return KernelPlan(
        template="conv/conv_2d_codes.c.j2",
        stem=window_stem(f"conv_2d_{kinds}", geometry),
        context={
            **window_context(node, geometry),
            "pixel": codes.pixel_elements(x),
            "depth": node.input(1).shape[3],
            "groups": op.groups(node),
            "activations": activations,
            "input_type": ctype(x.memory_dtype),
            "after": after.context,
            **codes.output_context(node.output),
            **weights,
        },
        constants=(*arrays, *after.constants),
        headers=codes.HEADERS,
        cycles=9.0 * op.macs(node) + (20.0 + after.cycles) * node.output.size,
    )
