"""Models that are whole, but ask for what has no meaning, or none that tinygen has: refused, with the reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import ActivationFunctionType, BuiltinOperator

from tests.support.tflite_builder import ModelSpec, TensorSpec, build, options
from tinygen.errors import ModelError, UnsupportedError
from tinygen.frontends.tflite import read_tflite


def integers(*values: int) -> TensorSpec:
    return TensorSpec((len(values),), "int32", data=np.array(values, np.int32))


def floats(*shape: int) -> TensorSpec:
    return TensorSpec(shape, "float32")


def strided_slice(begin: Any, end: Any, step: Any, out: tuple[int, ...], **masks: Any) -> ModelSpec:
    """A slice of a [3, 4] tensor."""
    inputs = [floats(3, 4), integers(*begin), integers(*end), integers(*step)]
    return ModelSpec(BuiltinOperator.STRIDED_SLICE, inputs, [floats(*out)], **options("StridedSliceOptions", **masks))


def slice_of(begin: Any, size: Any, out: tuple[int, ...]) -> ModelSpec:
    inputs = [floats(3, 4), integers(*begin), integers(*size)]
    return ModelSpec(BuiltinOperator.SLICE, inputs, [floats(*out)], **options("SliceOptions"))


def resize(shape: tuple[int, ...], size: tuple[int, int], dtype: str = "int8", **values: bool) -> ModelSpec:
    scale = 0.1 if dtype == "int8" else None
    out = (shape[0], *size, shape[3])
    return ModelSpec(
        BuiltinOperator.RESIZE_BILINEAR,
        [TensorSpec(shape, dtype, scale), integers(*size)],
        [TensorSpec(out, dtype, scale)],
        **options("ResizeBilinearOptions", **values),
    )


def binary(name: str, *scales: float, dtype: str = "int8", **values: Any) -> ModelSpec:
    a, b, y = (TensorSpec((4,), dtype, scale) for scale in scales)
    return ModelSpec(getattr(BuiltinOperator, name), [a, b], [y], **options(f"{name.title()}Options", **values))


def of_integers(name: str, dtype: str = "int32") -> ModelSpec:
    a, b, y = (TensorSpec((4,), dtype) for _ in range(3))
    return ModelSpec(getattr(BuiltinOperator, name), [a, b], [y])


def product(scale: float) -> ModelSpec:
    x, y = TensorSpec((2, 1), "int8", 1.0), TensorSpec((2,), "int8", scale)
    return ModelSpec(BuiltinOperator.REDUCE_PROD, [x, integers(1)], [y], **options("ReducerOptions"))


def softmax_of_halves(scale: float) -> ModelSpec:
    x, y = TensorSpec((1, 4), "int16", scale), TensorSpec((1, 4), "int16", 1 / 32768)
    return ModelSpec(BuiltinOperator.SOFTMAX, [x], [y], **options("SoftmaxOptions", beta=1.0))


def log_softmax(depth: int) -> ModelSpec:
    x, y = TensorSpec((1, depth), "int8", 0.1), TensorSpec((1, depth), "int8", 1 / 16, 127)
    return ModelSpec(BuiltinOperator.LOG_SOFTMAX, [x], [y])


def moved_filter(name: str) -> ModelSpec:
    """A 1x1 layer whose weights have a zero point."""
    x, y = (TensorSpec((1, 4, 4, 3), "int8", scale) for scale in (0.5, 2.0))
    shape = (1, 1, 1, 3) if name == "DepthwiseConv2D" else (3, 1, 1, 3)
    weights = TensorSpec(shape, "int8", 0.1, 7, data=np.ones(shape, np.int8))
    if name == "TransposeConv":
        chosen = options("TransposeConvOptions", strideH=1, strideW=1)
        return ModelSpec(BuiltinOperator.TRANSPOSE_CONV, [integers(1, 4, 4, 3), weights, x], [y], **chosen)
    chosen = options("DepthwiseConv2DOptions", strideH=1, strideW=1, depthMultiplier=1)
    return ModelSpec(BuiltinOperator.DEPTHWISE_CONV_2D, [x, weights], [y], **chosen)


def concatenation(scale: float, **values: int) -> ModelSpec:
    a, b = TensorSpec((2,), "int8", 0.1), TensorSpec((2,), "int8", scale)
    chosen = options("ConcatenationOptions", **values)
    return ModelSpec(BuiltinOperator.CONCATENATION, [a, b], [TensorSpec((4,), "int8", 0.1)], **chosen)


def pad_v2(dtype: str) -> ModelSpec:
    value = TensorSpec((1,), dtype, data=np.zeros(1, dtype))
    amounts = TensorSpec((1, 2), "int32", data=np.ones((1, 2), np.int32))
    return ModelSpec(BuiltinOperator.PADV2, [floats(2), amounts, value], [floats(4)], **options("PadV2Options"))


def pad(before: int) -> ModelSpec:
    amounts = TensorSpec((1, 2), "int32", data=np.array([[before, 2]], np.int32))
    return ModelSpec(BuiltinOperator.PAD, [floats(2), amounts], [floats(4 + max(before, 0))], **options("PadOptions"))


def transpose(*order: int) -> ModelSpec:
    return ModelSpec(
        BuiltinOperator.TRANSPOSE, [floats(3, 4), integers(*order)], [floats(4, 3)], **options("TransposeOptions")
    )


REFUSED = {
    "takes elements 2 to 4 of a dimension of 3": slice_of([2, 0], [3, 2], (3, 2)),
    "takes elements -1 to 1 of a dimension of 4": slice_of([0, -1], [3, 3], (3, 3)),
    "takes elements 4 to 4 of a dimension of 4": strided_slice([0, 4], [3, 5], [1, 1], (3,), shrinkAxisMask=2),
    "negative stride on a dimension that vanishes": strided_slice([0, 1], [3, 0], [1, -1], (3,), shrinkAxisMask=2),
    "a stride is 0": strided_slice([0, 1], [3, 2], [1, 0], (3, 1)),
    "an empty result": strided_slice([0, 2], [3, 2], [1, 1], (3, 1)),
    "stands for no dimension": strided_slice([0, 0, 1], [0, 3, 2], [1, 1, 1], (3, 1), ellipsisMask=1),
    "more than one ellipsis": strided_slice([0, 0], [0, 0], [1, 1], (3, 4), ellipsisMask=3),
    "new-axis mask 0x8": strided_slice([0, 0], [3, 4], [1, 1], (3, 4), newAxisMask=8),
    "3 entries for 2 dimensions": strided_slice([0, 0, 0], [1, 1, 1], [1, 1, 1], (1, 1), shrinkAxisMask=1),
    "an end that is an offset": strided_slice([0, 0], [3, 4], [1, 1], (3, 4), beginMask=1, offset=True),
    "aligned corners with half-pixel": resize((1, 2, 2, 1), (4, 4), alignCorners=True, halfPixelCenters=True),
    "more than 32768": resize((1, 40000, 1, 1), (100, 1)),
    "resizing 700 to 9001 would read beyond": resize((1, 700, 1, 1), (9001, 1)),
    "int32 is not supported": resize((1, 2, 2, 1), (4, 4), "int32"),
    "an output scale of 1e-07 is too small": binary("DIV", 1.0, 1.0, 1e-7),
    "only float32 is supported, not int32": of_integers("POW"),
    "int64 is not supported": of_integers("FLOOR_MOD", "int64"),
    "too small for products": product(1e-9),
    "weights' zero points must be 0": moved_filter("DepthwiseConv2D"),
    "the weights' zero points must be 0": moved_filter("TransposeConv"),
    "an input scale of 8 is too large": softmax_of_halves(8.0),
    "rows of 4,096 elements": log_softmax(4096),
    "too small for these operands": binary("ADD", 1.0, 1.0, 1e-7),
    "scales are too far apart": binary("MUL", 1e30, 1e30, 1e-9),
    "right shifts by 1 and 1": binary("ADD", 0.5, 0.5, 1.0, dtype="int16", potScaleInt16=True),
    "right shifts by -1 and 0": binary("SUB", 2.0, 1.0, 1.0, dtype="int16", potScaleInt16=True),
    "right shifts by 0 and 16": binary("SUB", 1.0, 2.0**-16, 1.0, dtype="int16", potScaleInt16=True),
    "'t1' has scale 0.2 and zero point 0": concatenation(0.2),
    "a fused activation": concatenation(0.1, fusedActivationFunction=ActivationFunctionType.RELU),
    "axis 1 of 1 dimensions": concatenation(0.1, axis=1),
    "its pad value 't2' is int32, not float32": pad_v2("int32"),
    "paddings ((-1, 2),)": pad(-1),
    "does not permute 2 dimensions": transpose(1, 1),
    "axis 2 of 2 dimensions": transpose(2, 0),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refused(reason: str) -> None:
    with pytest.raises((ModelError, UnsupportedError)) as refusal:
        read_tflite(build(REFUSED[reason]))
    assert reason in str(refusal.value)
    assert refusal.value.fix, "it says what to do"
    assert REFUSED[reason].outputs[0].dtype in str(refusal.value), "the message shows the tensors"
