"""Whole networks with random weights, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from ai_edge_litert.schema_py_generated import ActivationFunctionType, BuiltinOperator, Padding

from tests.support.tflite_builder import ModelSpec, TensorSpec, build_chain, options
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.graph import Graph
from tinygen.passes.pipeline import simplify

SCALE = 0.05


class Network:
    """Collects layers; every method adds one and gives its output. Activations are NHWC, batch 1.

    `dtype` is that of the activations: "int8", "int16" (no requantize, relu, average pools) or "float32".
    """

    def __init__(self, seed: int = 0, dtype: str = "int8") -> None:
        self.dtype = dtype
        self.rng = np.random.default_rng(seed)
        self.layers: list[ModelSpec] = []

    def input(self, *shape: int) -> TensorSpec:
        return self._activations((1, *shape))

    def conv(
        self,
        x: TensorSpec,
        filters: int,
        kernel: int | tuple[int, int] = 1,
        stride: int = 1,
        *,
        same: bool = True,
        relu: bool = True,
        dilation: int = 1,
    ) -> TensorSpec:
        size = (kernel, kernel) if isinstance(kernel, int) else kernel
        return self._window(x, (filters, *size, x.shape[3]), 0, stride, same, relu, dilation)

    def depthwise(
        self, x: TensorSpec, kernel: int = 3, stride: int = 1, *, same: bool = True, relu: bool = True
    ) -> TensorSpec:
        return self._window(x, (1, kernel, kernel, x.shape[3]), 3, stride, same, relu, 1)

    def _window(
        self, x: TensorSpec, weights: tuple[int, ...], axis: int, stride: int, same: bool, relu: bool, dilation: int
    ) -> TensorSpec:
        filters = weights[axis]
        taps = int(np.prod(weights[1:])) // (filters if axis else 1)
        w_scale = self.rng.uniform(0.5, 2.0, filters) / (70 * np.sqrt(taps) * 2)
        bias_codes = self.rng.integers(-500, 500, filters)
        height, width = (_size(x.shape[i], weights[i], stride, dilation, same) for i in (1, 2))
        y = self._activations((1, height, width, filters))
        codes = self.rng.integers(-127, 128, weights).astype(np.int8)
        if self.dtype == "float32":
            kernel = TensorSpec(weights, "float32", data=(codes / 100).astype(np.float32))
            bias = TensorSpec((filters,), "float32", data=(bias_codes / 100).astype(np.float32))
        else:
            kernel = TensorSpec(weights, "int8", w_scale, 0, axis, codes)
            wide = "int64" if self.dtype == "int16" else "int32"
            bias = TensorSpec((filters,), wide, w_scale * (y.scale or 1), 0, 0, bias_codes)
        common = {
            "padding": Padding.SAME if same else Padding.VALID,
            "strideH": stride,
            "strideW": stride,
            "dilationHFactor": dilation,
            "dilationWFactor": dilation,
            "fusedActivationFunction": ActivationFunctionType.RELU if relu else ActivationFunctionType.NONE,
        }
        depth = {"depthMultiplier": 1} if axis else {}
        name = "DepthwiseConv2D" if axis else "Conv2D"
        code = BuiltinOperator.DEPTHWISE_CONV_2D if axis else BuiltinOperator.CONV_2D
        self.layers.append(ModelSpec(code, [x, kernel, bias], [y], **options(f"{name}Options", **common, **depth)))
        return y

    def pool(self, x: TensorSpec, kernel: int, stride: int, *, average: bool = False, same: bool = True) -> TensorSpec:
        height, width = (_size(x.shape[i], kernel, stride, 1, same) for i in (1, 2))
        y = self._like(x, (1, height, width, x.shape[3]))
        name = BuiltinOperator.AVERAGE_POOL_2D if average else BuiltinOperator.MAX_POOL_2D
        common = {"padding": Padding.SAME if same else Padding.VALID, "strideH": stride, "strideW": stride}
        self.layers.append(
            ModelSpec(
                name,
                [x],
                [y],
                version=3 if self.dtype == "int16" else 2,
                **options(
                    "Pool2DOptions",
                    filterHeight=kernel,
                    filterWidth=kernel,
                    fusedActivationFunction=ActivationFunctionType.NONE,
                    **common,
                ),
            )
        )
        return y

    def add(self, a: TensorSpec, b: TensorSpec) -> TensorSpec:
        y = self._activations(a.shape, 2)
        version = 4 if self.dtype == "int16" else 2
        self.layers.append(ModelSpec(BuiltinOperator.ADD, [a, b], [y], version=version, **options("AddOptions")))
        return y

    def add_constant(self, x: TensorSpec, *shape: int) -> TensorSpec:
        """A constant of another shape, that broadcasts, added."""
        codes = self.rng.integers(-128, 128, shape)
        known = self._activations(shape)
        return self.add(x, replace(known, data=codes.astype(self.dtype)))

    def pad(self, x: TensorSpec, rows: tuple[int, int], columns: tuple[int, int]) -> TensorSpec:
        """With the code that stands for zero."""
        amounts = np.array([(0, 0), rows, columns, (0, 0)], np.int32)
        y = self._like(x, (1, x.shape[1] + sum(rows), x.shape[2] + sum(columns), x.shape[3]))
        wanted = TensorSpec((4, 2), "int32", data=amounts)
        self.layers.append(ModelSpec(BuiltinOperator.PAD, [x, wanted], [y], version=2, **options("PadOptions")))
        return y

    def relu(self, x: TensorSpec) -> TensorSpec:
        y = self._like(x, x.shape)
        self.layers.append(ModelSpec(BuiltinOperator.RELU, [x], [y], version=2))
        return y

    def requantize(self, x: TensorSpec) -> TensorSpec:
        y = TensorSpec(x.shape, "int8", SCALE, self._zero())
        code = BuiltinOperator.QUANTIZE
        self.layers.append(ModelSpec(code, [x], [y], version=2, **options("QuantizeOptions")))
        return y

    def concatenate(self, parts: Sequence[TensorSpec]) -> TensorSpec:
        """Along channels; the parts have one scale and zero point."""
        channels = sum(part.shape[3] for part in parts)
        y = self._like(parts[0], (*parts[0].shape[:3], channels))
        chosen = options("ConcatenationOptions", axis=3)
        self.layers.append(ModelSpec(BuiltinOperator.CONCATENATION, list(parts), [y], version=2, **chosen))
        return y

    def reshape(self, x: TensorSpec, shape: Sequence[int]) -> TensorSpec:
        wanted = TensorSpec((len(shape),), "int32", data=np.array(shape, np.int32))
        y = self._like(x, shape)
        chosen = options("ReshapeOptions", newShape=list(shape))
        self.layers.append(ModelSpec(BuiltinOperator.RESHAPE, [x, wanted], [y], **chosen))
        return y

    def model(self) -> bytes:
        """The .tflite file; its outputs are the tensors that no layer reads."""
        return build_chain(self.layers)

    def graph(self, name: str = "net") -> Graph:
        return simplify(read_tflite(self.model(), name=name))

    def _activations(self, shape: Sequence[int], scale: float = 1) -> TensorSpec:
        if self.dtype == "float32":
            return TensorSpec(tuple(shape), "float32")
        if self.dtype == "int16":
            return TensorSpec(tuple(shape), "int16", scale * SCALE / 256)
        return TensorSpec(tuple(shape), "int8", scale * SCALE, self._zero())

    def _like(self, x: TensorSpec, shape: Sequence[int]) -> TensorSpec:
        return TensorSpec(tuple(shape), x.dtype, x.scale, x.zero_point)

    def _zero(self) -> int:
        # Not above the middle: behind ReLU all codes would be the zero point, and the passes would fold the layer away.
        return int(self.rng.integers(-128, 0))


def _size(size: int, kernel: int, stride: int, dilation: int, same: bool) -> int:
    return -(-size // stride) if same else (size - (kernel - 1) * dilation - 1) // stride + 1


def mobilenet(size: int = 96, width: float = 0.25, classes: int = 2) -> Network:
    """MobileNetV1 (Howard et al. 2017) on an image of `size` x `size` x 3, as in MLPerf Tiny's visual wake words."""
    net = Network(11)
    x = net.conv(net.input(size, size, 3), int(32 * width), 3, 2)
    blocks = [(1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), *[(1, 512)] * 5, (2, 1024), (1, 1024)]
    for stride, filters in blocks:
        x = net.conv(net.depthwise(x, 3, stride), int(filters * width))
    x = net.pool(x, x.shape[1], 1, average=True, same=False)
    net.reshape(net.conv(x, classes, relu=False), (1, classes))
    return net
