"""Plain kernels of gates whose number of live channels depends on the input, and of their predictors."""

from __future__ import annotations

import numpy as np

from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.channel_lists import zero_code
from tinygen.ir.ops.masked_conv_2d import MaskedConv2D
from tinygen.ir.ops.positive_channels import PositiveChannels
from tinygen.ir.ops.softmax_numerator import SoftmaxNumerator, powers
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations import codes
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.plan import Constant, KernelPlan, kernel


@kernel(SoftmaxNumerator, name="softmax_numerator")
def softmax_numerator(node: Node) -> KernelPlan:
    """A pass for the largest code, and a table."""
    table = powers(node.input(0))
    known = int(np.flatnonzero(table)[-1]) + 1
    return KernelPlan(
        template="gated/softmax_numerator.c.j2",
        stem=f"softmax_numerator_{node.input(0).dtype.name}",
        context={"channels": node.output.size, "known": known},
        constants=(Constant("powers", table[:known], "255 exp(-scale * d)"),),
        cycles=10.0 * node.output.size,
    )


@kernel(PositiveChannels, name="positive_channels")
def positive_channels(node: Node) -> KernelPlan:
    """One pass."""
    x = node.input(0)
    return KernelPlan(
        template="gated/positive_channels.c.j2",
        stem=f"positive_channels_{x.dtype.name}",
        context={"channels": x.size, "zero": x.zero_point},
        cycles=7.0 * x.size,
    )


@kernel(MaskedConv2D, name="masked_conv_2d")
def masked_conv_2d(node: Node) -> KernelPlan | None:
    """Plain loops over the live channels, any encoding."""
    op, x = node.op, node.input(0)
    assert isinstance(op, MaskedConv2D)
    activations = codes.activation_context(x)
    if activations is None:
        return None
    geometry = op.geometry(node)
    weights = codes.smallest_integers(integer_mac.weight_integers(node))
    after = codes.ending(op.epilogue)
    filters, _, _, channels = weights.shape

    def cycles(live_out: float, live_in: float) -> float:
        share = live_out / filters * live_in / channels
        return 12.0 * op.macs(node) * share + (28.0 + after.cycles) * node.output.size * live_out / filters

    lists = [(name, index) for name, index in (("live_in", 2), ("live_out", 3)) if node.optional(index) is not None]
    return KernelPlan(
        template="gated/masked_conv_2d.c.j2",
        stem=window_stem(f"masked_conv_2d_{codes.kind_of(x.integer)}", geometry),
        context={
            **window_context(node, geometry),
            "weight_type": ctype(weights.dtype),
            "activations": activations,
            "input_type": ctype(x.memory_dtype),
            "live_in": ("live_in", 2) in lists,
            "live_out": ("live_out", 3) in lists,
            "zero": zero_code(node.output),
            "after": after.context,
            **codes.output_context(node.output),
        },
        operands=(("input", 0), *lists),
        constants=(Constant("weights", weights.reshape(-1), f"integers {list(weights.shape)}"), *after.constants),
        headers=codes.HEADERS,
        cycles=cycles(filters, channels),
        live_cycles=cycles,
    )
