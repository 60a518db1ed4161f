"""Kernels of GATHER, GATHER_ND, SCATTER_ND and DYNAMIC_UPDATE_SLICE: rows copied to or from where data says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.gather import Gather, ScatterNd
from tinygen.ir.ops.movement import dense_strides
from tinygen.ir.ops.update_slice import UpdateSlice
from tinygen.ir.tensor import Shape, Tensor
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.loops.nest import make_nest
from tinygen.lowering.plan import KernelPlan, kernel


def _indices(tensor: Tensor, sizes: Shape, run: int) -> dict[str, Any]:
    """How tuples of indices become a position in a dense array of rows: (last index, elements to step) of each."""
    steps = [stride * run for stride in dense_strides(sizes)]
    return {
        "ends": [[size - 1, step] for size, step in zip(sizes, steps, strict=True)],
        "index_type": "int64_t" if tensor.dtype == np.int64 else "int32_t",
        "run": run,
    }


@kernel(Gather, name="gather", moves=True)
def gather(node: Node) -> KernelPlan | None:
    """A memcpy per index. Constant indices are known to lie inside, others are held there."""
    op, x, indices = node.op, node.input(0), node.input(1)
    assert isinstance(op, Gather)
    rows = op.rows(node)
    limits = np.array(rows.sizes, np.int64)
    known = None if indices.data is None else indices.data.reshape(-1, len(limits))
    return KernelPlan(
        template="movement/gather_rows.c.j2",
        stem=f"gather_{x.dtype.name}",
        context={
            **_indices(indices, rows.sizes, rows.run),
            "batches": rows.batches,
            "blocks": rows.blocks,
            "count": rows.count,
            "block": math.prod(rows.sizes) * rows.run,
            "inside": known is not None and bool(((known >= 0) & (known < limits)).all()),
        },
        operands=(("input", 0), ("indices", 1)),
        cycles=(20.0 + 2.0 * rows.run) * rows.batches * rows.blocks * rows.count,
    )


@kernel(ScatterNd, name="scatter_nd", moves=True)
def scatter_nd(node: Node) -> KernelPlan | None:
    """Zeros, then a sum per element of each update."""
    op, indices, updates = node.op, node.input(0), node.input(1)
    assert isinstance(op, ScatterNd)
    dimensions = op.indexed(node)
    run = math.prod(op.shape[dimensions:])
    kind = ctype(updates.dtype)
    wide = updates.dtype in (np.int32, np.int64)
    return KernelPlan(
        template="movement/scatter_rows.c.j2",
        stem=f"scatter_nd_{updates.dtype.name}",
        context={
            **_indices(indices, op.shape[:dimensions], run),
            "size": node.output.size,
            "count": updates.size // run,
            "type": kind,
            # Signed sums that overflow have no meaning in C, unsigned ones wrap.
            "sum_type": f"u{kind}" if wide else "" if updates.is_float else "int32_t",
            "symbol": "|" if updates.dtype == np.bool_ else "+",
        },
        operands=(("indices", 0), ("updates", 1)),
        cycles=2.0 * node.output.size + 8.0 * updates.size,
    )


@kernel(UpdateSlice, name="update_slice", moves=True)
def update_slice(node: Node) -> KernelPlan | None:
    """A copy, unless the output lies where the input does, then rows of the block."""
    x, block, start = node.input(0), node.input(1), node.input(2)
    strides = dense_strides(x.shape)
    nest = make_nest(block.shape, [strides], (0,))
    run = nest.extents[-1] if nest.strides[0][-1] == 1 else 1
    outer = nest if run == 1 else make_nest(nest.extents[:-1], [nest.strides[0][:-1]], (0,))
    room = [(i, large - small, strides[i]) for i, (large, small) in enumerate(zip(x.shape, block.shape, strict=True))]
    return KernelPlan(
        template="movement/update_slice.c.j2",
        stem=f"update_slice_{x.dtype.name}",
        context={
            "index_type": "int64_t" if start.dtype == np.int64 else "int32_t",
            "room": [list(one) for one in room if one[1]],
            "size": x.size,
            "type": ctype(x.dtype),
            "extents": [*outer.extents, run] if run > 1 else list(outer.extents),
            "run": run,
            "index": outer.context()["indices"][0],
        },
        operands=(("input", 0), ("block", 1), ("start", 2)),
        inplace=((0, 0),),
        cycles=2.0 * x.size + 3.0 * block.size,
    )
