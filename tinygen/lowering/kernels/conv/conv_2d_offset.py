"""Convolutions and dense layers of a Cortex-M0+ whose weights are stored plus 128: two filters in a halfword.

A Cortex-M0+ loads signed bytes only with a register offset, so each weight costs an instruction to extend its sign.
Stored with +128, bytes are unsigned, so a halfword load fetches two (templates/model/tinygen_offset.h). The 128 add 128
times the sum of a window's codes to each accumulator, the same for all filters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.lowering.kernels.conv.conv_2d_scalar import Job, job_of, plans_of
from tinygen.lowering.kernels.support.loops.unpacked import unpacking
from tinygen.lowering.plan import KernelPlan, kernel

_HEADER = "tinygen_offset.h"


def offset_plans(job: Job | None) -> Sequence[KernelPlan]:
    """Plans in the cycles of an Armv6-M core; none for codes or weights of more than 8 bits, nor for packed weights."""
    if job is None or job.grid.step > 1 or job.weights.dtype != np.int8 or job.copy.dtype != np.int8:
        return ()
    if unpacking(job.weights, job.groups) is not None:
        return ()
    found = plans_of(replace(job, offset_weights=True, stem=f"{job.stem}_offset", headers=(_HEADER, *job.headers)))
    return [plan.on_armv6m for plan in found]


@kernel(Conv2D, name="conv_2d_offset", family="tinygen", isa="armv6m", packs=True)
def conv_2d_offset(node: Node) -> Sequence[KernelPlan]:
    """Any shape; codes and weights that fit bytes."""
    return offset_plans(job_of(node, "conv_2d"))


@kernel(FullyConnected, name="fully_connected_offset", family="tinygen", isa="armv6m")
def fully_connected_offset(node: Node) -> Sequence[KernelPlan]:
    """Four outputs at a time; codes and weights that fit bytes."""
    return offset_plans(job_of(node, "fully_connected"))
