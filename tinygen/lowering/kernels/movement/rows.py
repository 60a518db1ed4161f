"""Rows: windows and concatenated tensors cost nothing, copies are a memcpy."""

from __future__ import annotations

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.rows import CopyRows, JoinRows, RowWindow
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(RowWindow, name="row_window", moves=True)
def row_window(node: Node) -> KernelPlan | None:
    op = node.op
    assert isinstance(op, RowWindow)
    row_bytes = node.input(0).nbytes // node.input(0).shape[1]
    return KernelPlan(template="", inplace=((0, 0),), view_offset=op.first * row_bytes)


@kernel(JoinRows, name="join_rows", moves=True)
def join_rows(node: Node) -> KernelPlan | None:
    offsets = [0]
    for index in range(len(node.inputs) - 1):
        offsets.append(offsets[-1] + node.input(index).nbytes)
    pairs = tuple((index, 0) for index in range(len(offsets)))
    return KernelPlan(template="", inplace=pairs, part_offsets=tuple(offsets))


@kernel(CopyRows, name="copy_rows", moves=True)
def copy_rows(node: Node) -> KernelPlan | None:
    # Of the C array: bits lie packed in words.
    element = node.output.memory_dtype
    return KernelPlan(
        template="movement/copy_rows.c.j2",
        stem=f"copy_rows_{element.name}",
        context={"size": node.output.nbytes // element.itemsize},
        cycles=0.5 * node.output.nbytes + 20.0,
    )
