"""Operators with one operand."""

from __future__ import annotations

import tflite

from tinygen.frontends.tflite.registry import Operator, converts
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.softmax import Softmax


@converts(tflite.BuiltinOperator.SOFTMAX)
def softmax(operator: Operator) -> Op:
    return Softmax(**operator.common(), beta=float(operator.options(tflite.SoftmaxOptions).Beta()))
