"""Suite `operators`: layers beside int8's convolutions and dense layers: means, matrix products, resizing, 16-bit
activations (TFLite's 16x8), and what only copies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from tinygen.bench.case import case_of
from tinygen.bench.suites import SuiteCases, SuiteOptions, suite
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.names import c_name
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.batch_matmul import BatchMatmul
from tinygen.ir.ops.binary import Add, Maximum
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.movement import Transpose
from tinygen.ir.ops.pad import Pad
from tinygen.ir.ops.pool_2d import MaxPool2D
from tinygen.ir.ops.prelu import Prelu
from tinygen.ir.ops.reduce import Mean, ReduceMax
from tinygen.ir.ops.resize import ResizeBilinear, ResizeNearestNeighbor
from tinygen.ir.ops.transpose_conv import TransposeConv
from tinygen.ir.ops.unary import HardSwish
from tinygen.ir.ops.window import Padding
from tinygen.ir.tensor import Shape, Tensor

SUITE = "operators"
_IMAGE: Shape = (1, 16, 16, 32)
_ONE: dict[str, Any] = {"name": "layer", "inputs": ("x",), "outputs": ("y",)}
_TWO: dict[str, Any] = {"name": "layer", "inputs": ("x", "other"), "outputs": ("y",)}
_WEIGHTS: dict[str, Any] = {"name": "layer", "inputs": ("x", "weights", "bias"), "outputs": ("y",)}
_SLIDING: dict[str, Any] = {"padding": Padding.SAME, "stride": (1, 1)}
_BORDER = ((0, 0), (1, 1), (1, 1), (0, 0))


@suite(SUITE, "means, matrix products, resizing, 16-bit activations, copies: what convolutions leave", ("compact",))
def cases(options: SuiteOptions) -> SuiteCases:
    return SuiteCases([case_of(SUITE, name, make(name)) for name, make in _makers().items()])


def _makers() -> Mapping[str, Callable[[str], MemoryModel]]:
    """By the case's name."""
    half = (1, 16, 16, 16)
    window: dict[str, Any] = {"padding": Padding.VALID, "kernel": (2, 2), "stride": (2, 2)}
    one: dict[str, tuple[Op, Shape, Shape]] = {
        "mean_of_image_int8": (Mean(**_ONE, axes=(1, 2), keep_dims=False), (1, 8, 8, 64), (1, 64)),
        "mean_of_rows_int8": (Mean(**_ONE, axes=(1,), keep_dims=False), _IMAGE, (1, 16, 32)),
        "mean_of_channels_int8": (Mean(**_ONE, axes=(3,), keep_dims=False), _IMAGE, (1, 16, 16)),
        "largest_of_image_int8": (ReduceMax(**_ONE, axes=(1, 2), keep_dims=False), (1, 8, 8, 64), (1, 64)),
        "hard_swish_int8": (HardSwish(**_ONE), _IMAGE, _IMAGE),
        "bilinear_int8": (
            ResizeBilinear(**_ONE, size=(16, 16), align_corners=False, half_pixel_centers=True),
            (1, 8, 8, 32),
            _IMAGE,
        ),
        "nearest_int8": (
            ResizeNearestNeighbor(**_ONE, size=(16, 16), align_corners=False, half_pixel_centers=False),
            (1, 8, 8, 32),
            _IMAGE,
        ),
        "pad_int8": (Pad(**_ONE, paddings=_BORDER, value=-7), _IMAGE, (1, 18, 18, 32)),
        "transpose_int8": (Transpose(**_ONE, permutation=(0, 3, 1, 2)), _IMAGE, (1, 32, 16, 16)),
        "max_pool_int16": (MaxPool2D(**_ONE, **window), _IMAGE, (1, 8, 8, 32)),
    }
    two: dict[str, tuple[Op, Shape, Shape]] = {
        "product_int8": (BatchMatmul(**_TWO, adjoint_first=False, adjoint_second=True), (2, 32, 32), (2, 32, 32)),
        "concatenation_int8": (Concatenation(**_TWO, axis=3), half, _IMAGE),
        "maximum_int8": (Maximum(**_TWO), _IMAGE, _IMAGE),
        "sum_int8": (Add(**_TWO), _IMAGE, _IMAGE),
        "sum_int16": (Add(**_TWO), _IMAGE, _IMAGE),
    }
    convolution = Conv2D(**_WEIGHTS, **_SLIDING)
    transposed = TransposeConv(**_WEIGHTS, padding=Padding.SAME, stride=(2, 2), size=(16, 16))
    weights: dict[str, tuple[Op, Shape, Shape, Shape]] = {
        "conv_3x3": (convolution, (1, 8, 8, 32), (32, 3, 3, 32), (1, 8, 8, 32)),
        "conv_1x1": (convolution, (1, 8, 8, 64), (64, 1, 1, 64), (1, 8, 8, 64)),
        "depthwise": (DepthwiseConv2D(**_WEIGHTS, **_SLIDING), _IMAGE, (1, 3, 3, 32), _IMAGE),
        "dense": (FullyConnected(**_WEIGHTS), (1, 256), (64, 256), (1, 64)),
        "transposed": (transposed, (1, 8, 8, 32), (16, 3, 3, 32), (1, 16, 16, 16)),
    }
    found: dict[str, Callable[[str], MemoryModel]] = {"prelu_int8": _prelu}
    for name, (op, x, y) in (one | two).items():
        found[name] = partial(_plain, op=op, x=x, y=y)
    for name, (op, x, shape, y) in weights.items():
        for kind in ("int8", "int16"):
            found[f"{name}_{kind}"] = partial(_weighted, op=op, x=x, shape=shape, y=y, kind=kind)
    return found


