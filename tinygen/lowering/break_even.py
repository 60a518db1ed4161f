"""The break-even sparsity of a layer: the share of zeros from which sparse kernels are faster than dense ones."""

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
    """The share of zero kernels from which a sparse C kernel takes fewer predicted cycles than any dense one.

    "Kernels" here are the weights of one output and one input channel, in dense layers single weights; zeros are
    random.

    Args:
        node: a convolution or a dense layer with constant weights.
        isa: what the board's core offers.

    Returns:
        0 to 1; None if weights cannot be zero, or no sparse kernel is ever faster.
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
    """The code that stands for 0; None if there is none, or it differs between channels."""
    encoding = weights.encoding
    if not isinstance(encoding, IntegerEncoding) or weights.data is None or not weights.data.size:
        return None
    low, high = encoding.code_range
    for code in range(low, high + 1):
        if not encoding.integers(np.full_like(weights.data, code)).any():
            return code
    return None
