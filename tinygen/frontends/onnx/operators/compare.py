"""Comparisons, which compute conditions of If, and reductions to maximum and minimum."""

from __future__ import annotations

import math

import numpy as np

from tinygen.frontends.aten.layout import Layout
from tinygen.frontends.onnx.axes import axes_of
from tinygen.frontends.onnx.node import Operator
from tinygen.frontends.onnx.registry import converts
from tinygen.frontends.onnx.sources.elementwise import as_int8
from tinygen.frontends.onnx.values import Coded, Constant, Value, from_order
from tinygen.ir.encodings import Affine, Plain
from tinygen.ir.ops.compare import Compare, Relation
from tinygen.ir.ops.reduce import Reduce, ReduceMax, ReduceMin
from tinygen.ir.tensor import Tensor

_RELATIONS = {
    "Greater": Relation.GREATER,
    "GreaterOrEqual": Relation.GREATER_EQUAL,
    "Less": Relation.LESS,
    "LessOrEqual": Relation.LESS_EQUAL,
}
_TURNED = {
    Relation.GREATER: Relation.LESS,
    Relation.LESS: Relation.GREATER,
    Relation.GREATER_EQUAL: Relation.LESS_EQUAL,
    Relation.LESS_EQUAL: Relation.GREATER_EQUAL,
}
_RISING = (Relation.GREATER, Relation.GREATER_EQUAL)
"""They hold from some code on, the others up to one."""


@converts(*_RELATIONS)
def compare(operator: Operator) -> Value:
    """A comparison. Codes of equal encodings are compared directly, others as TFLite's comparisons do."""
    relation = _RELATIONS[operator.kind]
    for index in (1, 0):
        value = operator.value(index)
        if isinstance(value, Constant):
            turned = relation if index == 1 else _TURNED[relation]
            return _with_number(operator, operator.coded(1 - index), value.array, turned)
    first, second = operator.coded(0), operator.coded(1)
    # The output has the shape of the first input, so operands are swapped if the second one is larger.
    if math.prod(first.shape) < math.prod(second.shape):
        first, second, relation = second, first, _TURNED[relation]
    single = math.prod(second.shape) == 1 and len(second.shape) <= len(first.shape)
    fits = first.shape == second.shape or single
    operator.require(fits, f"it compares {list(first.shape)} with {list(second.shape)}", "Compare with one value.")
    other = second.tensor if single else operator.builder.in_layout(second, first.layout, first.tensor.shape)
    tensors = [_int8(operator, tensor) for tensor in (first.tensor, other)]
    return _compared(operator, first.layout, tensors, relation)


def _with_number(operator: Operator, value: Coded, array: np.ndarray, relation: Relation) -> Coded:
    """Replaces the number by the least or largest code for which the relation holds in ONNX's floats."""
    operator.require(array.size == 1, f"it compares with a constant of {array.size} elements", "Compare with a number.")
    x = _int8(operator, value.tensor)
    low, high = x.integer.code_range
    codes = np.arange(low, high + 1)
    real = x.integer.integers(codes).astype(np.float32) * np.float32(x.integer.scale[0])
    number = np.float32(array.reshape(()))
    holds = {
        Relation.GREATER: real > number,
        Relation.GREATER_EQUAL: real >= number,
        Relation.LESS: real < number,
        Relation.LESS_EQUAL: real <= number,
    }[relation]
    rising = relation in _RISING
    if holds.any():
        code = codes[holds][0 if rising else -1]
        relation = Relation.GREATER_EQUAL if rising else Relation.LESS_EQUAL
    else:
        code = high if rising else low
        relation = Relation.GREATER if rising else Relation.LESS
    threshold = operator.builder.constant_tensor(f"{operator.name}_threshold", np.full(1, code), x.encoding)
    return _compared(operator, value.layout, [x, threshold], relation)


def _compared(operator: Operator, layout: Layout, tensors: list[Tensor], relation: Relation) -> Coded:
    scaled = tensors[0].encoding != tensors[1].encoding
    made = operator.builder.emit(Compare, tensors, Plain("bool"), relation=relation, scaled=scaled)
    return Coded(made, layout, raw=True)


def _int8(operator: Operator, tensor: Tensor) -> Tensor:
    operator.require(not tensor.integer.per_channel, f"it compares {tensor.encoding}", "Quantize with one scale.")
    return tensor if isinstance(tensor.encoding, Affine) else as_int8(operator.builder, tensor, operator.kind)


@converts("ReduceMax", "ReduceMin")
def reduce_extreme(operator: Operator) -> Value:
    """ReduceMax or ReduceMin, computed on codes: a larger code represents a larger value."""
    value = operator.coded(0)
    axes = axes_of(operator, len(value.shape))
    if axes is None:
        return value
    kind: type[Reduce] = ReduceMax if operator.kind == "ReduceMax" else ReduceMin
    tensor, order = operator.builder.as_plain(value)
    x = as_int8(operator.builder, tensor, operator.kind)
    places = tuple(place for place, axis in enumerate(order) if axis in axes)
    made = operator.builder.emit(kind, [x], x.encoding, axes=places, keep_dims=True)
    kept = from_order(made, order)
    if operator.attribute("keepdims", 1):
        return kept
    return kept.viewed(tuple(size for axis, size in enumerate(kept.shape) if axis not in axes))
