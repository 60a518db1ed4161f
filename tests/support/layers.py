"""Convolutions with known weights, and encodings that are all alike."""

from __future__ import annotations

import numpy as np
from ai_edge_litert.schema_py_generated import ActivationFunctionType, BuiltinOperator, Padding

from tests.support.tflite_builder import ModelSpec, TensorSpec, options

ZERO = -20
RELU, NONE = ActivationFunctionType.RELU, ActivationFunctionType.NONE


def image(channels: int, zero: int = ZERO, size: int = 4) -> TensorSpec:
    return TensorSpec((1, size, size, channels), "int8", 0.05, zero)


def weights(*shape: int) -> np.ndarray:
    """No zeros among them; the same for the same shape."""
    rng = np.random.default_rng(shape)
    return rng.integers(1, 128, shape).astype(np.int8) * rng.choice([-1, 1], shape).astype(np.int8)


def conv(
    x: TensorSpec,
    y: TensorSpec,
    codes: np.ndarray,
    bias: list[int],
    padding: int = Padding.VALID,
    activation: int = NONE,
) -> ModelSpec:
    """A convolution; depthwise when the weights' first dimension is 1 and y has as many channels as x."""
    depthwise = codes.shape[0] == 1 and codes.shape[3] == y.shape[3] == x.shape[3] > 1
    inputs = [
        x,
        TensorSpec(codes.shape, "int8", 0.01, 0, 0, codes),
        TensorSpec((len(bias),), "int32", np.float32(0.05) * np.float32(0.01), 0, 0, np.array(bias)),
    ]
    common = {"padding": padding, "strideH": 1, "strideW": 1, "fusedActivationFunction": activation}
    if depthwise:
        chosen = options("DepthwiseConv2DOptions", depthMultiplier=1, **common)
        return ModelSpec(BuiltinOperator.DEPTHWISE_CONV_2D, inputs, [y], **chosen)
    return ModelSpec(BuiltinOperator.CONV_2D, inputs, [y], **options("Conv2DOptions", **common))


def zeroed(codes: np.ndarray, axis: int, *channels: int) -> np.ndarray:
    result = codes.copy()
    result[tuple([slice(None)] * axis + [list(channels)])] = 0
    return result
