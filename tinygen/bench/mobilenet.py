"""Suite `mobilenet`: MobileNet v1 with a quarter of the channels, on grey pictures of 96x96 pixels; random weights.

The layers are those of TensorFlow Lite Micro's person detection, which vendors of microcontrollers publish times of.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tinygen.bench.case import case_of
from tinygen.bench.suites import SuiteCases, SuiteOptions, suite
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.names import c_name
from tinygen.ir.encodings import Affine
from tinygen.ir.epilogue import Tflite
from tinygen.ir.fixed_point import Activation
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.pool_2d import AveragePool2D
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.ops.softmax import Softmax
from tinygen.ir.ops.window import Padding
from tinygen.ir.tensor import Shape, Tensor

SUITE = "mobilenet"
NAME = "mobilenet_v1_025_96"

BLOCKS = ((1, 16), (2, 32), (1, 32), (2, 64), (1, 64), (2, 128), *((1, 128),) * 5, (2, 256), (1, 256))
"""(stride of the depthwise convolution, filters of the 1x1 convolution); arXiv 1704.04861, table 1."""
_CLASSES = 2
_SCALE = float(np.float32(6 / 255))
"""Of activations: ReLU6 over all codes."""
_POWER = 4.5
"""Mean square of an activation behind a ReLU, at a deviation of 3 in front of it."""


@suite(SUITE, "MobileNet v1 0.25 of 96x96 pixels (person detection), beside what Espressif publishes for ESP-NN")
def cases(options: SuiteOptions) -> SuiteCases:
    return SuiteCases([case_of(SUITE, NAME, mobilenet())])


def mobilenet() -> MemoryModel:
    """int8, [1, 96, 96, 1] to [1, 2]."""
    chain = _Chain(Tensor("picture", (1, 96, 96, 1), Affine("int8", (_SCALE,), (-128,))))
    chain.depthwise(2, multiplier=8)
    for stride, filters in BLOCKS:
        chain.depthwise(stride)
        chain.pointwise(filters)
    last = chain.last
    pooled = Tensor("pooled", (1, 1, 1, last.shape[3]), last.encoding)
    chain.add(
        AveragePool2D(
            name="average",
            inputs=(last.name,),
            outputs=(pooled.name,),
            padding=Padding.VALID,
            kernel=(last.shape[1], last.shape[2]),
            stride=(1, 1),
        ),
        pooled,
    )
    chain.pointwise(_CLASSES, activation=Activation.NONE)
    flat = Tensor("logits", (1, _CLASSES), chain.last.encoding)
    chain.add(Reshape(name="flat", inputs=(chain.last.name,), outputs=(flat.name,), shape=flat.shape), flat)
    answer = Tensor("answer", flat.shape, Affine("int8", (1 / 256,), (-128,)))
    chain.add(Softmax(name="softmax", inputs=(flat.name,), outputs=(answer.name,)), answer)
    return chain.model()


@dataclass
class _Chain:
    """Layers one after the other."""

    first: Tensor
    tensors: dict[str, Tensor] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tensors[self.first.name] = self.last = self.first
        self._rng = np.random.default_rng(96)

    def add(self, op: Op, result: Tensor, *constants: Tensor) -> None:
        self.tensors |= {tensor.name: tensor for tensor in (*constants, result)}
        self.ops.append(op)
        self.last = result

    def depthwise(self, stride: int, multiplier: int = 1) -> None:
        """3x3 with ReLU6."""
        _, height, width, channels = self.last.shape
        size = (1, -(-height // stride), -(-width // stride), channels * multiplier)
        name, constants = self._weights((1, 3, 3, channels * multiplier), axis=3)
        op = DepthwiseConv2D(
            name=name,
            inputs=(self.last.name, *(tensor.name for tensor in constants)),
            outputs=(f"{name}_out",),
            padding=Padding.SAME,
            stride=(stride, stride),
            epilogue=Tflite(Activation.RELU6),
        )
        self.add(op, Tensor(f"{name}_out", size, self.first.encoding), *constants)

    def pointwise(self, filters: int, activation: Activation = Activation.RELU6) -> None:
        """1x1."""
        *size, channels = self.last.shape
        name, constants = self._weights((filters, 1, 1, channels), axis=0)
        op = Conv2D(
            name=name,
            inputs=(self.last.name, *(tensor.name for tensor in constants)),
            outputs=(f"{name}_out",),
            padding=Padding.SAME,
            stride=(1, 1),
            epilogue=Tflite(activation),
        )
        result = self.first.encoding if activation is Activation.RELU6 else Affine("int8", (0.05,), (-3,))
        self.add(op, Tensor(f"{name}_out", (*size, filters), result), *constants)

    def _weights(self, shape: Shape, axis: int) -> tuple[str, tuple[Tensor, Tensor]]:
        """A layer's name, weights and bias: what it gives has a deviation of 3 before ReLU6, per channel."""
        name = f"{'depthwise' if axis == 3 else 'pointwise'}_{len(self.ops)}"
        channels = shape[axis]
        codes = self._rng.integers(-127, 128, shape).astype(np.int8)
        gain = 3 / (73 * (_POWER * codes.size / channels) ** 0.5)
        scales = tuple(float(np.float32(s)) for s in self._rng.uniform(0.8 * gain, 1.2 * gain, channels))
        bias_scales = tuple(float(np.float32(_SCALE * s)) for s in scales)
        bias = np.round(self._rng.normal(0.5, 0.5, channels) / np.array(bias_scales)).astype(np.int32)
        zeros = (0,) * channels
        return name, (
            Tensor(f"{name}_w", shape, Affine("int8", scales, zeros, axis), codes),
            Tensor(f"{name}_b", (channels,), Affine("int32", bias_scales, zeros, 0), bias),
        )

    def model(self) -> MemoryModel:
        graph = Graph(c_name(NAME), self.tensors, tuple(self.ops), (self.first.name,), (self.last.name,))
        graph.validate()
        return MemoryModel(graph, NAME)
