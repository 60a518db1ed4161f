"""Weights of live channels for tuned kernels, four filters at a time: gathered of all weights, or mixed of experts'."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.encodings import Affine
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.ir.ops.mixed_conv_2d import MixedConv2D
from tinygen.ir.tensor import Tensor
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.epilogues.integer_layer import rescaled
from tinygen.lowering.kernels.support.epilogues.requantize import Epilogue
from tinygen.lowering.kernels.support.weights.experts import Experts, experts_of
from tinygen.lowering.plan import Constant

HEADER = "tinygen_gather.h"
_LARGEST = 2**31 - 1
_OPERANDS = {"input": 0, "weights": 1, "live_in": 2, "live_out": 3, "gamma": 4, "alpha": 5}


@dataclass(frozen=True, eq=False)
class LiveWeights:
    """The weights of a convolution of live channels.

    Attributes:
        shape: of the live ones, [k_out, KH, KW, k_in].
        everything: int8 [O, KH, KW, I]; None where the live ones are computed.
        ending: of all channels.
        context: template values (kernels/support/gathered.j2).
        packed: all channels' weights in few bits, or None.
        experts: that are mixed, or None.
    """

    shape: tuple[int, ...]
    everything: np.ndarray | None
    ending: Epilogue
    context: dict[str, Any]
    packed: FewValues | None = None
    experts: Experts | None = None

    @property
    def placeholder(self) -> np.ndarray:
        """An array of the live weights' shape."""
        return np.broadcast_to(np.int8(0), self.shape)

    @property
    def constants(self) -> tuple[Constant, ...]:
        """Weights, and what finishes sums."""
        if self.experts is not None:
            return self.experts.constant, self.ending.constant()
        if self.everything is None:
            return (self.ending.constant(),)
        return weights_constant(self.everything, self.packed), self.ending.constant()


@dataclass(frozen=True, eq=False)
class FewValues:
    """Weights of few bits, packed.

    Attributes:
        bits: of a code: 1, 2 or 4.
        table: the value of each code.
        rows: uint8 [O, bytes]; each filter's codes begin with a byte, the first in its lowest bits.
    """

    bits: int
    table: tuple[int, ...]
    rows: np.ndarray

    @property
    def context(self) -> dict[str, Any]:
        """Template values."""
        return {"bits": self.bits, "table": list(self.table)}


def few_values(tensor: Tensor, integers: np.ndarray) -> FewValues | None:
    """None for weights of 8 bits, and for more than 16 values.

    Args:
        tensor: the weights.
        integers: of all channels, int8 [O, KH, KW, I].
    """
    values = np.unique(integers)
    if isinstance(tensor.encoding, Affine) or len(values) > 16:
        return None
    bits = next(bits for bits in (1, 2, 4) if 2**bits >= len(values))
    codes = np.searchsorted(values, integers).reshape(len(integers), -1).astype(np.uint8)
    each = 8 // bits
    padded = np.pad(codes, ((0, 0), (0, -codes.shape[1] % each))).reshape(len(codes), -1, each)
    rows = (padded << (bits * np.arange(each, dtype=np.uint8))).sum(axis=2).astype(np.uint8)
    return FewValues(bits, (*values.tolist(), *[0] * (2**bits - len(values))), rows)


def weights_constant(everything: np.ndarray, packed: FewValues | None) -> Constant:
    """All weights, in codes of few bits where these are given."""
    shape = list(everything.shape)
    if packed is None:
        return Constant("weights", everything.reshape(-1), f"{shape}")
    return Constant("weights", packed.rows.reshape(-1), f"{shape} in codes of {packed.bits} bits, filter by filter")


