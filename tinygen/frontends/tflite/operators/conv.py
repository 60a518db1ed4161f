"""Convolutions."""

from __future__ import annotations

from typing import Any

import tflite

from tinygen.frontends.tflite.registry import Operator, converts
from tinygen.ir.encodings import Affine
from tinygen.ir.epilogue import Tflite
from tinygen.ir.fixed_point import Rounding
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.window import Padding


def padding_of(operator: Operator, code: int) -> Padding:
    """SAME or VALID from the schema's code."""
    known = {tflite.Padding.SAME: Padding.SAME, tflite.Padding.VALID: Padding.VALID}
    operator.require(code in known, f"padding {code} is not supported")
    return known[code]


def epilogue_of(operator: Operator, options: Any) -> Tflite:
    """Activation, and rounding: sums of 16x8 layers have 32 bits where the option says so of their bias."""
    narrow = operator.kind(operator.outputs[0]) == "int16" and options.QuantizedBiasType() == tflite.TensorType.INT32
    activation = operator.activation(options.FusedActivationFunction())
    return Tflite(activation, Rounding.NARROW if narrow else None)


def require_no_zero_point(operator: Operator) -> None:
    """LiteRT's int8 kernels take weights as if their zero point were 0, those for uint8 do not.

    Sources: integer_ops/depthwise_conv.h, integer_ops/transpose_conv.h; its CONV_2D refuses such weights itself.
    """
    weights = operator.inputs[1]
    if weights is not None and isinstance(weights.encoding, Affine) and operator.kind(weights) != "uint8":
        operator.require(
            not any(weights.encoding.zero_point),
            "the weights' zero points must be 0",
            fix="Quantize weights symmetrically, as TensorFlow's converter does.",
        )


@converts(tflite.BuiltinOperator.CONV_2D)
def conv_2d(operator: Operator) -> Op:
    options = operator.options(tflite.Conv2DOptions)
    return Conv2D(
        **operator.common(),
        padding=padding_of(operator, options.Padding()),
        stride=(options.StrideH(), options.StrideW()),
        dilation=(options.DilationHFactor(), options.DilationWFactor()),
        epilogue=epilogue_of(operator, options),
    )


@converts(tflite.BuiltinOperator.DEPTHWISE_CONV_2D)
def depthwise_conv_2d(operator: Operator) -> Op:
    options = operator.options(tflite.DepthwiseConv2DOptions)
    require_no_zero_point(operator)
    return DepthwiseConv2D(
        **operator.common(),
        padding=padding_of(operator, options.Padding()),
        stride=(options.StrideH(), options.StrideW()),
        dilation=(options.DilationHFactor(), options.DilationWFactor()),
        epilogue=Tflite(operator.activation(options.FusedActivationFunction())),
    )
