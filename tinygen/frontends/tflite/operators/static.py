"""Operators that are known before the C is written: SHAPE, RANK, RANGE, ZEROS_LIKE and others, of shapes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tflite

from tinygen.frontends.tflite.operators.reduce import axes_of
from tinygen.frontends.tflite.operators.shape import data_input
from tinygen.frontends.tflite.registry import Operator, converts, folds
from tinygen.frontends.tflite.steps import MOST_STATIC, constants
from tinygen.ir.steps import Steps


@converts(tflite.BuiltinOperator.SHAPE)
def shape(operator: Operator) -> Steps:
    return constants(operator, np.array(data_input(operator).shape, np.int64))


@converts(tflite.BuiltinOperator.RANK)
def rank(operator: Operator) -> Steps:
    return constants(operator, np.array(len(data_input(operator).shape)))


@converts(tflite.BuiltinOperator.ZEROS_LIKE)
def zeros_like(operator: Operator) -> Steps:
    x = data_input(operator)
    return constants(operator, np.zeros(x.shape, x.dtype))


@converts(tflite.BuiltinOperator.RANGE)
def range_(operator: Operator) -> Steps:
    """From the first number in steps of the third up to the second; floats are added one by one, as LiteRT does."""
    start, limit, step = (operator.constant(index, what) for index, what in enumerate(("start", "limit", "step")))
    runs = (step > 0 and start <= limit) or (step < 0 and start >= limit)
    operator.require(bool(runs), f"from {start} to {limit} in steps of {step}")
    if start.dtype.kind == "f":
        count = int(np.ceil(np.abs((limit - start) / step)))
    else:
        count = -(-abs(int(limit) - int(start)) // abs(int(step)))
    operator.require(count <= MOST_STATIC, f"{count} elements are too many for a constant")
    values = np.full(count, step, start.dtype)
    values[:1] = start
    return constants(operator, np.cumsum(values, dtype=start.dtype))


@converts(tflite.BuiltinOperator.BROADCAST_ARGS)
def broadcast_args(operator: Operator) -> Steps:
    first, second = (tuple(operator.constant(index, "shape").tolist()) for index in (0, 1))
    return constants(operator, np.array(np.broadcast_shapes(first, second), np.int64))


@converts(tflite.BuiltinOperator.WHERE)
def where(operator: Operator) -> Steps:
    """The places of what is not 0: how many there are must be known."""
    return constants(operator, np.argwhere(operator.constant(0, "condition")))


_REDUCTIONS: dict[int, Callable[..., np.ndarray]] = {
    tflite.BuiltinOperator.SUM: np.sum,
    tflite.BuiltinOperator.REDUCE_PROD: np.prod,
    tflite.BuiltinOperator.REDUCE_MAX: np.max,
    tflite.BuiltinOperator.REDUCE_MIN: np.min,
    tflite.BuiltinOperator.REDUCE_ALL: np.all,
    tflite.BuiltinOperator.REDUCE_ANY: np.any,
}
_QUOTIENTS = {tflite.BuiltinOperator.FLOOR_DIV: np.floor_divide, tflite.BuiltinOperator.FLOOR_MOD: np.mod}


@folds(*_REDUCTIONS)
def reduced(operator: Operator) -> Steps:
    """Of shapes and conditions on them; integers wrap."""
    x, keep = operator.constant(0, "input"), bool(operator.options(tflite.ReducerOptions).KeepDims())
    found = _REDUCTIONS[operator.code](x, axis=axes_of(operator, 1), keepdims=keep)
    return constants(operator, np.asarray(found).astype(x.dtype))


@folds(*_QUOTIENTS)
def quotient(operator: Operator) -> Steps:
    """Of shapes: rounded down."""
    first, second = operator.constant(0, "dividend"), operator.constant(1, "divisor")
    operator.require(bool(second.all()), "it divides by 0")
    return constants(operator, np.asarray(_QUOTIENTS[operator.code](first, second)))