def live_weights(node: Node, zero: int, *, as_bytes: bool) -> LiveWeights | None:
    """None for weights that do not fit a byte, and for sums that might overflow in between.

    Args:
        node: a GatherConv2D, or a MixedConv2D.
        zero: the code of 0 in the activations that are multiplied.
        as_bytes: gathered weights stay bytes, and are not widened.
    """
    op, weights = node.op, node.input(1)
    assert isinstance(op, GatherConv2D)
    mixed = isinstance(op, MixedConv2D)
    experts = experts_of(op.mixing_node(node), simd=not as_bytes) if isinstance(op, MixedConv2D) else None
    everything = None if mixed else _bytes(node)
    if weights.is_constant and everything is None and experts is None:
        return None
    shape = (node.output.shape[3], *weights.shape[1:3], node.input(0).shape[3])
    if not _sums_fit(op, shape):
        return None
    packed = None if everything is None else few_values(weights, everything)
    context = {
        "bytes": as_bytes,
        "computed": not weights.is_constant,
        "listed_in": node.optional(2) is not None,
        "listed_out": node.optional(3) is not None,
        "gamma": node.optional(4) is not None,
        "packed": packed.context if packed else None,
        "row_bytes": packed.rows.shape[1] if packed else math.prod(weights.shape[1:]),
        "all_in": weights.shape[3],
        "zero": zero,
        "experts": experts.context | {"alpha_type": ctype(node.input(5).memory_dtype)} if experts else None,
    }
    return LiveWeights(shape, everything, _ending(node, op), context, packed, experts)


@dataclass(frozen=True, eq=False)
class CompleteWeights:
    """The weights of a convolution of which no list chooses channels.

    Attributes:
        everything: int8 [O, KH, KW, I].
        ending: its biases include the contribution of the code of 0.
    """

    everything: np.ndarray
    ending: Epilogue


def complete_weights(node: Node, zero: int) -> CompleteWeights | None:
    """None where a list chooses channels, and as `live_weights`.

    Args:
        node: a GatherConv2D.
        zero: the code of 0 in the activations that are multiplied.
    """
    everything = _bytes(node)
    if everything is None or node.optional(2) is not None or node.optional(3) is not None:
        return None
    assert isinstance(node.op, GatherConv2D)
    if not _sums_fit(node.op, everything.shape):
        return None
    ending = _ending(node, node.op)
    rows = ending.rows.copy()
    rows[:, 0] -= zero * everything.reshape(len(everything), -1).astype(np.int64).sum(axis=1)
    return CompleteWeights(everything, ending.with_rows(rows))


def _sums_fit(op: GatherConv2D, shape: tuple[int, ...]) -> bool:
    """Whether no sum overflows in between. Codes and zero points are multiplied on their own.

    Args:
        shape: of the weights, OHWI.
    """
    return max(map(abs, op.bias), default=0) + 256 * 128 * math.prod(shape[1:]) <= _LARGEST


def operands_of(node: Node) -> tuple[tuple[str, int], ...]:
    """Parameters for computed operands: activations, mixed weights, lists, gammas, the experts' own weights."""
    return computed_operands(node, **_OPERANDS)


def computed_operands(node: Node, **names: int) -> tuple[tuple[str, int], ...]:
    """Parameters for the inputs that are there and no constants."""
    tensors = {name: node.optional(index) for name, index in names.items()}
    return tuple((name, names[name]) for name, one in tensors.items() if one is not None and one.data is None)


def _bytes(node: Node) -> np.ndarray | None:
    """Constant weights as int8."""
    weights = node.input(1)
    if weights.data is None:
        return None
    integers = weights.integer.integers(weights.data)
    fits = integers.min(initial=0) >= -128 and integers.max(initial=0) <= 127
    return integers.astype(np.int8) if fits else None


def _ending(node: Node, op: GatherConv2D) -> Epilogue:
    """The epilogue of all channels; gammas need a word for the multiplier."""
    filters = op.filters(node)
    bias = np.array(op.bias, np.int64) if op.bias else np.zeros(filters, np.int64)
    apart = ("multiplier",) if node.optional(4) is not None else ()
    return rescaled(op.epilogue, bias, apart=apart)
