"""Pooling."""

from __future__ import annotations

from typing import Any

import tflite

from tinygen.frontends.tflite.operators.conv import padding_of
from tinygen.frontends.tflite.registry import Operator, converts
from tinygen.ir.epilogue import Tflite
from tinygen.ir.fixed_point import Activation, Rounding
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.pool_2d import AveragePool2D, MaxPool2D


def _fields(operator: Operator) -> tuple[dict[str, Any], Activation]:
    """The fields of both pools, and the fused activation."""
    options = operator.options(tflite.Pool2DOptions)
    window = {
        "padding": padding_of(operator, options.Padding()),
        "kernel": (options.FilterHeight(), options.FilterWidth()),
        "stride": (options.StrideH(), options.StrideW()),
    }
    return {**operator.common(), **window}, operator.activation(options.FusedActivationFunction())


@converts(tflite.BuiltinOperator.AVERAGE_POOL_2D)
def average_pool_2d(operator: Operator) -> Op:
    fields, activation = _fields(operator)
    rounding = Rounding.UPWARDS if operator.kind(operator.outputs[0]) == "uint8" else None
    return AveragePool2D(**fields, epilogue=Tflite(activation, rounding))


@converts(tflite.BuiltinOperator.MAX_POOL_2D)
def max_pool_2d(operator: Operator) -> Op:
    fields, activation = _fields(operator)
    return MaxPool2D(**fields, activation=activation)
