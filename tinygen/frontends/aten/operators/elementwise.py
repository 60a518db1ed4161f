"""Arithmetic of two tensors, element by element, and powers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.frontends.aten.builder import Constant, Value
from tinygen.frontends.aten.layout import Layout
from tinygen.frontends.aten.registry import Call, converts
from tinygen.ir.encodings import Plain
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.binary import Add, Maximum, Minimum, Mul, Sub
from tinygen.ir.ops.cast import Cast
from tinygen.ir.ops.division import Div
from tinygen.ir.ops.elementary import Exp, Power, Rsqrt, Sqrt, Square
from tinygen.ir.ops.normalization import Normalization
from tinygen.ir.ops.select import Select

READERS = frozenset(
    f"aten.{name}" for name in ("add", "sub", "rsub", "mul", "div", "maximum", "minimum", "addcmul", "lerp")
)
"""Operators that broadcast what they read themselves."""
_NEVER = -1e4
"""Stands for minus infinity, as in masks: exp() of it is 0."""


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
    """A quotient; of a tensor and its own length, a norm."""
    other = call["other"]
    call.require(call.get("rounding_mode") is None, "integer division is not supported")
    if isinstance(other, Value):
        return _of_length(call, call["self"], other) or _result(call, Div, call["self"], other)
    divisor = np.asarray(other.array if isinstance(other, Constant) else other, np.float64)
    call.require(bool(np.all(divisor != 0)), "divides by zero")
    return _result(call, Mul, call["self"], Constant(1 / divisor))


@converts("aten.reciprocal")
def reciprocal(call: Call) -> Value:
    return binary(call, Div, 1.0, call["self"])


def _of_length(call: Call, x: Any, other: Value) -> Value | None:
    """x / sqrt(sum(x^2)) as one operator: x / sqrt(mean(x^2)), divided by the root of the count."""
    known = call.build.lengths.get(other.tensor)
    if known is None or not isinstance(x, Value) or x != known.of:
        return None
    tensor, order = call.build.plain(x)
    axes = tuple(place for place, dim in enumerate(order) if dim in known.dims)
    count = math.prod(x.shape[dim] for dim in known.dims)
    gain = call.build.constant(np.array([1 / math.sqrt(count)]), "gain")
    output = call.build.add(Normalization, [tensor, gain], axes=axes, epsilon=known.least**2 / count, centred=False)
    return call.build.fresh(output, order)


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
    """x to the power of a number, or a number to the power of x."""
    base, exponent = call["self"], 2 if call.target == "aten.square" else call["exponent"]
    if not isinstance(base, Value):
        call.require(base > 0, f"powers of {base} are not supported")
        return _of(call, Exp, scaled(call, exponent, math.log(base)))
    call.require(not isinstance(exponent, Value | Constant), "its exponent must be a number")
    roots: dict[float, type[Op]] = {2.0: Square, 0.5: Sqrt, -0.5: Rsqrt}
    if exponent == 1:
        return base
    if exponent == -1:
        return binary(call, Div, 1.0, base)
    if exponent in roots:
        return _of(call, roots[exponent], base)
    return _of(call, Power, base, exponent=float(np.float32(exponent)))


def _of(call: Call, kind: type[Op], x: Value, **attributes: Any) -> Value:
    return Value(call.build.add(kind, [x.tensor], **attributes), x.layout)


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
    """An operator on two values, constants or numbers, broadcast as NumPy does. Integers without a scale stay that."""
    if kind is not Div and all(is_whole(call, operand) for operand in (a, b)):
        return elementwise(call, kind, a, b, suffix, encoding=Plain("int32"))
    return elementwise(call, kind, as_number(call, a), as_number(call, b), suffix)


def is_whole(call: Call, operand: Any) -> bool:
    """Whether it is integers that stand for themselves."""
    if isinstance(operand, Value):
        return call.build.tensors[operand.tensor].encoding == Plain("int32")
    return isinstance(operand, int) or (isinstance(operand, Constant) and operand.array.dtype.kind == "i")


def as_number(call: Call, value: Any) -> Any:
    """Booleans as 0 and 1, as PyTorch counts them beside numbers, and integers as floats."""
    encoding = call.build.tensors[value.tensor].encoding if isinstance(value, Value) else None
    if not isinstance(encoding, Plain):
        return value
    if encoding != Plain("bool"):
        return Value(call.build.add(Cast, [value.tensor], "number"), value.layout)
    ends = [call.build.constant(np.array([end]), what) for end, what in ((1.0, "true"), (0.0, "false"))]
    return Value(call.build.add(Select, [value.tensor, *ends], "number"), value.layout)


def elementwise(call: Call, kind: type[Op], a: Any, b: Any, suffix: str = "", **how: Any) -> Value:
    """The same on operands of any type; `how` has the output's encoding, if it is not float, and attributes."""
    first, second = (v if isinstance(v, Value | Constant) else Constant(np.array(v)) for v in (a, b))
    if not isinstance(first, Value) or not isinstance(second, Value):
        names, layout = _beside_constant(call, first, second)
    elif first.shape == second.shape:
        other = call.build.shaped(call.build.like(second, first.layout), call.build.tensors[first.tensor].shape)
        names, layout = [first.tensor, other], first.layout
    else:
        names, layout = _all_dimensions(call, [first, second])
    output = call.build.add(kind, names, suffix, **how)
    return Value(output, layout) if isinstance(layout, Layout) else call.build.fresh(output, layout)


