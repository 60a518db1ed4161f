"""Sums of integer codes computed on each block of a convolution's outputs, which are never stored whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.binary import Add
from tinygen.ir.ops.conv_2d_add import Conv2DAdd
from tinygen.ir.ops.integer_add import IntegerAdd
from tinygen.lowering.kernels.support.activations.codes import pixel_elements
from tinygen.lowering.plan import ON_ARMV6M, Follower, KernelPlan, kernels_of

_CALL = 30.0
"""Cycles of a call for one block."""
_PREFIX = "sum_"
"""Of the names of the sum's constants, among those of the convolution."""

Plans = Callable[[Node], Sequence[KernelPlan]]


def sums_by_blocks(plans: Plans, *, adds: bool = False) -> Plans:
    """Makes a kernel of convolutions one of Conv2DAdd with a sum of integer codes, too. Its plans' contexts have the
    pixels of a block of outputs as `block`; its template writes a block `between` (kernels/support/block_sums.j2).

    Args:
        plans: of convolutions.
        adds: they are of Conv2DAdd with TFLite's ADD by themselves.
    """

    @wraps(plans)
    def also_sums(node: Node) -> Sequence[KernelPlan]:
        op = node.op
        if not isinstance(op, Conv2DAdd):
            return plans(node)
        if isinstance(op.sum, Add):
            return plans(node) if adds else ()
        addition = op.addition(node)
        sums = [plan for kernel in kernels_of(IntegerAdd) for plan in kernel.variants(addition)]
        if not sums:
            return ()
        added = min(sums, key=lambda plan: plan.cycles)
        return [_followed(plan, node, Follower(addition, added)) for plan in plans(op.convolution(node))]

    return also_sums


def _followed(plan: KernelPlan, node: Node, sums: Follower) -> KernelPlan:
    """A convolution's plan that calls the sum."""
    addition, added = sums.node, sums.plan
    between, pixels = addition.input(0), node.output.shape[1] * node.output.shape[2]
    block = plan.context["block"]
    at = -(-plan.scratch_bytes // 8) * 8
    constants = tuple(replace(constant, name=_PREFIX + constant.name) for constant in added.constants)
    cycles = added.cycles + -(-pixels // block) * _CALL
    return replace(
        plan,
        stem=f"{plan.stem}_sum",
        context={
            **plan.context,
            "block_sum": {
                "at": at,
                "residual": pixel_elements(addition.input(1)),
                "output": pixel_elements(node.output),
                "constants": [constant.name for constant in constants],
            },
        },
        operands=(*plan.operands, ("residual", 3)),
        constants=(*plan.constants, *constants),
        scratch_bytes=at + block * between.shape[3] * between.dtype.itemsize,
        # The sum's second operand is this operator's fourth.
        inplace=tuple((3, target) for source, target in added.inplace if source == 1),
        headers=tuple(dict.fromkeys((*plan.headers, *added.headers))),
        cycles=plan.cycles + cycles,
        armv6m_cycles=None if plan.armv6m_cycles is None else plan.armv6m_cycles + ON_ARMV6M * cycles,
        follower=Follower(addition, replace(added, context={**added.context, "pixels": "count"})),
    )
