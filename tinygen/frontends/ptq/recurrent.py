"""Quantizes an LSTM as TensorFlow's converter does: int8 with one scale for each matrix, a cell of int16."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tinygen.frontends.ptq.calibrate import Range
from tinygen.frontends.ptq.weights import quantize_bias
from tinygen.ir.encodings import Affine
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.lstm import BIASES, CELL, GATES, HIDDEN, RECURRENT, WEIGHTS, Lstm, X
from tinygen.ir.tensor import Tensor

_LARGEST = 127
_MOST_BITS = 6


def has_known_states(node: Node) -> bool:
    """Whether the states before the first step are constants."""
    return all(node.input(index).is_constant for index in (HIDDEN, CELL))


def integer_lstm(
    node: Node, x: Affine, hidden: Affine, cells: Range, unique: Callable[[str], str]
) -> tuple[Lstm, list[Tensor]]:
    """The integer layer, with states of other names as its outputs 1 and 2, and the tensors that it brings.

    Args:
        node: of floats, its states constants.
        x, hidden: encodings of the input and of the hidden state.
        cells: the least and the largest value of the cell in any step.
        unique: makes a name that no other tensor has.
    """
    op = node.op
    assert isinstance(op, Lstm)
    # Integer bits such that the cell's largest value fits.
    bits = min(max(math.ceil(math.log2(max(map(abs, cells)) or 1.0)), 0), _MOST_BITS)
    cell = Affine("int16", (2.0 ** (bits - 15),), (0,))
    brought = [_coded(node.input(HIDDEN), hidden, unique), _coded(node.input(CELL), cell, unique)]
    for first, given in ((WEIGHTS, x), (RECURRENT, hidden)):
        for gate in range(GATES):
            bias = node.optional(BIASES + gate) if first == WEIGHTS else None
            brought.append(_matrix(node.input(first + gate), given, bias, unique))
    for gate in range(GATES):
        bias = node.optional(BIASES + gate)
        if bias is not None and bias.data is not None:
            name, one = unique(bias.name), brought[WEIGHTS - 1 + gate].affine
            codes = quantize_bias(name, bias.data.astype(np.float64), x.scale[0], one)
            brought.append(replace(codes, encoding=Affine("int32", (codes.affine.scale[0],), (0,))))
    names = [tensor.name for tensor in brought]
    after = [
        Tensor(unique(f"{op.outputs[index]}_codes"), node.outputs[index].shape, encoding)
        for index, encoding in ((1, hidden), (2, cell))
    ]
    absent = [""] * (BIASES + GATES - 1 - len(names))
    inputs = (op.inputs[X], *names, *absent)
    outputs = (op.outputs[0], *(tensor.name for tensor in after))
    return replace(op, inputs=inputs, outputs=outputs), [*brought, *after]


def _coded(state: Tensor, encoding: Affine, unique: Callable[[str], str]) -> Tensor:
    assert state.data is not None
    info = np.iinfo(encoding.dtype)
    codes = np.round(state.data.astype(np.float64) / encoding.scale[0]) + encoding.zero_point[0]
    data = np.clip(codes, info.min, info.max).astype(encoding.dtype)
    return Tensor(unique(state.name), state.shape, encoding, data)


def _matrix(weights: Tensor, given: Affine, bias: Tensor | None, unique: Callable[[str], str]) -> Tensor:
    """Symmetric int8; with a scale that is large enough for the bias to fit 32 bits."""
    assert weights.data is not None
    data = weights.data.astype(np.float64)
    most = 0.0 if bias is None or bias.data is None else float(np.abs(bias.data).max())
    scale = max(float(np.abs(data).max()) / _LARGEST, most / (given.scale[0] * 2.0**30)) or 1.0
    encoding = Affine("int8", (float(np.float32(scale)),), (0,))
    codes = np.clip(np.round(data / encoding.scale[0]), -_LARGEST, _LARGEST).astype(np.int8)
    return Tensor(unique(weights.name), weights.shape, encoding, codes)
