"""Depthwise windows of 3x3 on a Cortex-M0+: down a column, codes as words, weights in registers (tinygen_columns.h)."""

from __future__ import annotations

from dataclasses import replace

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.lowering.kernels.depthwise.depthwise_conv_2d_scalar import (
    LONG_PRODUCTS,
    Job,
    job_of,
    plan_of,
)
from tinygen.lowering.kernels.depthwise.guessed import guesses
from tinygen.lowering.kernels.depthwise.low_words import low_words_epilogue
from tinygen.lowering.kernels.support.loops.unpacked import ON_ARMV6M_UNPACKED, all_unpacked
from tinygen.lowering.plan import KernelPlan, kernel

_HEADER = "tinygen_columns.h"
_ROW = 16
"""Bytes of scratch a row: three codes and a sum."""
_COLUMN, _OUTPUT, _COPIED = 185.0, 60.0, 8.0
"""Cycles of a column, of an output, of a code that is copied."""


def by_columns(job: Job | None) -> KernelPlan | None:
    """The plan of such windows in a Cortex-M0+'s cycles; None for others."""
    if job is None or any((axis.kernel, axis.stride, axis.dilation) != (3, 1, 1) for axis in job.geometry):
        return None
    staircase, bias = job.staircase()
    short = low_words_epilogue(staircase, bias, unsigned_bits=job.ending.context.get("unsigned_bits", 0))
    found = None if staircase is None or short else guesses(staircase, bias)
    job = replace(job, ending=short or job.ending, headers=(_HEADER, *job.headers))
    plan = plan_of(job)
    return plan and replace(
        plan,
        context={**plan.context, "guess": found.context if found else None},
        constants=(*plan.constants, *((found.constant,) if found else ())),
        template="depthwise/depthwise_conv_2d_columns.c.j2",
        stem=f"{plan.stem}_columns",
        scratch_bytes=_ROW * (plan.context["out_h"] + 2),
        cycles=job.node.output.shape[0] * len(job.weights) * _cycles(job, guessed=found is not None),
        armv6m_cycles=None,
    )


def _cycles(job: Job, *, guessed: bool) -> float:
    """Of one channel."""
    rows, columns = job.geometry
    long = 0.0 if guessed else LONG_PRODUCTS.get(job.ending.context["form"], 0.0)
    copied = _COPIED * rows.input * columns.input
    return _COLUMN * (columns.output + 1) + copied + rows.output * columns.output * (_OUTPUT + long)


@kernel(DepthwiseConv2D, Conv2D, name="depthwise_conv_2d_columns", family="tinygen", isa="armv6m")
def depthwise_conv_2d_columns(node: Node) -> KernelPlan | None:
    """Three columns of a channel in scratch; weights and activations of up to 16 bits."""
    return by_columns(job_of(node))


@kernel(DepthwiseConv2D, Conv2D, name="depthwise_conv_2d_columns_unpacked", family="tinygen", isa="armv6m")
def depthwise_conv_2d_columns_unpacked(node: Node) -> KernelPlan | None:
    """The same with weights of less than 8 bits, or as indices of values of 16 bits."""
    plan = by_columns(job_of(node))
    return all_unpacked(plan, ON_ARMV6M_UNPACKED) if plan else None
