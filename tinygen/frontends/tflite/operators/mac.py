"""Multiply-accumulate operators."""

from __future__ import annotations

import tflite

from tinygen.frontends.tflite.registry import Operator, converts
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.fully_connected import FullyConnected


@converts(tflite.BuiltinOperator.FULLY_CONNECTED)
def fully_connected(operator: Operator) -> Op:
    options = operator.options(tflite.FullyConnectedOptions)
    operator.require(options.WeightsFormat() == 0, "shuffled weights are not supported")
    return FullyConnected(
        **operator.common(),
        activation=operator.activation(options.FusedActivationFunction()),
        keep_dims=bool(options.KeepNumDims()),
    )
