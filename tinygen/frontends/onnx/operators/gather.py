"""Elements by their positions, of codes and of floats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.frontends.aten.layout import Layout
from tinygen.frontends.onnx.floats.calls import call
from tinygen.frontends.onnx.node import Operator
from tinygen.frontends.onnx.operators.movement import tensor_of
from tinygen.frontends.onnx.registry import converts
from tinygen.frontends.onnx.values import Coded, Constant, Value
from tinygen.ir.encodings import Plain
from tinygen.ir.ops.gather import Gather


@converts("Gather", moves=True)
def gather(operator: Operator) -> Value:
    """Elements of a dimension; one position drops the dimension."""
    data, positions = operator.value(0), operator.value(1)
    axis, shape = operator.axis(int(operator.attribute("axis", 0)), len(data.shape)), data.shape
    wanted = (*shape[:axis], *positions.shape, *shape[axis + 1 :])
    if not isinstance(positions, Constant):
        if isinstance(data, Constant) and data.codes is None:
            operator.require(axis == 0, f"a table that is looked up along axis {axis}", "Look up its rows.")
            return call(operator, "embedding", shapes=[wanted], weight=data.array, indices=operator.number(1))
        return _taken(operator, _data(operator), axis=axis)
    value, array = tensor_of(operator), positions.array
    inside = np.all((array >= -shape[axis]) & (array < shape[axis]))
    operator.damaged(not inside, f"positions {array.reshape(-1).tolist()} of {shape[axis]} elements")
    operator.require(array.size > 0, "an empty result", "Remove it, and what reads it.")
    found = call(operator, "index_select", self=value, dim=axis, index=array.reshape(-1))
    made = operator.builder.viewed(found.placed, wanted)
    return replace(value, tensor=operator.builder.tensors[made.tensor], layout=made.layout)


@converts("GatherND", moves=True)
def gather_nd(operator: Operator) -> Value:
    """Elements, or slices, by tuples of positions."""
    batch = int(operator.attribute("batch_dims", 0))
    return _taken(operator, _data(operator), axis=batch, batch_dims=batch, tuples=True)


def _data(operator: Operator) -> Coded:
    """What is looked up: computed, or constant codes."""
    value = operator.value(0)
    if isinstance(value, Constant) and value.codes is not None:
        tensor = operator.builder.constant_of(operator.input_names[0], value.codes)
        return Coded(tensor, Layout.dense(tensor.shape))
    return tensor_of(operator)


def _taken(operator: Operator, data: Coded, **how: int) -> Coded:
    positions = operator.value(1)
    if isinstance(positions, Constant):
        indices = operator.builder.constant_tensor(operator.input_names[1], positions.array, Plain("int32"))
    else:
        indices = operator.builder.in_order(operator.number(1))
    table = data.tensor if data.tensor.is_constant else operator.builder.in_order(data)
    made = operator.builder.emit(Gather, [table, indices], table.encoding, **how)
    return replace(data, tensor=made, layout=Layout.dense(made.shape))
