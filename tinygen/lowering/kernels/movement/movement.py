"""Kernels that move elements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen.ir.encodings import WORD_BITS, Binary
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.concatenation import Concatenation, Pack
from tinygen.ir.ops.movement import (
    BroadcastTo,
    Movement,
    Split,
    StridedSlice,
    Transpose,
    Unpack,
    View,
    dense_strides,
)
from tinygen.ir.ops.pad import MirrorPad, Pad
from tinygen.ir.tensor import Tensor
from tinygen.lowering.ctypes import ctype, float_literal
from tinygen.lowering.kernels.support.activations.codes import pixel_elements
from tinygen.lowering.kernels.support.loops.nest import make_nest
from tinygen.lowering.plan import Constant, KernelPlan, kernel


def _walk(view: View, name: str) -> dict[str, Any]:
    """Loops of one output; `run` elements are contiguous, so the innermost loop is a memcpy."""
    nest = make_nest(view.shape, [view.strides], (view.base,))
    contiguous = nest.strides[0][-1] == 1 and nest.extents[-1] > 1
    shown = make_nest(nest.extents[:-1], [nest.strides[0][:-1]], nest.bases) if contiguous else nest
    if contiguous:
        return {
            "name": name,
            "extents": [*shown.extents, nest.extents[-1]],
            "run": nest.extents[-1],
            "index": shown.context()["indices"][0],
        }
    return {"name": name, "extents": list(nest.extents), "run": 1, "index": nest.context()["indices"][0]}


def _gather(node: Node) -> KernelPlan:
    op = node.op
    assert isinstance(op, Movement)
    views = op.views(node)
    names = ["output"] if len(views) == 1 else [f"output{i}" for i in range(len(views))]
    return KernelPlan(
        template="movement/gather.c.j2",
        stem=f"{op.KIND}_{node.output.dtype.name}",
        context={
            "title": op.KIND,
            "outputs": [_walk(view, name) for view, name in zip(views, names, strict=True)],
        },
        results=tuple((name, i) for i, name in enumerate(names)),
        cycles=3.0 * sum(output.size for output in node.outputs),
    )


for _op in (StridedSlice, Transpose, BroadcastTo, Split, Unpack):
    kernel(_op, name=_op.KIND, moves=True)(_gather)


def _concatenation(node: Node) -> KernelPlan:
    op = node.op
    assert isinstance(op, Concatenation)
    parts = [node.input(i) for i in range(len(node.inputs))]
    # In elements of the C array: of bits, words.
    shapes = [(*part.shape[:-1], pixel_elements(part)) if part.shape else () for part in parts]
    return KernelPlan(
        template="movement/concatenation.c.j2",
        stem=f"{op.KIND}_{node.output.dtype.name}",
        context={
            "outer": math.prod(shapes[0][: op.axis]),
            "runs": [math.prod(shape[op.axis :]) for shape in shapes],
        },
        operands=tuple((f"input{i}", i) for i in range(len(shapes))),
        cycles=2.0 * node.output.size,
    )


kernel(Concatenation, name="concatenation", moves=True)(_concatenation)
kernel(Pack, name="pack", moves=True)(_concatenation)


def _literal(value: int | float, dtype: np.dtype) -> str:
    if dtype.kind == "f":
        return float_literal(float(value))
    # In C a minus sign is an operator, and 2^63 does not fit 64 bits.
    return "INT64_MIN" if value == -(2**63) else str(int(value))


def _word_of_ones(bits: Tensor) -> str:
    """All channels of a word, at `filled`: the last word of a pixel may have fewer."""
    words, rest = pixel_elements(bits), bits.shape[-1] % WORD_BITS
    if not rest:
        return "UINT32_MAX"
    last = f"0x{2**rest - 1:X}U"
    return last if words == 1 else f"(filled - output) % {words} == {words - 1} ? {last} : UINT32_MAX"


@kernel(Pad, name="pad", moves=True)
def pad(node: Node) -> KernelPlan | None:
    """Rows are copied, and what is between them is filled."""
    op, x, output = node.op, node.input(0), node.output
    assert isinstance(op, Pad)
    # Words of bits are moved whole; those behind the last channel stay 0.
    shape, padded = ((*one.shape[:-1], pixel_elements(one)) if one.shape else () for one in (x, output))
    if x.packed_bits and (op.paddings[-1] != (0, 0) or not isinstance(x.encoding, Binary)):
        return None
    strides = [dense_strides(shape), dense_strides(padded)]
    base = sum(before * stride for (before, _), stride in zip(op.paddings, strides[1], strict=True))
    nest = make_nest(shape, strides, (0, base))
    run = nest.extents[-1] if all(s[-1] == 1 for s in nest.strides) and nest.extents[-1] > 1 else 1
    outer = nest if run == 1 else make_nest(nest.extents[:-1], [s[:-1] for s in nest.strides], nest.bases)
    indices = outer.context()["indices"]
    return KernelPlan(
        template="movement/pad.c.j2",
        stem=f"pad_{output.memory_dtype.name}",
        context={
            "size": math.prod(padded),
            "bytes": output.memory_dtype.itemsize == 1,
            "type": ctype(output.memory_dtype),
            "value": _word_of_ones(x) if x.packed_bits and op.value else _literal(op.value, output.dtype),
            "extents": [*outer.extents, run] if run > 1 else list(outer.extents),
            "run": run,
            "from": indices[0],
            "to": indices[1],
        },
        cycles=3.0 * output.size,
    )


@kernel(MirrorPad, name="mirror_pad", moves=True)
def mirror_pad(node: Node) -> KernelPlan | None:
    """A table of input offsets per dimension."""
    op, x, output = node.op, node.input(0), node.output
    assert isinstance(op, MirrorPad)
    rows = [
        op.extended(np.arange(size), [pair]) * stride
        for size, pair, stride in zip(x.shape, op.paddings, dense_strides(x.shape), strict=True)
    ]
    starts = np.cumsum([0] + [len(row) for row in rows[:-1]]).tolist()
    return KernelPlan(
        template="movement/mirror_pad.c.j2",
        stem=f"mirror_pad_{output.dtype.name}",
        context={"shape": list(output.shape), "starts": starts},
        constants=(Constant("indices", np.concatenate(rows).astype(np.int32), "input offsets per dimension"),),
        cycles=8.0 * output.size,
    )
