"""Normalization at run time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen.frontends.onnx.floats.calls import call
from tinygen.frontends.onnx.node import MICROSOFT, STANDARD, Operator
from tinygen.frontends.onnx.registry import computes
from tinygen.frontends.onnx.values import Coded, Value


def _epsilon(operator: Operator, usual: float = 1e-5) -> float:
    return float(operator.attribute("epsilon", usual))


def _parameter(operator: Operator, index: int, what: str) -> np.ndarray | None:
    return operator.array(index, what) if operator.has(index) else None


def _axis(operator: Operator, rank: int) -> int:
    return operator.axis(int(operator.attribute("axis", -1)), rank)


def _only_first(operator: Operator) -> None:
    taken = ", ".join(operator.output_names[index] for index in sorted(operator.taken - {0}))
    operator.require(not taken, f"its output '{taken}' is read", "Only the first output is supported.")


@computes("LayerNormalization")
def layer_normalization(operator: Operator) -> Value:
    _only_first(operator)
    return _over_last(operator, operator.real(0), "layer_norm", 1)


@computes("RMSNormalization", "SimplifiedLayerNormalization", domains=(*STANDARD, *MICROSOFT))
def rms_normalization(operator: Operator) -> Value:
    return _over_last(operator, operator.real(0), "rms_norm", 1)


@computes("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domains=MICROSOFT)
def skip_layer_normalization(operator: Operator) -> Value:
    """Of a sum; inputs: x, skip, gain, and for LayerNorm an offset, then a bias that is added, too."""
    simple = operator.kind.startswith("SkipSimplified")
    x = call(operator, "add", shapes=[operator.value(0).shape], self=operator.real(0), other=operator.value(1))
    bias = 3 if simple else 4
    if operator.has(bias):
        x = call(operator, "add", shapes=[x.shape], self=x, other=operator.value(bias))
    _only_first(operator)
    return _over_last(operator, x, "rms_norm" if simple else "layer_norm", 2)


def _over_last(operator: Operator, x: Coded, target: str, gain: int) -> Value:
    """Over all dimensions from the attribute `axis` on.

    Args:
        gain: index of the gain; behind it is the offset.
    """
    shape = x.shape[_axis(operator, len(x.shape)) :]
    arguments: dict[str, Any] = {"weight": _spread(operator, gain, "gain", shape)}
    if target == "layer_norm":
        arguments["bias"] = _spread(operator, gain + 1, "offset", shape)
    usual = 1e-12 if operator.domain in MICROSOFT and operator.kind.startswith("Skip") else 1e-5
    return call(operator, target, input=x, normalized_shape=list(shape), eps=_epsilon(operator, usual), **arguments)


def _spread(operator: Operator, index: int, what: str, shape: tuple[int, ...]) -> np.ndarray | None:
    array = _parameter(operator, index, what)
    return None if array is None else np.broadcast_to(array, shape)


@computes("InstanceNormalization")
def instance_normalization(operator: Operator) -> Value:
    gain, offset = operator.array(1, "gain"), operator.array(2, "offset")
    x = operator.real(0)
    return call(
        operator, "instance_norm", input=x, weight=gain, bias=offset, eps=_epsilon(operator), use_input_stats=True
    )


@computes("GroupNormalization")
def group_normalization(operator: Operator) -> Value:
    """Gain and offset per channel, before opset 21 per group."""
    x, groups = operator.real(0), int(operator.attribute("num_groups"))
    channels = x.shape[1]
    operator.damaged(groups < 1 or channels % groups != 0, f"{groups} groups of {channels} channels")
    gain, offset = operator.array(1, "gain"), operator.array(2, "offset")
    if operator.opset < 21:
        gain, offset = (np.repeat(array, channels // groups) for array in (gain, offset))
    return call(operator, "group_norm", input=x, num_groups=groups, weight=gain, bias=offset, eps=_epsilon(operator))


@computes("MeanVarianceNormalization")
def mean_variance_normalization(operator: Operator) -> Value:
    x = operator.real(0)
    axes = sorted(operator.axis(axis, len(x.shape)) for axis in operator.integers_of("axes", (0, 2, 3)))
    rest = list(range(2, len(x.shape)))
    operator.require(axes in (rest, [0, *rest]) and x.shape[0] == 1, f"over axes {axes}", "Over all but the channels.")
    return call(operator, "instance_norm", input=x, weight=None, bias=None, eps=1e-9, use_input_stats=True)


@computes("LpNormalization")
def lp_normalization(operator: Operator) -> Value:
    """x / sqrt(sum of x^2), which is RMSNorm divided by the root of the number of elements."""
    x, order = operator.real(0), int(operator.attribute("p", 2))
    operator.require(order == 2, f"p {order}", "Only p = 2 is supported.")
    rank = len(x.shape)
    axis = _axis(operator, rank)
    last = [*(dim for dim in range(rank) if dim != axis), axis]
    turned = call(operator, "permute", self=x, dims=last)
    gain = np.full(x.shape[axis], 1 / math.sqrt(x.shape[axis]))
    found = call(operator, "rms_norm", input=turned, normalized_shape=[x.shape[axis]], eps=1e-12, weight=gain)
    return call(operator, "permute", self=found, dims=np.argsort(last).tolist())


@computes("LRN")
def local_response_normalization(operator: Operator) -> Value:
    """x / (bias + alpha / size * sum of squares of the `size` channels around)^beta"""
    x, size = operator.real(0), int(operator.attribute("size"))
    alpha, beta, bias = (
        float(operator.attribute(name, usual)) for name, usual in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    )
    channels = x.shape[1]
    operator.damaged(size < 1 or len(x.shape) < 3, f"{size} channels around each of {list(x.shape)}")
    distance = np.subtract.outer(np.arange(channels), np.arange(channels))
    near = (distance <= (size - 1) // 2) & (distance >= -(size // 2))
    weight = (near * (alpha / size)).reshape(channels, channels, 1, 1)
    square = call(operator, "mul", shapes=[x.shape], self=x, other=x)
    total = call(
        operator,
        "conv2d",
        input=square,
        weight=weight.astype(np.float32),
        bias=np.full(channels, bias, np.float32),
        stride=[1, 1],
        dilation=[1, 1],
        padding=((0, 0), (0, 0)),
        groups=1,
    )
    factor = call(operator, "pow", shapes=[x.shape], self=total, exponent=-beta)
    return call(operator, "mul", shapes=[x.shape], self=x, other=factor)
