"""Convolutions between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND: dilated where that is the same, right in any case."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator, Padding

from tests.passes.test_to_streaming import assert_streams
from tests.support.cases import Draw, draws
from tests.support.differential import Board, compare_models, random_codes
from tests.support.tflite_builder import ModelSpec, TensorSpec, build_chain, options
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.movement import Transpose
from tinygen.passes.pipeline import simplify

_OP = BuiltinOperator


def parameter(values: object, dtype: str = "int32") -> TensorSpec:
    data = np.array(values, dtype)
    return TensorSpec(data.shape, dtype, data=data)


class Chain:
    """The operators of a wrapped convolution.

    Args:
        line: one dimension, with reshapes in between.
        crop: rows that are cropped beyond the padding.
        stride, batch: of the convolution, and of the input.

    Attributes:
        same: whether the convolution pads within each element of the batch.
    """

    def __init__(
        self, draw: Draw, dtype: str, *, depthwise: bool, line: bool, crop: int = 0, stride: int = 1, batch: int = 1
    ) -> None:
        self.rng = draw.rng
        self.line, self.depthwise, self.stride = line, depthwise, stride
        spatial = 1 if line else 2
        self.block = [draw.integer(1 + (place == 0), 3) for place in range(spatial)]
        kernel = [draw.integer(2, 3) for _ in range(spatial)]
        sizes = [draw.integer(9, 14) for _ in range(spatial)]
        self.same = draw.yes(0.3) and not crop
        reach = [(taps - 1) * step for taps, step in zip(kernel, self.block, strict=True)]
        around = [(0, 0) if self.same or draw.yes(0.3) else (r // 2, r - r // 2) for r in reach]
        tails = [-(n + a + b) % step for n, (a, b), step in zip(sizes, around, self.block, strict=True)]
        self.paddings = [(a, b + tail) for (a, b), tail in zip(around, tails, strict=True)]
        # More than what is in front of the image, or as many as blocks add behind it.
        self.crops = [
            (crop and a + crop, 0 if crop or stride > 1 else tail) for (a, _), tail in zip(around, tails, strict=True)
        ]
        self.kernel, self.channels, self.filters = kernel, draw.integer(1, 5), draw.integer(1, 6)
        self.filters = self.channels if depthwise else self.filters
        scale = {"float32": (None, None), "int8": (0.02, 0.07), "int16": (0.0002, 0.0007)}[dtype]
        zeros = (draw.zero_point(dtype), draw.zero_point(dtype))
        self.x, self.y = (
            partial(TensorSpec, dtype=dtype, scale=s, zero_point=z) for s, z in zip(scale, zeros, strict=True)
        )
        self.dtype, self.shape = dtype, (batch, *sizes, self.channels)

    def build(self) -> tuple[bytes, TensorSpec]:
        """The file, and its input."""
        parts = [
            (size + sum(pair)) // step
            for size, pair, step in zip(self.shape[1:-1], self.paddings, self.block, strict=True)
        ]
        many = self.shape[0] * int(np.prod(self.block))
        source = self.x(self.shape)
        small, specs = self.x((many, *parts, self.channels)), []
        pads = [source, parameter(self.block), parameter(self.paddings)]
        specs.append(ModelSpec(_OP.SPACE_TO_BATCH_ND, pads, [small], **options("SpaceToBatchNDOptions"), version=2))
        taps = [1, *self.kernel] if self.line else self.kernel
        if self.line:
            flat, small = small, self.x((many, 1, *parts, self.channels))
            specs.append(self.reshape(flat, small))
        inner = [1, *parts] if self.line else parts
        valid = [size if self.same else size - k + 1 for size, k in zip(inner, taps, strict=True)]
        out = [-(-size // self.stride) for size in valid]
        result = self.y((many, *out, self.filters))
        specs.append(self.convolution(small, result, taps))
        if self.line:
            image, result = result, self.y((many, *out[1:], self.filters))
            specs.append(self.reshape(image, result))
        left = [n * step - sum(pair) for n, step, pair in zip(out[self.line :], self.block, self.crops, strict=True)]
        whole = self.y((self.shape[0], *left, self.filters))
        ends = [result, parameter(self.block), parameter(self.crops)]
        specs.append(ModelSpec(_OP.BATCH_TO_SPACE_ND, ends, [whole], **options("BatchToSpaceNDOptions"), version=2))
        return build_chain(specs), source

    def reshape(self, x: TensorSpec, y: TensorSpec) -> ModelSpec:
        return ModelSpec(_OP.RESHAPE, [x, parameter(y.shape)], [y], **options("ReshapeOptions"))

    def convolution(self, x: TensorSpec, y: TensorSpec, taps: list[int]) -> ModelSpec:
        shape = [1, *taps, self.channels] if self.depthwise else [self.filters, *taps, self.channels]
        if self.dtype == "float32":
            weights = TensorSpec(shape, "float32", data=self.rng.normal(size=shape).astype(np.float32))
            bias = TensorSpec((self.filters,), "float32", data=self.rng.normal(size=self.filters).astype(np.float32))
        else:
            codes = self.rng.integers(-127, 128, shape).astype(np.int8)
            weights = TensorSpec(shape, "int8", 0.01, data=codes)
            kind = "int32" if self.dtype == "int8" else "int64"
            bias = TensorSpec(
                (self.filters,), kind, 0.01 * float(x.scale), data=self.rng.integers(-99, 99, self.filters)
            )  # type: ignore[arg-type]
        values = {
            "padding": Padding.SAME if self.same else Padding.VALID,
            "strideH": self.stride,
            "strideW": self.stride,
            "dilationHFactor": 1,
            "dilationWFactor": 1,
        }
        if self.dtype == "int16" and not self.depthwise:
            values["quantizedBiasType"] = 4
        name = "DEPTHWISE_CONV_2D" if self.depthwise else "CONV_2D"
        table = "DepthwiseConv2DOptions" if self.depthwise else "Conv2DOptions"
        if self.depthwise:
            values["depthMultiplier"] = 1
        return ModelSpec(getattr(_OP, name), [x, weights, bias], [y], **options(table, **values), version=5)


def chains(name: str, count: int, **fields: object) -> list[Chain]:
    return [
        Chain(draw, draw.choice(["float32", "int8", "int16"]), depthwise=draw.yes(), line=draw.yes(), **fields)  # type: ignore[arg-type]
        for draw in draws(name, count)
    ]


def check(found: list[Chain], *, merged: bool) -> None:
    built = [chain.build() for chain in found]
    for model, _ in built:
        ops = simplify(read_tflite(model)).ops
        [conv] = [op for op in ops if isinstance(op, Conv2D | DepthwiseConv2D)]
        assert (conv.dilation != (1, 1)) is merged
        assert any(isinstance(op, Transpose) for op in ops) is not merged
    rng = np.random.default_rng(5)
    feeds = [[[random_codes(x, rng)] for _ in range(2)] for _, x in built]
    compare_models([model for model, _ in built], feeds, ["wrapped"] * len(built), board=Board.NONE)


def test_convolutions_become_dilated() -> None:
    check(chains("wrapped", 24), merged=True)


def test_dilated_convolutions_over_time_stream() -> None:
    """Without padding in time, as a causal network is written down for a window."""
    for draw in draws("stream", 40):
        chain = Chain(draw, "int8", depthwise=False, line=True)
        if chain.same or any(map(any, [*chain.paddings, *chain.crops])):
            continue
        assert_streams(read_tflite(chain.build()[0]), 1)
        return
    raise AssertionError("none without padding")


@pytest.mark.parametrize("fields", [{"stride": 2}, {"batch": 2}, {"crop": 1}], ids=str)
def test_others_are_computed_element_by_element(fields: dict[str, int]) -> None:
    """Strides between the rows of one element, batches, crops beyond the padding."""
    check(chains(f"others {fields}", 6, **fields), merged=False)
