"""Networks of several layers with channels that are constant, or that nothing reads."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert.schema_py_generated import ActivationFunctionType, BuiltinOperator, Padding

from tests.support.tflite_builder import ModelSpec, TensorSpec, build_chain, options

RELU = ActivationFunctionType.RELU
_ACTIVATIONS = [ActivationFunctionType.NONE, RELU, RELU, ActivationFunctionType.RELU6]


class Network:
    """A chain of layers in the making; `x` is the tensor the next layer reads.

    Args:
        rng: weights, biases, scales, zero points come from it.
        channels: of the input, [1, size, size, channels].
        sparsity: how often a filter, a channel's weights, or a bias is made such that a channel is constant or unread.
    """

    def __init__(
        self, rng: np.random.Generator, size: int = 6, channels: int = 4, sparsity: float = 0.35, dtype: str = "int8"
    ) -> None:
        self.rng, self.sparsity, self.dtype = rng, sparsity, dtype
        self.specs: list[ModelSpec] = []
        self.x = self.activations((1, size, size, channels))

    def model(self) -> bytes:
        return build_chain(self.specs)

    def activations(self, shape: tuple[int, ...], like: TensorSpec | None = None) -> TensorSpec:
        """A tensor with an encoding of its own, or with that of another."""
        if like is not None:
            return TensorSpec(shape, self.dtype, like.scale, like.zero_point)
        wide = self.dtype == "int16"
        zero = 0 if wide else int(self.rng.integers(-128, 128)) if self.rng.random() < 0.5 else -128
        scale = np.exp(self.rng.uniform(-4, -2)) / (256 if wide else 1)
        return TensorSpec(shape, self.dtype, float(np.float32(scale)), zero)

    def add(self, name: str, inputs: list[TensorSpec], output: TensorSpec, version: int = 2, **chosen: Any) -> None:
        self.specs.append(ModelSpec(getattr(BuiltinOperator, name), inputs, [output], version=version, **chosen))
        self.x = output

    def parameters(self, weights: np.ndarray, axis: int, taps: int) -> tuple[TensorSpec, TensorSpec]:
        """Quantized weights and a bias that now and then drives a channel beyond its clamp."""
        filters = weights.shape[axis]
        per_channel = self.rng.random() < 0.5
        scale = np.float32(np.exp(self.rng.uniform(-6, -3, filters if per_channel else 1)))
        extreme = self.rng.choice([-1, 1], filters) * (self.rng.random(filters) < self.sparsity / 2)
        bias = self.rng.integers(-3000, 3000, filters) + extreme * 40000 * taps * (256 if self.dtype == "int16" else 1)
        kind = "int64" if self.dtype == "int16" else "int32"
        x_scale = np.float32(self.x.scale)
        return (
            TensorSpec(weights.shape, "int8", scale, 0, axis if per_channel else 0, weights),
            TensorSpec((filters,), kind, scale * x_scale, 0, 0, bias),
        )

    def codes(self, *shape: int) -> np.ndarray:
        return self.rng.integers(-127, 128, shape).astype(np.int8)

    def _thinned(self, weights: np.ndarray, *axes: int) -> np.ndarray:
        """Zeros in whole slices along each of the axes."""
        for axis in axes:
            keep = (self.rng.random(weights.shape[axis]) >= self.sparsity).astype(np.int8)
            weights = weights * keep.reshape([-1 if i == axis else 1 for i in range(weights.ndim)])
        return weights

    def _window(self, kernel: int, stride: int) -> tuple[int, int, int]:
        """(padding, output height, output width)"""
        height, width = self.x.shape[1:3]
        if min(height, width) < kernel or self.rng.random() < 0.5:
            return Padding.SAME, -(-height // stride), -(-width // stride)
        return Padding.VALID, (height - kernel) // stride + 1, (width - kernel) // stride + 1

    def conv(self, filters: int, kernel: int = 1, stride: int = 1, output: TensorSpec | None = None) -> None:
        depth = self.x.shape[3]
        padding, height, width = self._window(kernel, stride)
        weights = self._thinned(self.codes(filters, kernel, kernel, depth), 0, 3)
        pair = self.parameters(weights, 0, depth * kernel * kernel)
        y = self.activations((1, height, width, filters), output)
        self.add(
            "CONV_2D",
            [self.x, *pair],
            y,
            5,
            **options(
                "Conv2DOptions",
                padding=padding,
                strideH=stride,
                strideW=stride,
                fusedActivationFunction=self.rng.choice(_ACTIVATIONS),
            ),
        )

    def depthwise(self, kernel: int = 3, stride: int = 1, multiplier: int = 1) -> None:
        filters = self.x.shape[3] * multiplier
        padding, height, width = self._window(kernel, stride)
        weights = self._thinned(self.codes(1, kernel, kernel, filters), 3)
        pair = self.parameters(weights, 3, kernel * kernel)
        self.add(
            "DEPTHWISE_CONV_2D",
            [self.x, *pair],
            self.activations((1, height, width, filters)),
            5,
            **options(
                "DepthwiseConv2DOptions",
                padding=padding,
                strideH=stride,
                strideW=stride,
                depthMultiplier=multiplier,
                fusedActivationFunction=self.rng.choice(_ACTIVATIONS),
            ),
        )

    def dense(self, outputs: int) -> None:
        size = int(np.prod(self.x.shape))
        weights = self._thinned(self.codes(outputs, size), 0, 1)
        pair = self.parameters(weights, 0, size)
        chosen = options("FullyConnectedOptions", fusedActivationFunction=self.rng.choice(_ACTIVATIONS))
        self.add("FULLY_CONNECTED", [self.x, *pair], self.activations((1, outputs)), 7, **chosen)

    def pool(self, kind: str = "MAX_POOL_2D") -> None:
        padding, height, width = self._window(2, 2)
        chosen = options("Pool2DOptions", padding=padding, strideH=2, strideW=2, filterHeight=2, filterWidth=2)
        y = self.activations((1, height, width, self.x.shape[3]), self.x)
        self.add(kind, [self.x], y, 3 if self.dtype == "int16" else 2, **chosen)

    def residual(self, name: str = "ADD") -> None:
        """A pointwise convolution beside the way, then both together."""
        before = self.x
        self.conv(before.shape[3])
        chosen = options(f"{name.title()}Options", fusedActivationFunction=self.rng.choice(_ACTIVATIONS))
        self.add(name, [before, self.x], self.activations(tuple(before.shape)), 2, **chosen)

    def times_constant(self) -> None:
        """Times one factor per channel, or one for all."""
        channels = self.x.shape[3] if self.rng.random() < 0.7 else 1
        factor = TensorSpec((1, 1, 1, channels), "int8", 0.01, 3, 0, self.codes(1, 1, 1, channels))
        self.add("MUL", [self.x, factor], self.activations(tuple(self.x.shape)), 2, **options("MulOptions"))

    def beside(self, filters: int) -> None:
        """A pointwise convolution's channels behind those already there."""
        before = self.x
        self.conv(filters, output=before)
        shape = (*before.shape[:3], before.shape[3] + filters)
        self.add(
            "CONCATENATION",
            [before, self.x],
            self.activations(shape, before),
            2,
            **options("ConcatenationOptions", axis=3),
        )

    def relu(self) -> None:
        self.add("RELU", [self.x], self.activations(tuple(self.x.shape)))

    def pad(self) -> None:
        amounts = TensorSpec((4, 2), "int32", data=np.array([[0, 0], [1, 0], [0, 2], [0, 0]]))
        batch, height, width, channels = self.x.shape
        y = self.activations((batch, height + 1, width + 2, channels), self.x)
        self.add("PAD", [self.x, amounts], y, 2, **options("PadOptions"))

    def mean(self) -> None:
        axes = TensorSpec((2,), "int32", data=np.array([1, 2]))
        y = self.activations((1, self.x.shape[3]))
        self.add("MEAN", [self.x, axes], y, 2, **options("ReducerOptions", keepDims=False))

    def flatten(self) -> None:
        size = int(np.prod(self.x.shape))
        shape = TensorSpec((2,), "int32", data=np.array([1, size]))
        self.add("RESHAPE", [self.x, shape], self.activations((1, size), self.x), 1, **options("ReshapeOptions"))


