"""Operators that move or rename data."""

from __future__ import annotations

import tflite

from tinygen.frontends.tflite.registry import Operator, converts
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.reshape import Reshape


@converts(
    tflite.BuiltinOperator.RESHAPE,
    tflite.BuiltinOperator.SQUEEZE,
    tflite.BuiltinOperator.EXPAND_DIMS,
)
def reshape(operator: Operator) -> Op:
    # The output tensor's own shape is static, and is what these operators compute.
    return Reshape(**operator.common(keep_inputs=1), shape=operator.outputs[0].shape)
