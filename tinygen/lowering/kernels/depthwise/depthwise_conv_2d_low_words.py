"""Depthwise windows of any shape on a Cortex-M0+: the loops of depthwise_conv_2d_scalar.py, and sums that are
requantized in two products of 32 bits (depthwise/low_words.py), as that core has no longer ones.
"""

from __future__ import annotations

from dataclasses import replace

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.lowering.kernels.depthwise.depthwise_conv_2d_scalar import Job, job_of, plan_of
from tinygen.lowering.kernels.depthwise.low_words import low_words_epilogue
from tinygen.lowering.kernels.support.loops.unpacked import ON_ARMV6M_UNPACKED, all_unpacked
from tinygen.lowering.plan import KernelPlan, kernel


def _plan(job: Job | None) -> KernelPlan | None:
    """In a Cortex-M0+'s cycles; None where there are no such products."""
    if job is None:
        return None
    staircase, bias = job.staircase()
    short = low_words_epilogue(staircase, bias, unsigned_bits=job.ending.context.get("unsigned_bits", 0))
    plan = plan_of(replace(job, ending=short, stem=f"{job.stem}_short")) if short else None
    return plan and plan.on_armv6m


@kernel(DepthwiseConv2D, Conv2D, name="depthwise_conv_2d_low_words", family="tinygen", isa="armv6m")
def depthwise_conv_2d_low_words(node: Node) -> KernelPlan | None:
    """Codes of any encoding, small sums of products."""
    return _plan(job_of(node))


@kernel(DepthwiseConv2D, Conv2D, name="depthwise_conv_2d_low_words_unpacked", family="tinygen", isa="armv6m")
def depthwise_conv_2d_low_words_unpacked(node: Node) -> KernelPlan | None:
    """The same with weights of less than 8 bits, or as indices of values of 16 bits."""
    plan = _plan(job_of(node))
    return all_unpacked(plan, ON_ARMV6M_UNPACKED) if plan else None
