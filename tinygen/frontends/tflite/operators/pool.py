"""Pooling."""

from __future__ import annotations

import tflite

from tinygen.frontends.tflite.operators.conv import padding_of
from tinygen.frontends.tflite.registry import Operator, converts
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.pool_2d import AveragePool2D, MaxPool2D, Pool2D


def _pool(operator: Operator, kind: type[Pool2D]) -> Op:
    options = operator.options(tflite.Pool2DOptions)
    return kind(
        **operator.common(),
        padding=padding_of(operator, options.Padding()),
        kernel=(options.FilterHeight(), options.FilterWidth()),
        stride=(options.StrideH(), options.StrideW()),
        activation=operator.activation(options.FusedActivationFunction()),
    )


@converts(tflite.BuiltinOperator.AVERAGE_POOL_2D)
def average_pool_2d(operator: Operator) -> Op:
    return _pool(operator, AveragePool2D)


@converts(tflite.BuiltinOperator.MAX_POOL_2D)
def max_pool_2d(operator: Operator) -> Op:
    return _pool(operator, MaxPool2D)
