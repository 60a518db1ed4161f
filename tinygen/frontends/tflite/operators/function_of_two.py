"""Quotients, remainders, powers and other functions of two operands."""

from __future__ import annotations

import tflite

from tinygen.frontends.tflite.registry import Operator, converts
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.binary import Binary
from tinygen.ir.ops.division import Div, FloorDiv, FloorMod
from tinygen.ir.ops.functions_of_two import Atan2, Pow, SquaredDifference

_FUNCTIONS: dict[int, type[Binary]] = {
    tflite.BuiltinOperator.FLOOR_DIV: FloorDiv,
    tflite.BuiltinOperator.FLOOR_MOD: FloorMod,
    tflite.BuiltinOperator.SQUARED_DIFFERENCE: SquaredDifference,
    tflite.BuiltinOperator.POW: Pow,
    tflite.BuiltinOperator.ATAN2: Atan2,
}


@converts(*_FUNCTIONS)
def function(operator: Operator) -> Op:
    return _FUNCTIONS[operator.code](**operator.common())


@converts(tflite.BuiltinOperator.DIV)
def div(operator: Operator) -> Op:
    code = operator.options(tflite.DivOptions).FusedActivationFunction()
    return Div(**operator.common(), activation=operator.activation(code))
