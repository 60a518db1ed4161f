"""Reductions of floats."""

from __future__ import annotations

from dataclasses import replace

from tinygen.frontends.onnx.axes import axes_of
from tinygen.frontends.onnx.floats.calls import call, calls
from tinygen.frontends.onnx.node import Operator
from tinygen.frontends.onnx.registry import computes
from tinygen.frontends.onnx.values import Coded, Value, from_order
from tinygen.ir.ops.reduce import Sum


def _reduced(operator: Operator, x: Coded, target: str) -> Coded:
    axes = axes_of(operator, len(x.shape))
    if axes is None:
        return x
    return call(operator, target, self=x, dim=axes, keepdim=bool(operator.attribute("keepdims", 1)))


@computes("ReduceMean")
def mean(operator: Operator) -> Value:
    return _reduced(operator, operator.real(0), "mean")


@computes("ReduceMax")
def largest(operator: Operator) -> Value:
    return _reduced(operator, operator.real(0), "amax")


@computes("ReduceMin")
def smallest(operator: Operator) -> Value:
    return _reduced(operator, operator.real(0), "amin")


@computes("ReduceSum")
def total(operator: Operator) -> Coded:
    x = operator.number(0)
    return _whole_sum(operator, x) if x.raw else _reduced(operator, x, "sum")


def _whole_sum(operator: Operator, x: Coded) -> Coded:
    """Of integers that stand for themselves."""
    axes = axes_of(operator, len(x.shape))
    if axes is None:
        return x
    tensor, order = operator.builder.as_plain(x)
    places = tuple(place for place, axis in enumerate(order) if axis in axes)
    kept = from_order(operator.builder.emit(Sum, [tensor], tensor.encoding, axes=places, keep_dims=True), order)
    shape = kept.shape
    if not operator.attribute("keepdims", 1):
        shape = tuple(size for axis, size in enumerate(shape) if axis not in axes)
    return replace(kept.viewed(shape), raw=True)


@computes("ReduceProd")
def product(operator: Operator) -> Value:
    return _reduced(operator, operator.real(0), "prod")


@computes("ReduceL1")
def absolute(operator: Operator) -> Value:
    return _reduced(operator, call(operator, "abs", self=operator.real(0)), "sum")


@computes("ReduceSumSquare")
def squares(operator: Operator) -> Value:
    return _reduced(operator, call(operator, "square", self=operator.real(0)), "sum")


@computes("ReduceL2")
def length(operator: Operator) -> Value:
    return _reduced(operator, operator.real(0), "linalg_vector_norm")


@computes("ReduceLogSum")
def log_sum(operator: Operator) -> Value:
    return call(operator, "log", self=total(operator))


@computes("ReduceLogSumExp")
def log_sum_exp(operator: Operator) -> Value:
    total_of = _reduced(operator, call(operator, "exp", self=operator.real(0)), "sum")
    return call(operator, "log", self=total_of)


@computes("ArgMax", "ArgMin")
def position(operator: Operator) -> Value:
    operator.require(not operator.attribute("select_last_index", 0), "select_last_index", "Take the first of equals.")
    x = operator.real(0)
    axis = operator.axis(int(operator.attribute("axis", 0)), len(x.shape))
    keep = bool(operator.attribute("keepdims", 1))
    return call(operator, operator.kind.lower(), self=x, dim=axis, keepdim=keep)


@computes("TopK")
def top_k(operator: Operator) -> list[Value]:
    x = operator.real(0)
    axis = operator.axis(int(operator.attribute("axis", -1)), len(x.shape))
    k = int(operator.scalar(1, "k")) if operator.has(1) else int(operator.attribute("k"))
    if operator.attribute("largest", 1):
        return list(calls(operator, "topk", self=x, dim=axis, k=k, largest=True))
    values, positions = calls(operator, "topk", self=call(operator, "neg", self=x), dim=axis, k=k, largest=True)
    return [call(operator, "neg", self=values), positions]
