"""From how many zeros on the kernels for sparse weights pay: the break-even sparsity of a layer."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from tinygen.ir.encodings import IntegerEncoding
from tinygen.ir.ops.base import Node
from tinygen.ir.tensor import Tensor
from tinygen.lowering.select import DENSE, SPARSE, choose

_STEPS = 8
"""Halvings of the interval: an answer is within 1/512."""


def break_even(node: Node, isa: Collection[str]) -> float | None:
    """The share of kernels that must be zero for a sparse kernel to take fewer predicted cycles than any dense one.

    Kernels are those of an output and an input channel, in dense layers single weights; random ones of them are zero.

    Args:
        node: a convolution or a dense layer with constant weights.
        isa: what the board's core offers.

    Returns:
        0 to 1; None where weights cannot be zero, or no sparse kernel pays.
    """
    weights = node.input(1)
    zero, codes = zero_code(weights), weights.data
    if zero is None or codes is None:
        return None
    dense = choose(node, DENSE, isa).fastest.cycles
    order = np.random.default_rng(0).random((weights.shape[0], *[1] * (len(weights.shape) - 2), weights.shape[-1]))

    def pays(sparsity: float) -> bool:
        data = np.where(order < sparsity, zero, codes).astype(weights.dtype)
        masked = replace(node, inputs=(node.inputs[0], replace(weights, data=data), *node.inputs[2:]))
        choice = choose(masked, SPARSE, isa)
        return choice.kernel.is_sparse and choice.fastest.cycles < dense

    low, high = 0.0, 1.0
    if not pays(high):
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if pays(middle) else (middle, high)
    return (low + high) / 2


def zero_code(weights: Tensor) -> int | None:
    """The code that stands for 0; None where there is none, or not one for all channels."""
    encoding = weights.encoding
    if not isinstance(encoding, IntegerEncoding) or weights.data is None or not weights.data.size:
        return None
    low, high = encoding.code_range
    for code in range(low, high + 1):
        if not encoding.integers(np.full_like(weights.data, code)).any():
            return code
    return None
