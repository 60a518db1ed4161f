"""Multiply-accumulate operators."""

from __future__ import annotations

import tflite

from tinygen.frontends.tflite.operators.conv import epilogue_of, padding_of, require_no_zero_point
from tinygen.frontends.tflite.registry import Operator, converts
from tinygen.ir.epilogue import Tflite
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.batch_matmul import BatchMatmul
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.transpose_conv import TransposeConv


@converts(tflite.BuiltinOperator.FULLY_CONNECTED)
def fully_connected(operator: Operator) -> Op:
    options = operator.options(tflite.FullyConnectedOptions)
    operator.require(options.WeightsFormat() == 0, "shuffled weights are not supported")
    return FullyConnected(
        **operator.common(),
        epilogue=Tflite(operator.activation(options.FusedActivationFunction())),
        keep_dims=bool(options.KeepNumDims()),
    )


@converts(tflite.BuiltinOperator.BATCH_MATMUL)
def batch_matmul(operator: Operator) -> Op:
    options = operator.options(tflite.BatchMatMulOptions)
    return BatchMatmul(**operator.common(), adjoint_first=bool(options.AdjX()), adjoint_second=bool(options.AdjY()))


@converts(tflite.BuiltinOperator.TRANSPOSE_CONV)
def transpose_conv(operator: Operator) -> Op:
    options = operator.options(tflite.TransposeConvOptions)
    # An operand computed at run time can only ask for the shape that the output has: that is static.
    given = operator.inputs[0]
    shape = given.data.reshape(-1).tolist() if given and given.data is not None else list(operator.outputs[0].shape)
    operator.require(len(shape) == 4, f"output shape {shape}")
    common = operator.common()
    names = common["inputs"]
    operator.require(len(names) >= 3, "weights and input are wanted")
    require_no_zero_point(operator)
    # TFLite's order is (output shape, weights, input, bias); ours is the other convolutions'.
    return TransposeConv(
        **common | {"inputs": (names[2], names[1], *names[3:])},
        size=(shape[1], shape[2]),
        padding=padding_of(operator, options.Padding()),
        stride=(options.StrideH(), options.StrideW()),
        epilogue=epilogue_of(operator, options),
    )
