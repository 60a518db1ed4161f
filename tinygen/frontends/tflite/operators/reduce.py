"""Reductions."""

from __future__ import annotations

import tflite

from tinygen.frontends.tflite.registry import Operator, converts
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.reduce import (
    ArgMax,
    ArgMin,
    Mean,
    Prod,
    Reduce,
    ReduceAll,
    ReduceAny,
    ReduceMax,
    ReduceMin,
    Sum,
)


def axes_of(operator: Operator, index: int) -> tuple[int, ...]:
    """Axes given as a constant tensor: non-negative, sorted, without duplicates."""
    rank = len(operator.inputs[0].shape) if operator.inputs[0] else 0
    values = [int(v) for v in operator.constant(index, "axes").reshape(-1)]
    operator.require(all(-rank <= v < rank for v in values), f"axes {values} of {rank} dimensions")
    return tuple(sorted({v % rank for v in values}))


_KINDS: dict[int, type[Reduce]] = {
    tflite.BuiltinOperator.MEAN: Mean,
    tflite.BuiltinOperator.SUM: Sum,
    tflite.BuiltinOperator.REDUCE_PROD: Prod,
    tflite.BuiltinOperator.REDUCE_MAX: ReduceMax,
    tflite.BuiltinOperator.REDUCE_MIN: ReduceMin,
    tflite.BuiltinOperator.REDUCE_ANY: ReduceAny,
    tflite.BuiltinOperator.REDUCE_ALL: ReduceAll,
}


@converts(*_KINDS)
def reduce(operator: Operator) -> Op:
    keep = bool(operator.options(tflite.ReducerOptions).KeepDims())
    return _KINDS[operator.code](**operator.common(keep_inputs=1), axes=axes_of(operator, 1), keep_dims=keep)


def _arg(operator: Operator, kind: type[ArgMax]) -> Op:
    axes = axes_of(operator, 1)
    operator.require(len(axes) == 1, f"{len(axes)} axes are given, one is wanted")
    return kind(**operator.common(keep_inputs=1), axis=axes[0])


@converts(tflite.BuiltinOperator.ARG_MAX)
def arg_max(operator: Operator) -> Op:
    return _arg(operator, ArgMax)


@converts(tflite.BuiltinOperator.ARG_MIN)
def arg_min(operator: Operator) -> Op:
    return _arg(operator, ArgMin)
