"""Operators that change shapes, orders of dimensions, or nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from enum import IntEnum

from tinygen.frontends.aten.layout import Layout
from tinygen.frontends.onnx.node import Operator
from tinygen.frontends.onnx.registry import converts
from tinygen.frontends.onnx.values import Coded, Constant, ConstantCodes, GraphInput, Value
from tinygen.ir.encodings import Encoding, Float32, Plain
from tinygen.ir.ops.cast import Cast
from tinygen.ir.tensor import Shape


class TensorType(IntEnum):
    """Of onnx.TensorProto."""

    FLOAT = 1
    INT32 = 6
    INT64 = 7
    BOOL = 9
    FLOAT16 = 10
    DOUBLE = 11
    BFLOAT16 = 16


@converts("Identity", "Dropout", moves=True)
def same(operator: Operator) -> Value:
    training = operator.kind == "Dropout" and operator.has(2) and bool(operator.array(2, "training mode").any())
    operator.require(not training, "it is in training mode", "Export with model.eval().")
    return operator.value(0)


@converts("Transpose", moves=True)
def transpose(operator: Operator) -> Value:
    value = operator.value(0)
    rank = len(value.shape)
    order = tuple(operator.axis(v, rank) for v in operator.integers_of("perm", range(rank)[::-1]))
    operator.damaged(sorted(order) != list(range(rank)), f"{list(order)} does not permute {rank} dimensions")
    if isinstance(value, Constant):
        codes: ConstantCodes | None = value.codes.transposed(order) if value.codes else None
        return Constant(value.array.transpose(order), codes)
    return replace(value, layout=value.layout.permuted(order))


def _reshaped_codes(operator: Operator, codes: ConstantCodes, shape: Shape) -> ConstantCodes:
    """Constant codes in another shape; their axis of scales must still be one."""
    axis, before = codes.encoding.axis, codes.codes.shape
    if axis is not None:
        kept = math.prod(before[:axis])
        places = [
            place for place, size in enumerate(shape) if size == before[axis] and math.prod(shape[:place]) == kept
        ]
        operator.require(bool(places), f"it reshapes weights that have scales along axis {axis}", "Quantize behind it.")
        axis = places[0]
    return ConstantCodes(codes.codes.reshape(shape), replace(codes.encoding, axis=axis))


def _reshaped(operator: Operator, shape: Shape) -> Value:
    value = operator.value(0)
    operator.damaged(
        math.prod(shape) != math.prod(value.shape), f"{list(value.shape)} cannot be reshaped to {list(shape)}"
    )
    if isinstance(value, Constant):
        return Constant(value.array.reshape(shape), value.codes and _reshaped_codes(operator, value.codes, shape))
    layout = value.layout.viewed(shape)
    if layout is not None:
        return replace(value, layout=layout)
    operator.require(isinstance(value, Coded), f"{list(value.shape)}, transposed, is reshaped to {list(shape)}")
    assert isinstance(value, Coded)
    return replace(value, tensor=operator.builder.in_order(value), layout=Layout.dense(shape))


@converts("Reshape", moves=True)
def reshape(operator: Operator) -> Value:
    wanted = [int(v) for v in operator.array(1, "shape").reshape(-1)]
    known = operator.value(0).shape
    operator.damaged(wanted.count(-1) > 1 or min(wanted, default=0) < -1, f"shape {wanted}")
    if not operator.attribute("allowzero", 0):
        operator.damaged(any(v == 0 and i >= len(known) for i, v in enumerate(wanted)), f"shape {wanted}")
        wanted = [known[i] if v == 0 else v for i, v in enumerate(wanted)]
    rest = math.prod(v for v in wanted if v != -1)
    operator.damaged(-1 in wanted and (rest == 0 or math.prod(known) % rest != 0), f"shape {wanted} of {list(known)}")
    return _reshaped(operator, tuple(math.prod(known) // rest if v == -1 else v for v in wanted))


@converts("Flatten", moves=True)
def flatten(operator: Operator) -> Value:
    shape = operator.value(0).shape
    axis = int(operator.attribute("axis", 1))
    axis = axis + len(shape) if axis < 0 else axis
    operator.damaged(not 0 <= axis <= len(shape), f"axis {axis} of {len(shape)} dimensions")
    return _reshaped(operator, (math.prod(shape[:axis]), math.prod(shape[axis:])))


def _axes(operator: Operator, rank: int) -> list[int]:
    given = operator.array(1, "axes").reshape(-1).tolist() if operator.has(1) else operator.integers_of("axes", ())
    return [operator.axis(int(axis), rank) for axis in given]


@converts("Squeeze", moves=True)
def squeeze(operator: Operator) -> Value:
    shape = operator.value(0).shape
    axes = _axes(operator, len(shape)) or [i for i, size in enumerate(shape) if size == 1]
    operator.damaged(any(shape[axis] != 1 for axis in axes), f"axes {axes} of {list(shape)} are not all 1")
    return _reshaped(operator, tuple(size for i, size in enumerate(shape) if i not in axes))


@converts("Unsqueeze", moves=True)
def unsqueeze(operator: Operator) -> Value:
    shape = list(operator.value(0).shape)
    count = operator.array(1, "axes").size if operator.has(1) else len(operator.integers_of("axes", ()))
    for axis in sorted(_axes(operator, len(shape) + count)):
        shape.insert(axis, 1)
    return _reshaped(operator, tuple(shape))


_FLOATS = (TensorType.FLOAT, TensorType.FLOAT16, TensorType.DOUBLE, TensorType.BFLOAT16)
_WHOLE = (TensorType.INT32, TensorType.INT64)


@converts("Cast", moves=True)
def cast(operator: Operator) -> Value:
    """Floats of any width are the same; integers of 64 bits have 32."""
    value, wanted = operator.value(0), int(operator.attribute("to"))
    raw = isinstance(value, Coded) and value.raw
    codes = isinstance(value, Coded) and value.raw and not isinstance(value.tensor.encoding, Plain)
    operator.require(not codes, "it casts codes", "Use DequantizeLinear.")
    if wanted in _FLOATS and not raw and not (isinstance(value, GraphInput) and value.dtype.kind != "f"):
        return value
    if not isinstance(value, Coded) or not (value.raw or value.tensor.is_float):
        raise operator.unquantized(0)
    encoding: Encoding = Float32()
    if wanted not in _FLOATS:
        known = (*_WHOLE, TensorType.BOOL)
        operator.require(wanted in known, f"it casts to type {wanted}", "Cast to float, int32, int64 or bool.")
        encoding = Plain("bool" if wanted == TensorType.BOOL else "int32")
    if encoding == value.tensor.encoding:
        return value
    made = operator.builder.emit(Cast, [value.tensor], encoding)
    return Coded(made, value.layout, raw=isinstance(encoding, Plain))
