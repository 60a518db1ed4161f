"""Operators whose places are data: GATHER, GATHER_ND, SCATTER_ND, DYNAMIC_UPDATE_SLICE and ONE_HOT."""

from __future__ import annotations

import numpy as np
import tflite

from tinygen.frontends.tflite.operators.shape import axis_of, data_input, integers
from tinygen.frontends.tflite.registry import Operator, converts
from tinygen.frontends.tflite.steps import MOST_STATIC, building
from tinygen.ir.encodings import Plain
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.cast import Cast
from tinygen.ir.ops.compare import Compare, Relation
from tinygen.ir.ops.gather import Gather, ScatterNd
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.ops.select import Select
from tinygen.ir.ops.update_slice import UpdateSlice
from tinygen.ir.steps import Steps


@converts(tflite.BuiltinOperator.GATHER)
def gather(operator: Operator) -> Op:
    options, x = operator.options(tflite.GatherOptions), data_input(operator)
    axis = axis_of(operator, options.Axis(), len(x.shape))
    batch = options.BatchDims()
    rank = len(data_input(operator, 1).shape)
    op = Gather(**operator.common(), axis=axis, batch_dims=batch + rank if batch < 0 else batch)
    _require_inside(operator, 1, (x.shape[axis],))
    return op


@converts(tflite.BuiltinOperator.GATHER_ND)
def gather_nd(operator: Operator) -> Op:
    x, indices = data_input(operator), data_input(operator, 1)
    _require_inside(operator, 1, x.shape[: indices.shape[-1]])
    return Gather(**operator.common(), axis=0, tuples=True)


@converts(tflite.BuiltinOperator.SCATTER_ND)
def scatter_nd(operator: Operator) -> Op:
    shape = tuple(integers(operator, 2, "shape"))
    _require_inside(operator, 0, shape[: data_input(operator).shape[-1]])
    return ScatterNd(**operator.common(keep_inputs=2), shape=shape)


def _require_inside(operator: Operator, index: int, sizes: tuple[int, ...]) -> None:
    """LiteRT ends an inference with an error where an index is outside: with constants, every inference."""
    tensor = data_input(operator, index)
    if tensor.data is None:
        return
    known = tensor.data.reshape(-1, len(sizes)).astype(np.int64)
    inside = ((known >= 0) & (known < np.array(sizes, np.int64))).all()
    operator.require(bool(inside), f"indices '{tensor.name}' reach outside of {list(sizes)}")


@converts(tflite.BuiltinOperator.DYNAMIC_UPDATE_SLICE)
def dynamic_update_slice(operator: Operator) -> Op:
    return UpdateSlice(**operator.common())


@converts(tflite.BuiltinOperator.ONE_HOT)
def one_hot(operator: Operator) -> Steps:
    """Where the number of an element is the index: the first value, elsewhere the second."""
    indices, on, off = data_input(operator), data_input(operator, 2), data_input(operator, 3)
    depth, rank = integers(operator, 1, "depth")[0], len(indices.shape)
    operator.require(0 < depth <= MOST_STATIC, f"depth {depth}")
    axis = operator.options(tflite.OneHotOptions).Axis()
    axis = axis_of(operator, rank if axis == -1 else axis, rank + 1)
    steps = building(operator)
    if indices.dtype == np.int64:
        # LiteRT compares the lower 32 bits.
        indices = steps.step(Cast, indices, encoding=Plain("int32"))
    shape = (*indices.shape[:axis], 1, *indices.shape[axis:])
    wide = steps.step(Reshape, indices, encoding=Plain("int32"), shape=shape)
    own = steps.constant("numbers", np.arange(depth, dtype=np.int32).reshape((depth,) + (1,) * (rank - axis)))
    hit = steps.step(Compare, wide, own, encoding=Plain("bool"), relation=Relation.EQUAL)
    return steps.last(Select, hit, on, off)
