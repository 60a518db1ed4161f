"""SELECT and SELECT_V2, operators on booleans, CAST, CUMSUM, TOPK_V2."""

from __future__ import annotations

import numpy as np
import tflite

from tinygen.frontends.tflite.operators.reduce import axes_of
from tinygen.frontends.tflite.operators.shape import data_input, integers
from tinygen.frontends.tflite.registry import Operator, converts
from tinygen.frontends.tflite.steps import building
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.binary import Maximum, Minimum
from tinygen.ir.ops.cast import Cast
from tinygen.ir.ops.compare import Compare, Relation
from tinygen.ir.ops.cumulative_sum import CumulativeSum
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.ops.select import Select
from tinygen.ir.ops.top_k import TopK
from tinygen.ir.steps import Steps


@converts(tflite.BuiltinOperator.SELECT)
def select(operator: Operator) -> Op | Steps:
    """A condition of one dimension chooses among whole elements of the first dimension."""
    condition, x, y = (data_input(operator, index) for index in range(3))
    if len(condition.shape) != 1 or condition.shape == x.shape or x.size == 1:
        return select_v2(operator)
    steps = building(operator)
    rows = steps.step(Reshape, condition, shape=condition.shape + (1,) * (len(x.shape) - 1))
    return steps.last(Select, rows, x, y)


@converts(tflite.BuiltinOperator.SELECT_V2)
def select_v2(operator: Operator) -> Op | Steps:
    operands = [data_input(operator, index) for index in range(3)]
    if any(tensor.size > 1 for tensor in operands) or len({tensor.shape for tensor in operands}) == 1:
        return Select(**operator.common())
    # Of single elements with other shapes, LiteRT's result keeps the shape that the file declares.
    steps = building(operator)
    return steps.last(
        Reshape, steps.step(Select, *operands, encoding=operands[1].encoding), shape=operator.outputs[0].shape
    )


@converts(tflite.BuiltinOperator.LOGICAL_AND)
def logical_and(operator: Operator) -> Op:
    return Minimum(**operator.common())


@converts(tflite.BuiltinOperator.LOGICAL_OR)
def logical_or(operator: Operator) -> Op:
    return Maximum(**operator.common())


@converts(tflite.BuiltinOperator.LOGICAL_NOT)
def logical_not(operator: Operator) -> Steps:
    """Whether it is false."""
    steps = building(operator)
    false = steps.constant("false", np.zeros((), np.bool_))
    return steps.last(Compare, data_input(operator), false, relation=Relation.EQUAL)


@converts(tflite.BuiltinOperator.CAST)
def cast(operator: Operator) -> Op:
    return Cast(**operator.common())


@converts(tflite.BuiltinOperator.CUMSUM)
def cumulative_sum(operator: Operator) -> Op:
    options, axes = operator.options(tflite.CumsumOptions), axes_of(operator, 1)
    return CumulativeSum(
        **operator.common(keep_inputs=1),
        axis=axes[0],
        exclusive=bool(options.Exclusive()),
        reverse=bool(options.Reverse()),
    )


@converts(tflite.BuiltinOperator.TOPK_V2)
def top_k(operator: Operator) -> Op:
    return TopK(**operator.common(keep_inputs=1), k=integers(operator, 1, "k")[0])
