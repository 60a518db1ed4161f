"""Functions of single elements, and arithmetic of two tensors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen.frontends.torch.builder import Constant, Value
from tinygen.frontends.torch.registry import Call, converts
from tinygen.ir.fixed_point import Activation
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.binary import Add, Maximum, Minimum, Mul, Sub
from tinygen.ir.ops.prelu import Prelu
from tinygen.ir.ops.unary import Abs, Clamp, Elu, Gelu, HardSwish, LeakyRelu, Logistic, Neg, Tanh

_ACTIVATIONS = {
    (0.0, math.inf): Activation.RELU,
    (0.0, 6.0): Activation.RELU6,
    (-1.0, 1.0): Activation.RELU_N1_TO_1,
}
_FUNCTIONS: dict[str, type[Op]] = {
    "aten.sigmoid": Logistic,
    "aten.tanh": Tanh,
    "aten.hardswish": HardSwish,
    "aten.abs": Abs,
    "aten.neg": Neg,
}


@converts(*_FUNCTIONS)
def function(call: Call) -> Value:
    x = call.value("self")
    return Value(call.build.add(_FUNCTIONS[call.target], [x.tensor]), x.layout)


@converts("aten.relu")
def relu(call: Call) -> Value:
    return _clamped(call, 0.0, math.inf)


@converts("aten.relu6")
def relu6(call: Call) -> Value:
    return _clamped(call, 0.0, 6.0)


@converts("aten.hardtanh")
def hardtanh(call: Call) -> Value:
    return _clamped(call, float(call["min_val"]), float(call["max_val"]))


@converts("aten.clamp", "aten.clamp_min", "aten.clamp_max")
def clamp(call: Call) -> Value:
    bounds = [call.get("min"), call.get("max")]
    call.require(not any(isinstance(bound, Value | Constant) for bound in bounds), "its bounds must be numbers")
    low, high = bounds
    return _clamped(call, -math.inf if low is None else float(low), math.inf if high is None else float(high))


def _clamped(call: Call, low: float, high: float) -> Value:
    x = call.value("self")
    if (low, high) in _ACTIVATIONS:
        return Value(call.build.add(Clamp, [x.tensor], activation=_ACTIVATIONS[low, high]), x.layout)
    tensor = x.tensor
    for kind, bound in ((Maximum, low), (Minimum, high)):
        if math.isfinite(bound):
            operand = call.build.constant(np.array([bound]), "bound")
            tensor = call.build.add(kind, [tensor, operand], kind.KIND)
    return Value(tensor, x.layout)


@converts("aten.leaky_relu")
def leaky_relu(call: Call) -> Value:
    x = call.value("self")
    return Value(call.build.add(LeakyRelu, [x.tensor], alpha=float(call["negative_slope"])), x.layout)


@converts("aten.prelu")
def prelu(call: Call) -> Value:
    x, alpha = call.value("self"), call.array("weight")
    assert alpha is not None
    shape = (1, -1, *[1] * (len(x.shape) - 2)) if alpha.size > 1 else (1,)
    operand = call.build.operand(Constant(alpha.reshape(shape)), x.layout, x.tensor)
    return Value(call.build.add(Prelu, [x.tensor, operand]), x.layout)


@converts("aten.gelu")
def gelu(call: Call) -> Value:
    x = call.value("self")
    return Value(call.build.add(Gelu, [x.tensor], approximate=call["approximate"] == "tanh"), x.layout)


@converts("aten.elu")
def elu(call: Call) -> Value:
    x = call.value("self")
    plain = all(call.get(name, 1) == 1 for name in ("alpha", "scale", "input_scale"))
    call.require(plain, "only ELU with alpha 1 is supported", "Use nn.ELU() with alpha=1.")
    return Value(call.build.add(Elu, [x.tensor]), x.layout)


@converts("aten.silu")
def silu(call: Call) -> Value:
    x = call.value("self")
    gate = call.build.add(Logistic, [x.tensor], "sigmoid")
    return Value(call.build.add(Mul, [x.tensor, gate]), x.layout)


@converts("aten.hardsigmoid")
def hardsigmoid(call: Call) -> Value:
    """relu6(x + 3) / 6"""
    x, build = call.value("self"), call.build
    ramp = build.add(Add, [x.tensor, build.constant(np.array([3.0]), "three")], "ramp", activation=Activation.RELU6)
    return Value(build.add(Mul, [ramp, build.constant(np.array([1 / 6]), "sixth")]), x.layout)


@converts("aten.add", "aten.sub")
def add(call: Call) -> Value:
    call.require(call.get("alpha", 1) == 1, f"alpha {call.get('alpha')} is not supported")
    return _binary(call, Add if call.target == "aten.add" else Sub, call["self"], call["other"])


@converts("aten.rsub")
def rsub(call: Call) -> Value:
    call.require(call.get("alpha", 1) == 1, f"alpha {call.get('alpha')} is not supported")
    return _binary(call, Sub, call["other"], call["self"])


@converts("aten.mul")
def mul(call: Call) -> Value:
    return _binary(call, Mul, call["self"], call["other"])


@converts("aten.div")
def div(call: Call) -> Value:
    """A division; only constant divisors are supported."""
    other = call["other"]
    call.require(not isinstance(other, Value), "division by what is computed at run time is not supported")
    call.require(call.get("rounding_mode") is None, "integer division is not supported")
    divisor = np.asarray(other.array if isinstance(other, Constant) else other, np.float64)
    call.require(bool(np.all(divisor != 0)), "divides by zero")
    return _binary(call, Mul, call["self"], Constant(1 / divisor))


@converts("aten.maximum", "aten.minimum")
def extremum(call: Call) -> Value:
    return _binary(call, Maximum if call.target == "aten.maximum" else Minimum, call["self"], call["other"])


def _binary(call: Call, kind: type[Op], a: Any, b: Any) -> Value:
    values = [v if isinstance(v, Value | Constant) else Constant(np.array([v])) for v in (a, b)]
    if not all(isinstance(value, Value) for value in values):
        return _with_constant(call, kind, values)
    first, second = values
    assert isinstance(first, Value)
    assert isinstance(second, Value)
    if first.shape == second.shape:
        other = call.build.shaped(call.build.like(second, first.layout), call.build.tensors[first.tensor].shape)
        return Value(call.build.add(kind, [first.tensor, other]), first.layout)
    return _broadcast(call, kind, first, second)


def _with_constant(call: Call, kind: type[Op], values: list[Value | Constant]) -> Value:
    value = next(v for v in values if isinstance(v, Value))
    constant = next(v for v in values if isinstance(v, Constant))
    call.require(
        np.broadcast_shapes(value.shape, constant.shape) == value.shape or constant.array.size == 1,
        "a constant larger than the other operand is not supported",
    )
    tensor = value.tensor
    order = value.layout.dim_order()
    if constant.array.size > 1 and order is not None:
        tensor = call.build.stored(value, order)
    operand = call.build.operand(constant, value.layout, tensor)
    names = [tensor, operand] if values[0] is value else [operand, tensor]
    return Value(call.build.add(kind, names), value.layout)


def _broadcast(call: Call, kind: type[Op], a: Value, b: Value) -> Value:
    """An operator on operands of different shapes: both get all dimensions, in the order of the larger operand."""
    rank = max(len(a.shape), len(b.shape))
    larger = a if math.prod(a.shape) >= math.prod(b.shape) else b
    larger = _ranked(call, larger, rank)
    order = larger.layout.dim_order() or tuple(range(rank))
    names = [call.build.stored(_ranked(call, value, rank), order) for value in (a, b)]
    return call.build.fresh(call.build.add(kind, names), order)


def _ranked(call: Call, value: Value, rank: int) -> Value:
    layout = value.layout.viewed((1,) * (rank - len(value.shape)) + value.shape)
    assert layout is not None
    return Value(value.tensor, layout)
