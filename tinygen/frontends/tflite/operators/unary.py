"""Operators with one operand."""

from __future__ import annotations

import math

import numpy as np
import tflite

from tinygen.errors import UnsupportedError
from tinygen.frontends.tflite.operators.shape import data_input
from tinygen.frontends.tflite.registry import Operator, converts
from tinygen.frontends.tflite.steps import building, constants
from tinygen.frontends.tflite.tensors import ONLY_WEIGHTS
from tinygen.ir.encodings import Plain
from tinygen.ir.fixed_point import Activation
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.binary import Maximum, Sub
from tinygen.ir.ops.quantize import Dequantize, Quantize
from tinygen.ir.ops.softmax import LogSoftmax, Softmax
from tinygen.ir.ops.unary import Abs, Clamp, Gelu, HardSwish, LeakyRelu, Logistic, Neg, Tanh
from tinygen.ir.steps import Steps


@converts(tflite.BuiltinOperator.SOFTMAX)
def softmax(operator: Operator) -> Op:
    return Softmax(**operator.common(), beta=float(operator.options(tflite.SoftmaxOptions).Beta()))


@converts(tflite.BuiltinOperator.LOG_SOFTMAX)
def log_softmax(operator: Operator) -> Op:
    return LogSoftmax(**operator.common())


@converts(tflite.BuiltinOperator.LEAKY_RELU)
def leaky_relu(operator: Operator) -> Op:
    alpha = float(operator.options(tflite.LeakyReluOptions).Alpha())
    operator.require(math.isfinite(alpha), "its alpha is not finite")
    return LeakyRelu(**operator.common(), alpha=alpha)


@converts(tflite.BuiltinOperator.RELU)
def relu(operator: Operator) -> Op:
    return Clamp(**operator.common(), activation=Activation.RELU)


@converts(tflite.BuiltinOperator.RELU6)
def relu6(operator: Operator) -> Op:
    return Clamp(**operator.common(), activation=Activation.RELU6)


@converts(tflite.BuiltinOperator.RELU_N1_TO_1)
def relu_n1_to_1(operator: Operator) -> Op:
    return Clamp(**operator.common(), activation=Activation.RELU_N1_TO_1)


@converts(tflite.BuiltinOperator.LOGISTIC)
def logistic(operator: Operator) -> Op:
    return Logistic(**operator.common())


@converts(tflite.BuiltinOperator.TANH)
def tanh(operator: Operator) -> Op:
    return Tanh(**operator.common())


@converts(tflite.BuiltinOperator.HARD_SWISH)
def hard_swish(operator: Operator) -> Op:
    return HardSwish(**operator.common())


@converts(tflite.BuiltinOperator.GELU)
def gelu(operator: Operator) -> Op:
    return Gelu(**operator.common(), approximate=bool(operator.options(tflite.GeluOptions).Approximate()))


@converts(tflite.BuiltinOperator.ABS)
def absolute(operator: Operator) -> Op | Steps:
    x = data_input(operator)
    if not isinstance(x.encoding, Plain):
        return Abs(**operator.common())
    steps = building(operator)
    zero = steps.constant("zero", np.zeros((), x.dtype))
    return steps.last(Maximum, x, steps.step(Sub, zero, x))


@converts(tflite.BuiltinOperator.NEG)
def negate(operator: Operator) -> Op | Steps:
    x = data_input(operator)
    if not isinstance(x.encoding, Plain):
        return Neg(**operator.common())
    steps = building(operator)
    return steps.last(Sub, steps.constant("zero", np.zeros((), x.dtype)), x)


@converts(tflite.BuiltinOperator.QUANTIZE)
def quantize(operator: Operator) -> Op:
    return Quantize(**operator.common())


@converts(tflite.BuiltinOperator.DEQUANTIZE)
def dequantize(operator: Operator) -> Op | Steps:
    x = operator.inputs[0]
    return _as_it_is(operator) if x is not None and operator.kind(x) == "float16" else Dequantize(**operator.common())


@converts(tflite.BuiltinOperator.DENSIFY)
def densify(operator: Operator) -> Steps:
    return _as_it_is(operator)


def _as_it_is(operator: Operator) -> Steps:
    """A constant that needs nothing: halves are widened, and zeros there, when tensors are read."""
    x = data_input(operator)
    if x.data is None:
        raise UnsupportedError(f"'{x.name}' is computed at run time", where=operator.describe(), fix=ONLY_WEIGHTS)
    return constants(operator, x.data)
