"""Functions of single elements, on floats."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen.frontends.onnx.floats.calls import call
from tinygen.frontends.onnx.node import MICROSOFT, STANDARD, Operator
from tinygen.frontends.onnx.registry import computes
from tinygen.frontends.onnx.values import Coded, Value

_PLAIN = {
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "HardSwish": "hardswish",
    "Mish": "mish",
    "Abs": "abs",
    "Neg": "neg",
    "Sign": "sign",
    "Floor": "floor",
    "Ceil": "ceil",
    "Round": "round",
    "Exp": "exp",
    "Log": "log",
    "Sqrt": "sqrt",
    "Reciprocal": "reciprocal",
    "Erf": "erf",
    "Sin": "sin",
    "Cos": "cos",
}


@computes(*_PLAIN)
def function(operator: Operator) -> Value:
    return call(operator, _PLAIN[operator.kind], self=operator.real(0))


@computes("Softplus")
def softplus(operator: Operator) -> Value:
    return call(operator, "softplus", self=operator.real(0), beta=1.0, threshold=20.0)


@computes("Swish")
def swish(operator: Operator) -> Value:
    return _swish(operator, float(operator.attribute("alpha", 1.0)))


@computes("QuickGelu", domains=MICROSOFT)
def quick_gelu(operator: Operator) -> Value:
    return _swish(operator, float(operator.attribute("alpha", 1.702)))


def _swish(operator: Operator, alpha: float) -> Value:
    """x * sigmoid(alpha * x)"""
    x = operator.real(0)
    if alpha == 1:
        return call(operator, "silu", self=x)
    gate = call(operator, "sigmoid", self=_times(operator, x, alpha))
    return call(operator, "mul", shapes=[x.shape], self=x, other=gate)


def _times(operator: Operator, x: Coded, factor: float) -> Coded:
    return x if factor == 1 else call(operator, "mul", shapes=[x.shape], self=x, other=factor)


@computes("HardSigmoid")
def hard_sigmoid(operator: Operator) -> Value:
    """clamp(alpha * x + beta, 0, 1)"""
    x = operator.real(0)
    alpha, beta = (float(operator.attribute(name, usual)) for name, usual in (("alpha", 0.2), ("beta", 0.5)))
    if np.isclose(alpha, 1 / 6, rtol=1e-5) and beta == 0.5:
        return call(operator, "hardsigmoid", self=x)
    line = call(operator, "add", shapes=[x.shape], self=_times(operator, x, alpha), other=beta)
    return call(operator, "clamp", self=line, min=0.0, max=1.0)


@computes("Clip")
def clip(operator: Operator) -> Value:
    bounds: dict[str, Any] = {name: operator.attributes.get(name) for name in ("min", "max")}
    for index, name in ((1, "min"), (2, "max")):
        if operator.has(index):
            bounds[name] = operator.value(index)
    return call(operator, "clamp", self=operator.real(0), **bounds)


@computes("LeakyRelu")
def leaky_relu(operator: Operator) -> Value:
    alpha = float(operator.attribute("alpha", 0.01))
    return call(operator, "leaky_relu", self=operator.real(0), negative_slope=alpha)


@computes("PRelu")
def prelu(operator: Operator) -> Value:
    """x, or slope * x where x is negative. The slope is broadcast to x; before opset 7 it is one per channel."""
    x, slope = operator.real(0), operator.array(1, "slope")
    rank = len(x.shape)
    if operator.opset < 7 and slope.ndim == 1 < rank:
        return call(operator, "prelu", self=x, weight=slope)
    aligned = slope.reshape((1,) * (rank - slope.ndim) + slope.shape)
    channels = aligned.shape[1] if rank > 1 else 1
    if slope.size in (1, channels):
        return call(operator, "prelu", self=x, weight=slope.reshape(-1))
    positive = call(operator, "relu", self=x)
    negative = call(operator, "clamp", self=x, max=0.0)
    sloped = call(operator, "mul", shapes=[x.shape], self=negative, other=slope)
    return call(operator, "add", shapes=[x.shape], self=positive, other=sloped)


@computes("Gelu", domains=(*STANDARD, *MICROSOFT))
def gelu(operator: Operator) -> Value:
    approximate = operator.attribute("approximate", "none")
    operator.require(approximate in ("none", "tanh"), f"approximate '{approximate}'")
    return call(operator, "gelu", self=operator.real(0), approximate=approximate)


@computes("BiasGelu", "FastGelu", domains=MICROSOFT)
def bias_gelu(operator: Operator) -> Value:
    x = operator.real(0)
    if operator.has(1):
        x = call(operator, "add", shapes=[x.shape], self=x, other=operator.value(1))
    return call(operator, "gelu", self=x, approximate="tanh" if operator.kind == "FastGelu" else "none")


@computes("ThresholdedRelu")
def thresholded_relu(operator: Operator) -> Value:
    """x where it is above alpha, else 0."""
    x = operator.real(0)
    above = call(operator, "sub", shapes=[x.shape], self=x, other=float(operator.attribute("alpha", 1.0)))
    step = call(operator, "relu", self=call(operator, "sign", self=above))
    return call(operator, "mul", shapes=[x.shape], self=x, other=step)


@computes("Elu")
def elu(operator: Operator) -> Value:
    return call(operator, "elu", self=operator.real(0), alpha=float(operator.attribute("alpha", 1.0)))


@computes("Selu")
def selu(operator: Operator) -> Value:
    alpha, gamma = (operator.attribute(name, usual) for name, usual in (("alpha", 1.6732632), ("gamma", 1.0507009)))
    return call(operator, "elu", self=operator.real(0), alpha=float(alpha), scale=float(gamma))


@computes("Celu")
def celu(operator: Operator) -> Value:
    return call(operator, "celu", self=operator.real(0), alpha=float(operator.attribute("alpha", 1.0)))


@computes("Softmax")
def softmax(operator: Operator) -> Value:
    x = operator.real(0)
    axis = softmax_axis(operator, x.shape)
    if axis is not None:
        return call(operator, "softmax", self=x, dim=axis)
    flat = call(operator, "view", shapes=[_rows(operator, x.shape)], self=x)
    return call(operator, "view", shapes=[x.shape], self=call(operator, "softmax", self=flat, dim=1))


def softmax_axis(operator: Operator, shape: tuple[int, ...]) -> int | None:
    """The axis of a softmax.

    Before opset 13 it is one over all dimensions from the axis on: None where several of these are larger than 1.
    """
    rank = len(shape)
    axis = operator.axis(int(operator.attribute("axis", -1 if operator.opset >= 13 else 1)), rank)
    if operator.opset >= 13:
        return axis
    wide = [dim for dim in range(axis, rank) if shape[dim] != 1]
    return None if len(wide) > 1 else (wide or [axis])[0]


def _rows(operator: Operator, shape: tuple[int, ...]) -> tuple[int, int]:
    axis = operator.axis(int(operator.attribute("axis", 1)), len(shape))
    return math.prod(shape[:axis]), math.prod(shape[axis:])


@computes("LogSoftmax")
def log_softmax(operator: Operator) -> Value:
    x = operator.real(0)
    axis = softmax_axis(operator, x.shape)
    operator.require(axis is not None, f"softmax over several dimensions of {list(x.shape)}", "Flatten it first.")
    return call(operator, "log_softmax", self=x, dim=axis)


@computes("Softsign")
def softsign(operator: Operator) -> Value:
    """x / (1 + |x|)"""
    x = operator.real(0)
    below = call(operator, "add", shapes=[x.shape], self=call(operator, "abs", self=x), other=1.0)
    return call(operator, "div", shapes=[x.shape], self=x, other=below)
