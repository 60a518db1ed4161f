"""Bias correction: the mean error of each channel, measured, becomes part of its bias.

Both networks run side by side on the calibration data, operator by operator, so that each layer makes up for what all
layers before it have lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.frontends.ptq.calibrate import Sample
from tinygen.frontends.ptq.weights import dequantized
from tinygen.ir.fixed_point import Activation, round_half_away
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Tensor

_ABSENT = np.zeros(0, np.int64)


class Correction:
    """The float network and the quantized one on some samples, as far as the latter is made."""

    def __init__(self, source: Graph, inputs: Sequence[Tensor], samples: Sequence[Sample]) -> None:
        self.source = source
        self.last = {name: op.name for op in source.ops for name in op.inputs}
        self.real = [dict(zip(source.inputs, map(np.asarray, sample), strict=True)) for sample in samples]
        self.codes = [
            {tensor.name: quantized(np.asarray(value), tensor) for tensor, value in zip(inputs, sample, strict=True)}
            for sample in samples
        ]

    def error(self, op: Op, x: Tensor, weights: Tensor) -> np.ndarray:
        """Per output channel: mean of what the float operator gives, less that of what the codes stand for.

        Args:
            op: the multiply-accumulate operator of the source; its bias does not matter.
            x, weights: its operands in the quantized network.
        """
        bare: Any = replace(op, activation=Activation.NONE, inputs=op.inputs[:2])  # type: ignore[call-arg]
        tensors = [self.source.tensors[name] for name in bare.inputs]
        node = Node(bare, tuple(tensors), (self.source.tensors[op.outputs[0]],))
        exact, rounded = node.constant(1), dequantized(weights)
        total: Any = 0.0
        for real, codes in zip(self.real, self.codes, strict=True):
            wanted = bare.evaluate(node, [real[x.name], exact])[0]
            centred = codes[x.name].astype(np.float32) - np.float32(x.zero_point)
            given = bare.evaluate(node, [centred * np.float32(x.scale), rounded])[0]
            total = total + (wanted.astype(np.float64) - given).mean(axis=tuple(range(wanted.ndim - 1)))
        return np.asarray(total / len(self.real))

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


def quantized(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Real values as codes of a tensor; float tensors take them as they are."""
    if tensor.is_float:
        return values.astype(np.float32)
    info = np.iinfo(tensor.dtype)
    codes = round_half_away(values.astype(np.float32) / np.float32(tensor.scale)) + tensor.zero_point
    return np.clip(codes, info.min, info.max).astype(tensor.dtype)
