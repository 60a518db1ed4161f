"""Sums of experts' weights with the experts side by side."""

from __future__ import annotations

import math

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.mix_weights import MixWeights
from tinygen.lowering.kernels.support.activations import codes
from tinygen.lowering.kernels.support.weights.experts import experts_of
from tinygen.lowering.kernels.support.weights.gathered import HEADER, computed_operands
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(MixWeights, name="mix_weights_dsp", family="tinygen", isa="dsp")
def mix_weights_dsp(node: Node) -> KernelPlan | None:
    """Two multiply-accumulates for four experts."""
    return _plan(node, simd=True)


@kernel(MixWeights, name="mix_weights_scalar", family="tinygen", isa="scalar")
def mix_weights_scalar(node: Node) -> KernelPlan | None:
    """A multiplication for each expert."""
    return _plan(node, simd=False)


def _plan(node: Node, *, simd: bool) -> KernelPlan | None:
    experts = experts_of(node, simd=simd)
    if experts is None:
        return None
    operands = computed_operands(node, alpha=0, live_in=2, live_out=3)
    return KernelPlan(
        template="gated/mix_weights_by_four.c.j2",
        stem=f"mix_weights_of_{experts.context['count']}_{'dsp' if simd else 'scalar'}",
        context={
            **experts.context,
            "out_c": node.output.shape[0],
            "in_c": node.output.shape[3],
            **{name: any(name == own for own, _ in operands) for name in ("live_in", "live_out")},
        },
        operands=operands,
        constants=(experts.constant,),
        headers=(HEADER, *codes.HEADERS, "tinygen_simd.h") if simd else codes.HEADERS,
        cycles=math.prod(node.output.shape) * experts.cycles,
    )
