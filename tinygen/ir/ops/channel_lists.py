"""Shared by operators on gated channels: lists of live channels and the epilogues of listed channels.

If a gate keeps k of C channels live, the layer's output is [..., k], with a list of the k channel indices beside it.
Dead channels are absent; each stands for the real number 0, bias included (Raju, "Towards Efficient Inference and
Improved Training Efficiency of Deep Neural Networks", 2022, section 3.3.3).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.ir.encodings import Affine, ChannelList, Levels, PowerOfTwo, Ternary
from tinygen.ir.epilogue import Rescale
from tinygen.ir.ops.base import Node
from tinygen.ir.tensor import Tensor

LARGEST_GAMMA = 255
ABSENT = np.zeros(0, np.int64)
"""The values of an optional input that is not there."""


def check_list(node: Node, index: int, *, channels: int, live: int) -> None:
    """Checks that input `index` is absent (all `channels` are live) or lists `live` of them."""
    listed = node.optional(index)
    if listed is None:
        node.require(live == channels, f"{live} of {channels} channels, and no list says which")
        return
    node.require(listed.encoding == ChannelList(channels), f"'{listed.name}' is {listed.encoding}, not of {channels}")
    node.require(listed.size == live, f"'{listed.name}' lists {listed.size} channels, not {live}")
    node.require(listed.data is None, f"'{listed.name}' is a constant: remove the other channels instead")


def listed(values: np.ndarray, channels: int) -> np.ndarray:
    """The listed channels, int64; all of them if the list is absent (empty)."""
    return values.reshape(-1).astype(np.int64) if values.size else np.arange(channels)


def zero_code(tensor: Tensor) -> int | None:
    """The code that stands for the real number 0 in activations; None if there is none."""
    match tensor.encoding:
        case Affine(axis=None):
            return tensor.zero_point
        case Levels(signed=False) | Ternary() | PowerOfTwo():
            return 0
        case _:
            return None


def check_gamma(node: Node, index: int, epilogue: Rescale, live: int) -> None:
    """Checks that input `index`, if present, has an unsigned code of at most 8 bits for each live output."""
    gamma = node.optional(index)
    if gamma is None:
        return
    unsigned = gamma.dtype == np.uint8 and zero_code(gamma) == 0
    node.require(unsigned, f"gammas are unsigned codes of 8 bits with zero 0, not {gamma.encoding}")
    node.require(gamma.size == live, f"{gamma.size} gammas for {live} channels")
    largest = max(map(abs, epilogue.multiplier))
    node.require(largest * LARGEST_GAMMA < 2**31, f"a multiplier of {largest} times a gamma may not fit 32 bits")


def of_listed(epilogue: Rescale, channels: np.ndarray) -> Rescale:
    """The epilogue of the listed channels, in the list's order."""

    def picked(values: tuple[int, ...]) -> tuple[int, ...]:
        return values if len(values) <= 1 else tuple(values[c] for c in channels)

    return replace(
        epilogue,
        multiplier=picked(epilogue.multiplier),
        offset=picked(epilogue.offset),
        shift=picked(epilogue.shift),
        floor=picked(epilogue.floor),
        ceiling=picked(epilogue.ceiling),
    )


def boosted(epilogue: Rescale, gamma: np.ndarray) -> Rescale:
    """The epilogue with its multipliers times gamma, one per channel; unchanged without gammas (empty)."""
    if not gamma.size:
        return epilogue
    factors = gamma.reshape(-1).astype(np.int64) * np.array(epilogue.multiplier, np.int64)
    return replace(epilogue, multiplier=tuple(factors.tolist()))
