"""Quantizes recurrent layers: an LSTM as TensorFlow's converter does, int8 with one scale for each matrix and a cell of
int16; a GRU likewise, with a state of int16.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinygen.frontends.ptq.calibrate import Range
from tinygen.frontends.ptq.weights import quantize_bias
from tinygen.ir.encodings import Affine
from tinygen.ir.ops import gru, lstm
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.gru import Gru
from tinygen.ir.ops.lstm import CELL, HIDDEN, Lstm
from tinygen.ir.tensor import Tensor

_LARGEST = 127
_MOST_BITS = 6


def has_known_states(node: Node) -> bool:
    """Whether the states before the first step are constants; those of a GRU within 1, as all that follow are."""
    if isinstance(node.op, Lstm):
        return all(node.input(index).is_constant for index in (HIDDEN, CELL))
    data = node.input(HIDDEN).data
    return data is not None and float(np.abs(data).max()) <= 1


@dataclass(frozen=True)
class Quantized:
    """An integer layer.

    Attributes:
        op: its states after the last step have other names than those of the float layer.
        tensors: that it brings.
    """

    op: Lstm | Gru
    tensors: list[Tensor]


def integer_lstm(node: Node, x: Affine, hidden: Affine, cells: Range, unique: Callable[[str], str]) -> Quantized:
    """
    Args:
        node: of floats, its states constants.
        x, hidden: encodings of the input and of the hidden state.
        cells: the least and the largest value of the cell in any step.
        unique: makes a name that no other tensor has.
    """
    # Integer bits such that the cell's largest value fits.
    bits = min(max(math.ceil(math.log2(max(map(abs, cells)) or 1.0)), 0), _MOST_BITS)
    cell = Affine("int16", (2.0 ** (bits - 15),), (0,))
    parts = ((lstm.WEIGHTS, lstm.BIASES, x), (lstm.RECURRENT, None, hidden))
    return _quantized(node, (hidden, cell), parts, lstm.GATES, unique)


def integer_gru(node: Node, x: Affine, y: Affine, unique: Callable[[str], str]) -> Quantized:
    """
    Args:
        node: of floats, its state a constant.
        x, y: encodings of the input and of the output.
        unique: makes a name that no other tensor has.
    """
    parts = ((gru.WEIGHTS, gru.BIASES, x), (gru.RECURRENT, gru.RECURRENT_BIASES, y))
    return _quantized(node, (gru.STATE,), parts, gru.GATES, unique)


def _quantized(
    node: Node,
    states: Sequence[Affine],
    parts: Sequence[tuple[int, int | None, Affine]],
    gates: int,
    unique: Callable[[str], str],
) -> Quantized:
    """
    Args:
        states: their encodings.
        parts: the first inputs of weights and of their biases, if they have own ones, and what is multiplied with.
    """
    op = node.op
    assert isinstance(op, Lstm | Gru)
    begun = [_coded(node.input(1 + index), encoding, unique) for index, encoding in enumerate(states)]
    matrices, biases = [], []
    for first, begin, given in parts:
        for gate in range(gates):
            bias = None if begin is None else node.optional(begin + gate)
            matrix = _matrix(node.input(first + gate), given, bias, unique)
            matrices.append(matrix)
            if begin is not None:
                biases.append(None if bias is None else _bias(bias, given, matrix, unique))
    operands = [*begun, *matrices, *biases]
    after = [
        Tensor(unique(f"{op.outputs[index]}_codes"), node.outputs[index].shape, encoding)
        for index, encoding in enumerate(states, 1)
    ]
    made = replace(
        op,
        inputs=(op.inputs[0], *("" if tensor is None else tensor.name for tensor in operands)),
        outputs=(op.outputs[0], *(tensor.name for tensor in after)),
    )
    return Quantized(made, [*(tensor for tensor in operands if tensor is not None), *after])


def _bias(bias: Tensor, given: Affine, weights: Tensor, unique: Callable[[str], str]) -> Tensor:
    assert bias.data is not None
    codes = quantize_bias(unique(bias.name), bias.data.astype(np.float64), given.scale[0], weights.affine)
    return replace(codes, encoding=Affine("int32", (codes.affine.scale[0],), (0,)))


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
