"""Elementary functions of one operand: roots, powers, logarithms, trigonometry, rounding; normalization of rows."""

from __future__ import annotations

import tflite

from tinygen.frontends.tflite.registry import Operator, converts
from tinygen.ir.fixed_point import Activation
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.elementary import Ceil, Cos, Exp, Floor, Log, Round, Rsqrt, Sign, Sin, Sqrt, Square
from tinygen.ir.ops.normalization_of_rows import L2Normalization, LocalResponseNormalization
from tinygen.ir.ops.unary import Clamp, Elu, Unary

_FUNCTIONS: dict[int, type[Unary]] = {
    tflite.BuiltinOperator.EXP: Exp,
    tflite.BuiltinOperator.LOG: Log,
    tflite.BuiltinOperator.RSQRT: Rsqrt,
    tflite.BuiltinOperator.SQUARE: Square,
    tflite.BuiltinOperator.SIN: Sin,
    tflite.BuiltinOperator.COS: Cos,
    tflite.BuiltinOperator.FLOOR: Floor,
    tflite.BuiltinOperator.CEIL: Ceil,
    tflite.BuiltinOperator.ROUND: Round,
    tflite.BuiltinOperator.SIGN: Sign,
    tflite.BuiltinOperator.ELU: Elu,
}


@converts(*_FUNCTIONS)
def function(operator: Operator) -> Op:
    return _FUNCTIONS[operator.code](**operator.common())


@converts(tflite.BuiltinOperator.SQRT)
def sqrt(operator: Operator) -> Op:
    return Sqrt(**operator.common(), truncated=True)


@converts(tflite.BuiltinOperator.RELU_0_TO_1)
def relu_0_to_1(operator: Operator) -> Op:
    return Clamp(**operator.common(), activation=Activation.RELU_0_TO_1)


@converts(tflite.BuiltinOperator.L2_NORMALIZATION)
def l2_normalization(operator: Operator) -> Op:
    return L2Normalization(**operator.common(), unsigned=operator.kind(operator.outputs[0]) == "uint8")


@converts(tflite.BuiltinOperator.LOCAL_RESPONSE_NORMALIZATION)
def local_response_normalization(operator: Operator) -> Op:
    options = operator.options(tflite.LocalResponseNormalizationOptions)
    return LocalResponseNormalization(
        **operator.common(),
        radius=options.Radius(),
        bias=float(options.Bias()),
        alpha=float(options.Alpha()),
        beta=float(options.Beta()),
    )
