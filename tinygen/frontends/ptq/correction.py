"""Bias correction: the mean error of each channel, measured, becomes part of its bias.

Both networks run in step on the calibration data, operator by operator, so that each layer also corrects the errors of
all layers before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.frontends.ptq.calibrate import Sample
from tinygen.frontends.ptq.weights import dequantized
from tinygen.ir.encodings import Affine
from tinygen.ir.fixed_point import round_half_away
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.transpose_conv import TransposeConv, scattered
from tinygen.ir.ops.window import Axis, patches
from tinygen.ir.tensor import Tensor

_ABSENT = np.zeros(0, np.int64)


class Correction:
    """The float network and the quantized one on some samples, up to the last operator converted so far."""

    def __init__(self, source: Graph, inputs: Sequence[Tensor], samples: Sequence[Sample]) -> None:
        self.source = source
        self.last = {name: op.name for op in source.ops for name in op.inputs}
        self.real = [dict(zip(source.inputs, map(np.asarray, sample), strict=True)) for sample in samples]
        self.codes = [
            {tensor.name: quantized(np.asarray(value), tensor) for tensor, value in zip(inputs, sample, strict=True)}
            for sample in samples
        ]

    def error(self, op: Op, x: Tensor, weights: Tensor) -> np.ndarray:
        """Per output channel, the mean output of the float operator minus the mean real value of the quantized one.

        Both before the activation. Means are linear: that of the outputs is the weights times those of the inputs.

        Args:
            op: the multiply-accumulate operator of the source; its bias does not matter.
            x, weights: its operands in the quantized network.
        """
        node = self.source.node(op)
        real = np.mean([mean_taps(node, values[x.name]) for values in self.real], axis=0)
        codes = np.mean([mean_taps(node, x.affine.integers(values[x.name])) for values in self.codes], axis=0)
        return mean_output(node, real, node.constant(1)) - mean_output(node, codes * x.scale, dequantized(weights))

    def run(self, node: Node) -> None:
        """One more operator of the quantized network."""
        for values in self.codes:
            arguments = [
                _ABSENT if tensor is None else values[tensor.name] if tensor.data is None else tensor.data
                for tensor in node.inputs
            ]
            results = node.op.evaluate(node, arguments)
            values |= zip(node.op.outputs, results, strict=True)

    def step(self, op: Op) -> None:
        """One more operator of the float network; then drops what nothing reads any more."""
        node = self.source.node(op)
        for values in self.real:
            arguments = [
                _ABSENT if tensor is None else values[tensor.name] if tensor.data is None else tensor.data
                for tensor in node.inputs
            ]
            values |= zip(op.outputs, op.evaluate(node, arguments), strict=True)
        for name in op.inputs:
            if self.last.get(name) == op.name:
                for values in (*self.real, *self.codes):
                    values.pop(name, None)


def mean_taps(node: Node, x: np.ndarray) -> np.ndarray:
    """Mean input of each weight over all positions of the window: [KH, KW, C], or [I] for dense layers."""
    op: Any = node.op
    if isinstance(op, FullyConnected):
        return np.asarray(x.reshape(-1, node.input(1).shape[1]).mean(axis=0, dtype=np.float64))
    rows, columns = op.geometry(node)
    if isinstance(op, TransposeConv):
        return _mean_scattered(op, x, rows, columns)
    return np.asarray(patches(x, rows, columns, 0).mean(axis=(0, 1, 2), dtype=np.float64))


def _mean_scattered(op: TransposeConv, x: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
    """The same for a transposed convolution: the mean over its output of what each weight is multiplied with."""
    taps = np.zeros((rows.kernel, columns.kernel, x.shape[3]))
    for ky in range(rows.kernel):
        _, top, bottom = scattered(rows, ky, op.size[0])
        for kx in range(columns.kernel):
            _, left, right = scattered(columns, kx, op.size[1])
            taps[ky, kx] = x[:, top:bottom, left:right].sum(axis=(0, 1, 2), dtype=np.float64)
    return taps / (x.shape[0] * op.size[0] * op.size[1])


def mean_output(node: Node, taps: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of each output channel, without bias."""
    op = node.op
    if isinstance(op, FullyConnected):
        return np.asarray(weights @ taps)
    if isinstance(op, DepthwiseConv2D):
        return np.asarray((weights[0] * np.repeat(taps, op.multiplier(node), axis=-1)).sum(axis=(0, 1)))
    if isinstance(op, TransposeConv):
        return np.asarray(np.einsum("ohwi,hwi->o", weights, taps))
    assert isinstance(op, Conv2D)
    groups, depth = op.groups(node), weights.shape[3]
    split = weights.reshape(groups, -1, *weights.shape[1:])
    return np.asarray(np.einsum("gohwi,hwgi->go", split, taps.reshape(*taps.shape[:2], groups, depth))).reshape(-1)


def quantized(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Real values as codes of a tensor; those of floats, and of integers without a scale, are the values."""
    if not isinstance(tensor.encoding, Affine):
        return values.astype(tensor.dtype)
    info = np.iinfo(tensor.dtype)
    codes = round_half_away(values.astype(np.float32) / np.float32(tensor.scale)) + tensor.zero_point
    return np.clip(codes, info.min, info.max).astype(tensor.dtype)