def _beside_constant(call: Call, a: Value | Constant, b: Value | Constant) -> tuple[list[str], Layout | Sequence[int]]:
    """Tensors of a value and a constant; and the layout of what they give, or the order of its dimensions."""
    value = next(v for v in (a, b) if isinstance(v, Value))
    constant = next(v for v in (a, b) if isinstance(v, Constant))
    if constant.array.size > 1 and np.broadcast_shapes(value.shape, constant.shape) != value.shape:
        return _all_dimensions(call, [a, b])
    tensor, order = value.tensor, value.layout.dim_order()
    if constant.array.size > 1 and order is not None:
        tensor = call.build.stored(value, order)
    operand = call.build.operand(constant, value.layout, tensor)
    return [tensor, operand] if a is value else [operand, tensor], value.layout


def _all_dimensions(call: Call, operands: Sequence[Value | Constant]) -> tuple[list[str], Sequence[int]]:
    """Operands of different shapes with all dimensions, in the order of the largest value."""
    rank = max(len(operand.shape) for operand in operands)
    full = [call.build.ranked(operand, rank) for operand in operands]
    largest = max((one for one in full if isinstance(one, Value)), key=lambda one: math.prod(one.shape))
    order = largest.layout.dim_order() or tuple(range(rank))
    return [
        call.build.constant(one.array.transpose(order), "constant", one.whole_encoding)
        if isinstance(one, Constant)
        else call.build.stored(one, order)
        for one in full
    ], order


def choice(call: Call, condition: Any, first: Any, second: Any) -> Value:
    """The first where the condition holds, else the second; all three are broadcast."""
    given = [
        v if isinstance(v, Value | Constant) else Constant(np.array(v))
        for v in (condition, *map(finite, (first, second)))
    ]
    names, order = _all_dimensions(call, [given[0], *(as_number(call, one) for one in given[1:])])
    chosen = call.build.fresh(call.build.add(Select, names), order)
    return call.build.broadcast(chosen, call.shapes[0])


def finite(value: Any) -> Any:
    """Constants with a number for minus infinity of which exp() is 0, too; int8 codes stand for no infinity."""
    if isinstance(value, Value):
        return value
    array = np.asarray(value.array if isinstance(value, Constant) else value)
    if array.dtype.kind != "f" or not np.isneginf(array).any():
        return value
    return Constant(np.where(np.isneginf(array), _NEVER, array))


@converts("aten.where")
def where(call: Call) -> Value:
    return choice(call, call["condition"], call["self"], call["other"])


@converts("aten.masked_fill")
def masked_fill(call: Call) -> Value:
    return choice(call, call["mask"], call["value"], call["self"])