def _affine(kind: str, scale: float, zero_point: int) -> Affine:
    """Codes of 16 bits are finer and have no zero point."""
    wide = kind == "int16"
    return Affine(kind, (float(np.float32(scale / (256 if wide else 1))),), (0 if wide else zero_point,))


def _kind(name: str) -> str:
    return name.rpartition("_")[2]


def _plain(name: str, op: Op, x: Shape, y: Shape) -> MemoryModel:
    """An operator without weights; those that move codes keep their encoding."""
    same = not isinstance(op, Mean | Add | HardSwish | BatchMatmul)
    first = _affine(_kind(name), 0.05, -7)
    last = first if same else _affine(_kind(name), 0.5 if isinstance(op, BatchMatmul) else 0.06, 4)
    tensors = [Tensor("x", x, first), Tensor("y", y, last)]
    if len(op.inputs) > 1:
        tensors.append(Tensor("other", x, first if same else _affine(_kind(name), 0.04, 3)))
    return _model(name, op, tensors, op.inputs)


def _prelu(name: str) -> MemoryModel:
    alpha = np.arange(-16, 16, dtype=np.int8).reshape(1, 1, 32)
    tensors = [
        Tensor("x", _IMAGE, _affine("int8", 0.05, -7)),
        Tensor("other", alpha.shape, _affine("int8", 0.01, 3), alpha),
        Tensor("y", _IMAGE, _affine("int8", 0.06, 4)),
    ]
    return _model(name, Prelu(**_TWO), tensors, ("x",))


def _weighted(name: str, op: Op, x: Shape, shape: Shape, y: Shape, kind: str) -> MemoryModel:
    """A layer with a scale per filter; outputs spread over their codes."""
    rng = np.random.default_rng(list(name.encode()))
    axis = 3 if isinstance(op, DepthwiseConv2D) else 0
    channels, taps = shape[axis], math.prod(shape) // shape[axis]
    scales = tuple(float(np.float32(scale)) for scale in rng.uniform(0.004, 0.008, channels))
    first = _affine(kind, 0.05, -7)
    last = _affine(kind, 0.05 * 0.006 * 73.9**2 * math.sqrt(taps) / 50.0, 4)
    dtype = "int64" if kind == "int16" else "int32"
    bias = rng.integers(-1000, 1000, channels).astype(dtype)
    tensors = [
        Tensor("x", x, first),
        Tensor(
            "weights",
            shape,
            Affine("int8", scales, (0,) * channels, axis),
            rng.integers(-127, 128, shape).astype(np.int8),
        ),
        Tensor("bias", (channels,), Affine(dtype, tuple(first.scale[0] * s for s in scales), (0,) * channels, 0), bias),
        Tensor("y", y, last),
    ]
    return _model(name, op, tensors, ("x",))


def _model(name: str, op: Op, tensors: list[Tensor], inputs: tuple[str, ...]) -> MemoryModel:
    graph = Graph(c_name(name), {tensor.name: tensor for tensor in tensors}, (op,), inputs, op.outputs)
    graph.validate()
    return MemoryModel(graph, name)
