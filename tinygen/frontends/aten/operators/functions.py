"""Functions of single elements."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.frontends.aten.builder import Constant, Value
from tinygen.frontends.aten.operators.elementwise import binary, scaled
from tinygen.frontends.aten.registry import Call, converts
from tinygen.ir.fixed_point import Activation
from tinygen.ir.ops.activations import HardSigmoid, Mish, Silu, Softplus
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.binary import Maximum, Minimum
from tinygen.ir.ops.elementary import Ceil, Cos, Erf, Exp, Floor, Log, Round, Rsqrt, Sign, Sin, Sqrt
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
    "aten.hardsigmoid": HardSigmoid,
    "aten.silu": Silu,
    "aten.mish": Mish,
    "aten.abs": Abs,
    "aten.neg": Neg,
    "aten.exp": Exp,
    "aten.log": Log,
    "aten.sqrt": Sqrt,
    "aten.rsqrt": Rsqrt,
    "aten.sin": Sin,
    "aten.cos": Cos,
    "aten.floor": Floor,
    "aten.ceil": Ceil,
    "aten.round": Round,
    "aten.sign": Sign,
    "aten.erf": Erf,
}
_TINY = 1e-3
"""Least lengths below this keep vectors from being divided by zero, and do nothing else."""
_SELU = {"alpha": 1.6732632423543772, "scale": 1.0507009873554805}


@converts(*_FUNCTIONS)
def function(call: Call) -> Value:
    return _of(call, _FUNCTIONS[call.target])


def _of(call: Call, kind: type[Op], **attributes: Any) -> Value:
    x = call.value("self")
    return Value(call.build.add(kind, [x.tensor], **attributes), x.layout)


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
    """Bounds are numbers, or tensors that broadcast."""
    bounds = {name: _number(call.get(name)) for name in ("min", "max")}
    if not any(isinstance(bound, Value | Constant) for bound in bounds.values()):
        low, high = bounds["min"], bounds["max"]
        return _clamped(call, -math.inf if low is None else float(low), math.inf if high is None else float(high))
    result = call.value("self")
    for kind, bound in ((Maximum, bounds["min"]), (Minimum, bounds["max"])):
        result = result if bound is None else binary(call, kind, result, bound)
    return result


def _number(bound: Any) -> Any:
    """A tensor of one element as a number."""
    return bound.array.item() if isinstance(bound, Constant) and bound.array.size == 1 else bound


def _clamped(call: Call, low: float, high: float) -> Value:
    x = call.value("self")
    known = call.build.lengths.get(x.tensor)
    if (low, high) in _ACTIVATIONS:
        return Value(call.build.add(Clamp, [x.tensor], activation=_ACTIVATIONS[low, high]), x.layout)
    tensor = x.tensor
    for kind, bound in ((Maximum, low), (Minimum, high)):
        if math.isfinite(bound):
            operand = call.build.constant(np.array([bound]), "bound")
            tensor = call.build.add(kind, [tensor, operand], kind.KIND)
    if known is not None and 0 < low < _TINY and high == math.inf:
        call.build.lengths[tensor] = replace(known, least=low)
    return Value(tensor, x.layout)


@converts("aten.leaky_relu")
def leaky_relu(call: Call) -> Value:
    return _of(call, LeakyRelu, alpha=float(call["negative_slope"]))


@converts("aten.prelu")
def prelu(call: Call) -> Value:
    x, alpha = call.value("self"), call.array("weight")
    assert alpha is not None
    shape = (1, -1, *[1] * (len(x.shape) - 2)) if alpha.size > 1 else (1,)
    operand = call.build.operand(Constant(alpha.reshape(shape)), x.layout, x.tensor)
    return Value(call.build.add(Prelu, [x.tensor, operand]), x.layout)


@converts("aten.gelu")
def gelu(call: Call) -> Value:
    return _of(call, Gelu, approximate=call["approximate"] == "tanh")


@converts("aten.elu")
def elu(call: Call) -> Value:
    call.require(call.get("input_scale", 1) == 1, f"input_scale {call.get('input_scale')} is not supported")
    return _of(call, Elu, alpha=float(call.get("alpha", 1)), scale=float(call.get("scale", 1)))


@converts("aten.selu")
def selu(call: Call) -> Value:
    return _of(call, Elu, **_SELU)


@converts("aten.celu")
def celu(call: Call) -> Value:
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1))"""
    x, alpha = call.value("self"), float(call["alpha"])
    inner = scaled(call, x, 1 / alpha)
    return Value(call.build.add(Elu, [inner.tensor], scale=alpha), x.layout)


@converts("aten.log_sigmoid")
def log_sigmoid(call: Call) -> Value:
    """-log(1 + exp(-x))"""
    x, build = call.value("self"), call.build
    negated = build.add(Softplus, [build.add(Neg, [x.tensor], "negated")], "softplus")
    return Value(build.add(Neg, [negated]), x.layout)


@converts("aten.softplus")
def softplus(call: Call) -> Value:
    """Beyond the threshold PyTorch takes x itself, which differs by exp(-threshold) / beta."""
    call.require(float(call["threshold"]) >= 10, f"a threshold of {call['threshold']} is not supported")
    return _of(call, Softplus, beta=float(call["beta"]))