def random_network(rng: np.random.Generator, layers: int, dtype: str = "int8") -> Network:
    """A network of that many layers, and a head that reads all of it."""
    size, channels, sparsity = int(rng.integers(3, 8)), int(rng.integers(1, 7)), float(rng.choice([0.05, 0.15, 0.35]))
    net = Network(rng, size, channels, sparsity, dtype)
    body = [
        lambda: net.conv(int(rng.integers(1, 9)), int(rng.choice([1, 1, 3])), int(rng.choice([1, 1, 2]))),
        lambda: net.conv(int(rng.integers(2, 9))),
        lambda: net.depthwise(int(rng.choice([1, 3])), int(rng.choice([1, 1, 2]))),
        lambda: net.depthwise(3, multiplier=2) if net.x.shape[3] < 8 else net.depthwise(),
        lambda: net.residual(),
        lambda: net.pool(str(rng.choice(["MAX_POOL_2D", "AVERAGE_POOL_2D"]))),
    ]
    if dtype == "int8":
        body += [
            net.times_constant,
            net.relu,
            net.pad,
            lambda: net.residual("MUL"),
            lambda: net.beside(int(rng.integers(1, 5))),
        ]
    for _ in range(layers):
        body[int(rng.integers(len(body)))]()
    if rng.random() < 0.3 and dtype == "int8":
        net.mean()
    elif rng.random() < 0.5:
        net.flatten()
    if rng.random() < 0.8:
        net.dense(int(rng.integers(1, 6)))
    return net
