"""Plain kernel of depthwise convolutions of live channels."""

from __future__ import annotations

from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.gather_depthwise_conv_2d import GatherDepthwiseConv2D
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations import codes
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.plan import Constant, KernelPlan, kernel


@kernel(GatherDepthwiseConv2D, name="gather_depthwise_conv_2d")
def gather_depthwise_conv_2d(node: Node) -> KernelPlan | None:
    """Plain loops, any encoding."""
    op, x = node.op, node.input(0)
    assert isinstance(op, GatherDepthwiseConv2D)
    activations = codes.activation_context(x)
    if activations is None:
        return None
    geometry = op.geometry(node)
    weights = codes.smallest_integers(integer_mac.weight_integers(node))
    after = codes.ending(op.epilogue)
    return KernelPlan(
        template="gated/gather_depthwise_conv_2d.c.j2",
        stem=window_stem(f"gather_depthwise_{codes.kind_of(x.integer)}", geometry),
        context={
            **window_context(node, geometry),
            "weight_type": ctype(weights.dtype),
            "activations": activations,
            "input_type": ctype(x.memory_dtype),
            "after": after.context,
            **codes.output_context(node.output),
        },
        operands=(("input", 0), ("live", 2)),
        constants=(Constant("weights", weights.reshape(-1), f"integers {list(weights.shape)}"), *after.constants),
        headers=codes.HEADERS,
        cycles=14.0 * op.macs(node) + (26.0 + after.cycles) * node.output.size,
    )
