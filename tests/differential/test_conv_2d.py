"""CONV_2D and DEPTHWISE_CONV_2D against LiteRT's reference kernels."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from ai_edge_litert.schema_py_generated import BuiltinOperator, Padding, TensorType

from tests.support.cases import ACTIVATIONS, Draw, differential, log_uniform
from tests.support.tflite_builder import ModelSpec, TensorSpec, options


def window(draw: Draw) -> dict[str, Any]:
    """A window that fits its input, under either padding."""
    kernel = (draw.integer(1, 5), draw.integer(1, 5))
    stride = (draw.integer(1, 3), draw.integer(1, 3))
    dilation = draw.choice([(1, 1), (1, 1), (2, 1), (1, 2), (2, 3)])
    size = tuple((k - 1) * d + draw.integer(1, 6) for k, d in zip(kernel, dilation, strict=True))
    padding = draw.choice([Padding.SAME, Padding.VALID])
    output = tuple(
        -(-n // s) if padding == Padding.SAME else (n - (k - 1) * d - 1) // s + 1
        for n, k, s, d in zip(size, kernel, stride, dilation, strict=True)
    )
    return {"kernel": kernel, "stride": stride, "dilation": dilation, "size": size, "padding": padding, "out": output}


def conv_case(draw: Draw, dtype: str, depthwise: bool) -> ModelSpec:
    rng = draw.rng
    w = window(draw)
    if depthwise:
        channels = draw.integer(1, 9)
        multiplier = draw.choice([1, 1, 1, 2, 3])
        filters, axis = channels * multiplier, 3
        weight_shape: tuple[int, ...] = (1, *w["kernel"], filters)
    else:
        groups, depth = draw.choice([1, 1, 1, 2, 3]), draw.integer(1, 9)
        if dtype == "int16":
            groups = 1  # LiteRT's reference has no grouped 16x8 convolution
        channels, filters, axis = groups * depth, groups * draw.integer(1, 5), 0
        weight_shape = (filters, *w["kernel"], depth)
    batch = draw.choice([1, 1, 2])
    x_shape, y_shape = (batch, *w["size"], channels), (batch, *w["out"], filters)
    inputs, output = operands(draw, rng, dtype, x_shape, y_shape, weight_shape, axis, filters)
    common = {
        "padding": w["padding"],
        "strideH": w["stride"][0],
        "strideW": w["stride"][1],
        "dilationHFactor": w["dilation"][0],
        "dilationWFactor": w["dilation"][1],
        "fusedActivationFunction": draw.choice(ACTIVATIONS),
    }
    if depthwise:
        chosen = options("DepthwiseConv2DOptions", depthMultiplier=multiplier, **common)
    else:
        if dtype == "int16" and draw.yes(0.3):
            # Sums have the bits of the bias.
            bias = inputs[2]
            assert bias is not None
            inputs[2] = replace(bias, dtype="int32")
            common["quantizedBiasType"] = TensorType.INT32
        chosen = options("Conv2DOptions", **common)
    name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    return ModelSpec(getattr(BuiltinOperator, name), inputs, [output], **chosen, label=f"{name} {dtype}")


def operands(
    draw: Draw,
    rng: np.random.Generator,
    dtype: str,
    x_shape: tuple[int, ...],
    y_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    axis: int,
    filters: int,
) -> tuple[list[TensorSpec | None], TensorSpec]:
    """Input, weights, maybe a bias; and the output."""
    # LiteRT's CONV_2D insists on a bias, DEPTHWISE_CONV_2D does not.
    bias_there = axis == 0 or draw.yes()
    if dtype == "float32":
        weights = rng.normal(size=weight_shape).astype(np.float32)
        bias = TensorSpec((filters,), "float32", data=rng.normal(size=filters).astype(np.float32))
        x = TensorSpec(x_shape, "float32")
        kernel = TensorSpec(weight_shape, "float32", data=weights)
        return [x, kernel, *([bias] if bias_there else [])], TensorSpec(y_shape, "float32")
    wide = dtype == "int16"
    x_scale = float(log_uniform(rng, 1e-4, 1.0))
    w_scale = log_uniform(rng, 1e-3, 1e-1, filters if draw.yes() else 1)
    taps = int(np.prod(weight_shape)) // filters if axis == 0 else int(np.prod(weight_shape[1:3]))
    spread = x_scale * float(np.mean(w_scale)) * 70 * np.sqrt(taps) * (256 if wide else 1)
    y_scale = float(spread * log_uniform(rng, 0.01, 4.0))
    codes = rng.integers(-127, 128, weight_shape).astype(np.int8)
    bias_range = 2**20 if wide else 20000
    bias_type = "int64" if wide else "int32"
    bias_codes = rng.integers(-bias_range, bias_range, filters)
    bias = TensorSpec((filters,), bias_type, w_scale * x_scale, 0, 0, bias_codes)
    x = TensorSpec(x_shape, dtype, x_scale, draw.zero_point(dtype))
    kernel = TensorSpec(weight_shape, "int8", w_scale, 0, axis, codes)
    return [x, kernel, *([bias] if bias_there else [])], TensorSpec(y_shape, dtype, y_scale, draw.zero_point(dtype))


CASES = {
    f"{'DEPTHWISE_' * depthwise}CONV_2D {dtype}": (partial(conv_case, dtype=dtype, depthwise=depthwise), count)
    for depthwise in (False, True)
    for dtype, count in (("int8", 120), ("int16", 64), ("float32", 64))
}
test_models, test_many, test_on_the_core = differential(CASES)
