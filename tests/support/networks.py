"""Whole int8 networks with random weights, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert.schema_py_generated import ActivationFunctionType, BuiltinOperator, Padding

from tests.support.tflite_builder import ModelSpec, TensorSpec, build_chain, options
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.graph import Graph
from tinygen.passes.pipeline import simplify

SCALE = 0.05


class Network:
    """Collects layers; every method adds one and gives its output. Activations are int8 NHWC, batch 1."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.layers: list[ModelSpec] = []

    def input(self, *shape: int) -> TensorSpec:
        return TensorSpec((1, *shape), "int8", SCALE, self._zero())

    def conv(
        self, x: TensorSpec, filters: int, kernel: int | tuple[int, int] = 1, stride: int = 1, *,
        same: bool = True, relu: bool = True, dilation: int = 1,
    ) -> TensorSpec:  # fmt: skip
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
        y = TensorSpec((1, height, width, filters), "int8", SCALE, self._zero())
        codes = self.rng.integers(-127, 128, weights).astype(np.int8)
        kernel = TensorSpec(weights, "int8", w_scale, 0, axis, codes)
        bias = TensorSpec((filters,), "int32", w_scale * SCALE, 0, 0, bias_codes)
        common = {
            "padding": Padding.SAME if same else Padding.VALID, "strideH": stride, "strideW": stride,
            "dilationHFactor": dilation, "dilationWFactor": dilation,
            "fusedActivationFunction": ActivationFunctionType.RELU if relu else ActivationFunctionType.NONE,
        }  # fmt: skip
        depth = {"depthMultiplier": 1} if axis else {}
        name = "DepthwiseConv2D" if axis else "Conv2D"
        code = BuiltinOperator.DEPTHWISE_CONV_2D if axis else BuiltinOperator.CONV_2D
        self.layers.append(ModelSpec(code, [x, kernel, bias], [y], **options(f"{name}Options", **common, **depth)))
        return y

    def pool(self, x: TensorSpec, kernel: int, stride: int, *, average: bool = False, same: bool = True) -> TensorSpec:
        height, width = (_size(x.shape[i], kernel, stride, 1, same) for i in (1, 2))
        y = TensorSpec((1, height, width, x.shape[3]), "int8", x.scale, x.zero_point)
        name = BuiltinOperator.AVERAGE_POOL_2D if average else BuiltinOperator.MAX_POOL_2D
        common = {"padding": Padding.SAME if same else Padding.VALID, "strideH": stride, "strideW": stride}
        self.layers.append(
            ModelSpec(name, [x], [y], version=2, **options(
                "Pool2DOptions", filterHeight=kernel, filterWidth=kernel,
                fusedActivationFunction=ActivationFunctionType.NONE, **common,
            ))
        )  # fmt: skip
        return y

    def add(self, a: TensorSpec, b: TensorSpec) -> TensorSpec:
        y = TensorSpec(a.shape, "int8", 2 * SCALE, self._zero())
        self.layers.append(ModelSpec(BuiltinOperator.ADD, [a, b], [y], version=2, **options("AddOptions")))
        return y

    def relu(self, x: TensorSpec) -> TensorSpec:
        y = TensorSpec(x.shape, "int8", x.scale, x.zero_point)
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
        y = TensorSpec((*parts[0].shape[:3], channels), "int8", parts[0].scale, parts[0].zero_point)
        chosen = options("ConcatenationOptions", axis=3)
        self.layers.append(ModelSpec(BuiltinOperator.CONCATENATION, list(parts), [y], version=2, **chosen))
        return y

    def reshape(self, x: TensorSpec, shape: Sequence[int]) -> TensorSpec:
        wanted = TensorSpec((len(shape),), "int32", data=np.array(shape, np.int32))
        y = TensorSpec(tuple(shape), "int8", x.scale, x.zero_point)
        chosen = options("ReshapeOptions", newShape=list(shape))
        self.layers.append(ModelSpec(BuiltinOperator.RESHAPE, [x, wanted], [y], **chosen))
        return y

    def model(self) -> bytes:
        """The .tflite file; its outputs are the tensors that no layer reads."""
        return build_chain(self.layers)

    def graph(self, name: str = "net") -> Graph:
        return simplify(read_tflite(self.model(), name=name))

    def _zero(self) -> int:
        return int(self.rng.integers(-128, 128))


def _size(size: int, kernel: int, stride: int, dilation: int, same: bool) -> int:
    return -(-size // stride) if same else (size - (kernel - 1) * dilation - 1) // stride + 1
