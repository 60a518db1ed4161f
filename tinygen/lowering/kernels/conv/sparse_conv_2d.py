"""Convolutions with mostly zero kernels, for any core: plain loops over the live kernels, or live weights.

The window of each pixel is copied into scratch channel by channel, so that a kernel's taps are contiguous. Without SIMD
a product costs the same in any order, so lists of single weights pay off at low sparsity.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.conv.jobs import plain_job
from tinygen.lowering.kernels.conv.sparse_conv_2d_dsp import code_kind, narrow
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.kernels.support.loops.dot_job import Job
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_HEADERS = ("tinygen_dot.h", "tinygen_math.h", "tinygen_planes.h", "tinygen_simd.h")
_MOST_TAPS = 25
"""Of a kernel whose products are written out."""

# Cycles of a Cortex-M0+: a product, the overhead of a unit, an output, a code of a window.
_PRODUCT, _UNIT, _OUTPUT, _COPY = 9.7, 4.4, 68.0, 11.9


@kernel(Conv2D, name="conv_2d_sparse_c99", family="tinygen", unless="dsp", is_sparse=True)
def conv_2d_sparse_c99(node: Node) -> Sequence[KernelPlan]:
    """Lists of live kernels, or of live weights."""
    return _plans(plain_job(node))


def _plans(job: Job | None) -> Sequence[KernelPlan]:
    if job is None:
        return ()
    taps = prod(job.weights.shape[1:3])
    units = [1] if taps == 1 else [1, taps] if taps <= _MOST_TAPS else [1]
    plans = [_plan(job, unit) for unit in units]
    return [min(plans, key=lambda plan: plan.cycles)]


def _plan(job: Job, unit: int) -> KernelPlan:
    """The plan with lists of `unit` weights."""
    node = job.node
    rows, columns = geometry = job.op.geometry(node)
    filters, depth = len(job.weights), job.weights.shape[3]
    taps = rows.kernel * columns.kernel
    cut = job.weights.transpose(0, 3, 1, 2).reshape(filters, -1, unit)
    live = np.asarray((cut != 0).any(axis=2))
    gaps = np.concatenate([np.diff(np.flatnonzero(row), prepend=0) for row in live])
    counts = np.count_nonzero(live, axis=1)
    units, pixels = int(counts.sum()), prod(node.output.shape[:3])
    # Arrays in C need at least one element.
    constants = (
        Constant("counts", narrow(counts), "live units per filter"),
        Constant("gaps", narrow(gaps if len(gaps) else np.zeros(1, int)), "units from one that is live to the next"),
        Constant("weights", cut[live].reshape(-1) if units else np.zeros(1, np.int8), "of live units"),
        job.ending.constant(),
    )
    return KernelPlan(
        template="conv/sparse_conv_2d.c.j2",
        stem=window_stem(job.stem.replace("_dsp", "_sparse"), geometry),
        context={
            **window_context(node, geometry),
            **job.ending.context,
            **{key: value for key, value in job.context.items() if key not in ("fill", "extend", "extend_extra")},
            "taps": taps,
            "step": unit,
            "weights_per_unit": unit,
            "gap_type": ctype(constants[1].data.dtype),
            "kind": code_kind(job),
            "fill": job.context["fill"] if rows.padded or columns.padded else 0,
            "of": "kernels that are not all zero" if unit > 1 else "weights other than zero",
        },
        constants=constants,
        scratch_bytes=2 * taps * depth,
        headers=tuple(sorted({*job.headers, *_HEADERS})),
        cycles=pixels * (units * (unit * _PRODUCT + _UNIT) + filters * _OUTPUT + taps * depth * _COPY),
    )
