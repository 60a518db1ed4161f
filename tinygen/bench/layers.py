"""Models of a single layer, with random weights from a fixed seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.names import c_name
from tinygen.ir.encodings import Affine
from tinygen.ir.epilogue import Tflite
from tinygen.ir.fixed_point import Activation
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.binary import Add
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.pool_2d import AveragePool2D, MaxPool2D
from tinygen.ir.ops.softmax import Softmax
from tinygen.ir.ops.window import Padding, axis
from tinygen.ir.tensor import Shape, Tensor

_X_SCALE, _X_ZERO = 0.05, -7
_Y_ZERO = 4
# Codes are uniform over int8, whose standard deviation is 256 / sqrt(12).
_DEVIATION = 73.9
_WANTED_DEVIATION = 50.0


@dataclass(frozen=True)
class Window:
    """A sliding window: (rows, columns) of kernel and stride."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding.SAME

    def output(self, height: int, width: int) -> tuple[int, int]:
        rows = axis(height, self.kernel[0], self.stride[0], 1, self.padding)
        columns = axis(width, self.kernel[1], self.stride[1], 1, self.padding)
        return rows.output, columns.output

    def __str__(self) -> str:
        strides = {self.stride[0], self.stride[1]}
        stride = f"s{self.stride[0]}" if len(strides) == 1 else f"s{self.stride[0]}x{self.stride[1]}"
        return f"{stride} {self.padding.value}"


def conv_2d(name: str, image: Shape, filters: int, window: Window) -> MemoryModel:
    """int8 convolution with one weight scale per filter and a ReLU. `image` is (height, width, channels)."""
    height, width, channels = image
    weights = _weights(name, (filters, *window.kernel, channels), filters, channel_axis=0)
    output = (1, *window.output(height, width), filters)
    op = Conv2D(
        name="conv_2d",
        inputs=("x", "weights", "bias"),
        outputs=("y",),
        padding=window.padding,
        stride=window.stride,
        epilogue=Tflite(Activation.RELU),
    )
    return _mac_model(name, op, (1, *image), weights, output, taps=math.prod(window.kernel) * channels)


def depthwise_conv_2d(name: str, image: Shape, window: Window) -> MemoryModel:
    """int8 depthwise convolution, one filter per channel, with a ReLU. `image` is (height, width, channels)."""
    height, width, channels = image
    weights = _weights(name, (1, *window.kernel, channels), channels, channel_axis=3)
    output = (1, *window.output(height, width), channels)
    op = DepthwiseConv2D(
        name="depthwise_conv_2d",
        inputs=("x", "weights", "bias"),
        outputs=("y",),
        padding=window.padding,
        stride=window.stride,
        epilogue=Tflite(Activation.RELU),
    )
    return _mac_model(name, op, (1, *image), weights, output, taps=math.prod(window.kernel))


def fully_connected(name: str, depth: int, outputs: int) -> MemoryModel:
    """int8 dense layer with one weight scale, as most converters write it."""
    weights = _weights(name, (outputs, depth), 1, channel_axis=None)
    op = FullyConnected(name="fully_connected", inputs=("x", "weights", "bias"), outputs=("y",))
    return _mac_model(name, op, (1, depth), weights, (1, outputs), taps=depth)


def average_pool_2d(name: str, image: Shape, window: Window) -> MemoryModel:
    """int8 average over windows."""
    return _pool_model(name, AveragePool2D, image, window)


def max_pool_2d(name: str, image: Shape, window: Window) -> MemoryModel:
    """int8 maximum over windows."""
    return _pool_model(name, MaxPool2D, image, window)


def add(name: str, image: Shape) -> MemoryModel:
    """int8 sum of two inputs with different scales, with a ReLU: the end of a residual block."""
    shape = (1, *image)
    tensors = [
        Tensor("a", shape, _int8(_X_SCALE, _X_ZERO)),
        Tensor("b", shape, _int8(_X_SCALE * 0.7, 11)),
        Tensor("y", shape, _int8(_X_SCALE * 1.3, -20)),
    ]
    op = Add(name="add", inputs=("a", "b"), outputs=("y",), activation=Activation.RELU)
    return _model(name, op, tensors, ("a", "b"))


def softmax(name: str, classes: int) -> MemoryModel:
    """int8 softmax of one row."""
    shape = (1, classes)
    tensors = [Tensor("x", shape, _int8(_X_SCALE, _X_ZERO)), Tensor("y", shape, _int8(1 / 256, -128))]
    return _model(name, Softmax(name="softmax", inputs=("x",), outputs=("y",)), tensors, ("x",))


def _pool_model(name: str, kind: type[AveragePool2D] | type[MaxPool2D], image: Shape, window: Window) -> MemoryModel:
    height, width, channels = image
    same = _int8(_X_SCALE, _X_ZERO)
    tensors = [Tensor("x", (1, *image), same), Tensor("y", (1, *window.output(height, width), channels), same)]
    op = kind(
        name=kind.KIND,
        inputs=("x",),
        outputs=("y",),
        padding=window.padding,
        kernel=window.kernel,
        stride=window.stride,
    )
    return _model(name, op, tensors, ("x",))


def _generator(name: str) -> np.random.Generator:
    """Seeded by the case's name, so that cases do not depend on each other."""
    return np.random.default_rng(list(name.encode()))


def _float32(value: float) -> float:
    return float(np.float32(value))


def _int8(scale: float, zero_point: int) -> Affine:
    return Affine("int8", (_float32(scale),), (zero_point,))


def _weights(name: str, shape: Shape, scales: int, channel_axis: int | None) -> Tensor:
    rng = _generator(name)
    codes = rng.integers(-127, 128, shape).astype(np.int8)
    scale = tuple(_float32(s) for s in rng.uniform(0.004, 0.008, scales))
    return Tensor("weights", shape, Affine("int8", scale, (0,) * scales, channel_axis), codes)


def _mac_model(name: str, op: Op, shape: Shape, weights: Tensor, output: Shape, taps: int) -> MemoryModel:
    """Output scale and bias are such that the output's codes spread over their range and some meet the clamp."""
    scales = np.array(weights.affine.scale)
    deviation = _DEVIATION * _DEVIATION * math.sqrt(taps)
    channels = output[-1]
    bias = _generator(name + " bias").integers(-int(deviation), int(deviation) + 1, channels).astype(np.int32)
    bias_scales = tuple(_float32(_X_SCALE * s) for s in scales)
    bias_encoding = Affine("int32", bias_scales, (0,) * len(scales), 0 if len(scales) > 1 else None)
    tensors = [
        Tensor("x", shape, _int8(_X_SCALE, _X_ZERO)),
        weights,
        Tensor("bias", (channels,), bias_encoding, bias),
        Tensor("y", output, _int8(_X_SCALE * float(scales.mean()) * deviation / _WANTED_DEVIATION, _Y_ZERO)),
    ]
    return _model(name, op, tensors, ("x",))


def _model(name: str, op: Op, tensors: Sequence[Tensor], inputs: tuple[str, ...]) -> MemoryModel:
    by_name: Mapping[str, Tensor] = {tensor.name: tensor for tensor in tensors}
    graph = Graph(c_name(name), by_name, (op,), inputs, op.outputs)
    graph.validate()
    return MemoryModel(graph, name)
