"""Operators with two operands."""

from __future__ import annotations

import tflite

from tinygen.frontends.tflite.registry import Operator, converts
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.binary import Add, Maximum, Minimum, Mul, Sub

_ARITHMETIC = {
    tflite.BuiltinOperator.ADD: (Add, tflite.AddOptions),
    tflite.BuiltinOperator.SUB: (Sub, tflite.SubOptions),
    tflite.BuiltinOperator.MUL: (Mul, tflite.MulOptions),
}


def _arithmetic(operator: Operator, code: int) -> Op:
    kind, table = _ARITHMETIC[code]
    options = operator.options(table)
    flags = {} if kind is Mul else {"power_of_two": bool(options.PotScaleInt16())}
    return kind(**operator.common(), activation=operator.activation(options.FusedActivationFunction()), **flags)


@converts(tflite.BuiltinOperator.ADD)
def add(operator: Operator) -> Op:
    return _arithmetic(operator, tflite.BuiltinOperator.ADD)


@converts(tflite.BuiltinOperator.SUB)
def sub(operator: Operator) -> Op:
    return _arithmetic(operator, tflite.BuiltinOperator.SUB)


@converts(tflite.BuiltinOperator.MUL)
def mul(operator: Operator) -> Op:
    return _arithmetic(operator, tflite.BuiltinOperator.MUL)


@converts(tflite.BuiltinOperator.MAXIMUM)
def maximum(operator: Operator) -> Op:
    return Maximum(**operator.common())


@converts(tflite.BuiltinOperator.MINIMUM)
def minimum(operator: Operator) -> Op:
    return Minimum(**operator.common())
