"""Plain kernel of separate requantization."""

from __future__ import annotations

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.requantize import Requantize
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations import codes
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(Requantize, name="requantize", unpacks=True, packs=True)
def requantize(node: Node) -> KernelPlan | None:
    """Plain loops, any encoding."""
    op, x = node.op, node.input(0)
    assert isinstance(op, Requantize)
    activations = codes.activation_context(x)
    if activations is None:
        return None
    after = codes.ending(op.epilogue)
    return KernelPlan(
        template="elementwise/requantize.c.j2",
        stem=f"requantize_{codes.kind_of(x.integer)}_{codes.kind_of(node.output.integer)}",
        context={
            "pixels": x.size // x.shape[-1],
            "pixel": codes.pixel_elements(x),
            "out_c": x.shape[-1],
            "activations": activations,
            "after": after.context,
            **codes.output_context(node.output),
            "input_type": ctype(x.memory_dtype),
        },
        constants=after.constants,
        headers=codes.HEADERS,
        cycles=node.output.size * (6.0 + after.cycles + codes.UNPACK * codes.unpacked(x, node.output)),
    )
