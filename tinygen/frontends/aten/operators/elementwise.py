"""Arithmetic of two tensors, element by element, and powers that are products."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen.frontends.aten.builder import Constant, Value
from tinygen.frontends.aten.registry import Call, converts
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.binary import Add, Maximum, Minimum, Mul, Sub

READERS = frozenset(
    f"aten.{name}" for name in ("add", "sub", "rsub", "mul", "div", "maximum", "minimum", "addcmul", "lerp")
)
"""Operators that broadcast what they read themselves."""


@converts("aten.add", "aten.sub")
def add(call: Call) -> Value:
    other = scaled(call, call["other"], float(call.get("alpha", 1)))
    return _result(call, Add if call.target == "aten.add" else Sub, call["self"], other)


@converts("aten.rsub")
def rsub(call: Call) -> Value:
    return _result(call, Sub, call["other"], scaled(call, call["self"], float(call.get("alpha", 1))))


@converts("aten.mul")
def mul(call: Call) -> Value:
    return _result(call, Mul, call["self"], call["other"])


@converts("aten.div")
def div(call: Call) -> Value:
    """A division; only constant divisors are supported."""
    other = call["other"]
    call.require(not isinstance(other, Value), "division by what is computed at run time is not supported")
    call.require(call.get("rounding_mode") is None, "integer division is not supported")
    divisor = np.asarray(other.array if isinstance(other, Constant) else other, np.float64)
    call.require(bool(np.all(divisor != 0)), "divides by zero")
    return _result(call, Mul, call["self"], Constant(1 / divisor))


@converts("aten.maximum", "aten.minimum")
def extremum(call: Call) -> Value:
    return _result(call, Maximum if call.target == "aten.maximum" else Minimum, call["self"], call["other"])


@converts("aten.addcmul")
def addcmul(call: Call) -> Value:
    """self + value * tensor1 * tensor2"""
    first = scaled(call, call["tensor1"], float(call["value"]))
    product = binary(call, Mul, first, call["tensor2"], suffix="product")
    return _result(call, Add, call["self"], product)


@converts("aten.lerp")
def lerp(call: Call) -> Value:
    """self + weight * (end - self)"""
    away = binary(call, Sub, call["end"], call["self"], suffix="away")
    return _result(call, Add, call["self"], binary(call, Mul, away, call["weight"], suffix="part"))


@converts("aten.pow", "aten.square")
def power(call: Call) -> Value:
    """Small whole powers, as products."""
    x, exponent = call.value("self"), 2 if call.target == "aten.square" else call["exponent"]
    whole = not isinstance(exponent, Value | Constant) and float(exponent) in (1, 2, 3, 4)
    call.require(whole, f"the power {exponent} is not supported", "Supported: 1, 2, 3 and 4.")
    square = x if exponent == 1 else binary(call, Mul, x, x)
    if exponent == 4:
        return binary(call, Mul, square, square)
    return binary(call, Mul, square, x) if exponent == 3 else square


def scaled(call: Call, value: Any, factor: float) -> Any:
    """A value, a constant or a number, times a number."""
    if factor == 1:
        return value
    if isinstance(value, Value):
        operand = call.build.constant(np.array([factor]), "factor")
        return Value(call.build.add(Mul, [value.tensor, operand], "scaled"), value.layout)
    return Constant(np.asarray(value.array * factor)) if isinstance(value, Constant) else factor * value


def _result(call: Call, kind: type[Op], a: Any, b: Any) -> Value:
    """The call's result: operands may be less than it, if what expanded them left that to their readers."""
    return call.build.broadcast(binary(call, kind, a, b), call.shapes[0])


def binary(call: Call, kind: type[Op], a: Any, b: Any, suffix: str = "") -> Value:
    """An operator on two values, constants or numbers, broadcast as NumPy does."""
    values = [v if isinstance(v, Value | Constant) else Constant(np.array(v)) for v in (a, b)]
    if not all(isinstance(value, Value) for value in values):
        return _with_constant(call, kind, values, suffix)
    first, second = values
    assert isinstance(first, Value)
    assert isinstance(second, Value)
    if first.shape == second.shape:
        other = call.build.shaped(call.build.like(second, first.layout), call.build.tensors[first.tensor].shape)
        return Value(call.build.add(kind, [first.tensor, other], suffix), first.layout)
    return _broadcast(call, kind, first, second, suffix)


def _with_constant(call: Call, kind: type[Op], values: list[Value | Constant], suffix: str) -> Value:
    value = next(v for v in values if isinstance(v, Value))
    constant = next(v for v in values if isinstance(v, Constant))
    shape = np.broadcast_shapes(value.shape, constant.shape)
    if constant.array.size > 1 and shape != value.shape:
        value = _ranked(call, value, len(shape))
        order = value.layout.dim_order() or tuple(range(len(shape)))
        tensor = call.build.stored(value, order)
        array = constant.array.reshape((1,) * (len(shape) - len(constant.shape)) + constant.shape)
        operand = call.build.constant(array.transpose(order), "constant", constant.whole_encoding)
    else:
        tensor, known = value.tensor, value.layout.dim_order()
        if constant.array.size > 1 and known is not None:
            tensor = call.build.stored(value, known)
        operand = call.build.operand(constant, value.layout, tensor)
        order = ()
    names = [tensor, operand] if values[0] is not constant else [operand, tensor]
    output = call.build.add(kind, names, suffix)
    return call.build.fresh(output, order) if order else Value(output, value.layout)


def _broadcast(call: Call, kind: type[Op], a: Value, b: Value, suffix: str) -> Value:
    """An operator on operands of different shapes: both get all dimensions, in the order of the larger operand."""
    rank = max(len(a.shape), len(b.shape))
    larger = a if math.prod(a.shape) >= math.prod(b.shape) else b
    larger = _ranked(call, larger, rank)
    order = larger.layout.dim_order() or tuple(range(rank))
    names = [call.build.stored(_ranked(call, value, rank), order) for value in (a, b)]
    return call.build.fresh(call.build.add(kind, names, suffix), order)


def _ranked(call: Call, value: Value, rank: int) -> Value:
    return call.build.viewed(value, (1,) * (rank - len(value.shape)) + value.shape)
