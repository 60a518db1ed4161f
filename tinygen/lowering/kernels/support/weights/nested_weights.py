"""Weights of 1, 2, 4 or 8 bits, read from 8-bit codes that the network's switches share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.nesting import NESTED_BITS, PARENT_BITS, derived_codes, odd_level_bits
from tinygen.ir.tensor import Tensor
from tinygen.lowering.plan import Constant


@dataclass(frozen=True, eq=False)
class NestedCode:
    """weight = 2 c - (2^bits - 1), with c the code of `bits` bits that is derived from an 8-bit code
    (`tinygen.ir.nesting`).

    Attributes:
        bits: 1, 2, 4 or 8.
        parent: uint8 [O, KH, KW, I] of the widest layer that shares them.
        falling: bool [O] of this layer: channels whose weights are negated.
    """

    bits: int
    parent: np.ndarray
    falling: np.ndarray

    table_bytes = 0
    # Per pair of weights: halves apart, multiply, shift, mask, subtract, store, half of a load and of an XOR.
    extend_cycles = 3.2

    @property
    def name(self) -> str:
        """For names of kernels and functions."""
        return f"n{self.bits}"

    def context(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Template values for weights [O, KH, KW, I]: the parent's rows may be longer."""
        _, rows, columns, depth = shape
        whole = depth == self.parent.shape[3]
        taps = rows * columns * depth
        return {
            "kind": "nested",
            "bits": self.bits,
            "segments": 1 if whole else rows * columns,
            "segment_words": -(-taps // 4) * 4 if whole else depth,
            "pitch": 0 if whole else self.parent.shape[3],
            "words": -(-self.parent[0].size // 4) * 4,
            "flips": bool(self.falling.any()),
        }

    def constants(self) -> tuple[Constant, ...]:
        """Which bytes are complemented: 255 - q stands for the negated weight of q, in any number of bits."""
        if not self.falling.any():
            return ()
        padded = np.zeros(-(-len(self.falling) // 4) * 4, np.uint32)
        padded[: len(self.falling)] = self.falling
        # Even bytes of a word belong to one filter, odd ones to the next.
        words = padded[0::2] * np.uint32(0x00FF00FF) | padded[1::2] * np.uint32(0xFF00FF00)
        return (Constant("flips", words, "two filters to a word: weights that are negated"),)


def nested_code(weights: Tensor, falling: np.ndarray) -> NestedCode | None:
    """How these weights are read from 8-bit codes; None if they are not levels of such codes, or not in whole words.

    Args:
        weights: of a convolution. 8-bit levels that no other layer shares are their own codes.
        falling: bool [O], channels whose weights are negated.
    """
    bits, parent = odd_level_bits(weights.encoding), weights.nested_in
    if parent is None and bits == 8:
        parent = weights.data
    if bits not in NESTED_BITS or parent is None:
        return None
    if parent.shape[3] != weights.shape[3] and (parent.shape[3] % 4 or weights.shape[3] % 4):
        return None
    corner = parent[: weights.shape[0], ..., : weights.shape[-1]]
    assert weights.data is not None
    assert np.array_equal(derived_codes(corner, PARENT_BITS, bits), weights.data), weights.name
    return NestedCode(bits, parent, falling)
