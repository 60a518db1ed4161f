"""SVDF: a dense layer over the last frames, its weights a sum of products of a vector and a filter over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import Affine
from tinygen.ir.fixed_point import (
    Activation,
    float_activation_range,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    wrap_int32,
)
from tinygen.ir.ops import mac
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape, Tensor

X, STATE, FEATURES, TIME, BIAS = range(5)


@dataclass(frozen=True, kw_only=True)
class Svdf(Op):
    """Inputs: x [1, I]; the state [1, F * M], of each of F filters what it gave in the last M invocations; weights of
    features [F, I] and of time [F, M]; a bias [U] or "". Outputs: [1, U], F being U times the rank; and the state.

    Each filter's product with x goes behind its M - 1 last ones, the oldest being dropped; a unit is the sum, over its
    filters, of these M numbers' products with the weights of time, and its bias.

    All is float32; or x and the output are int8, weights of features int8, the bias int32, and weights of time and the
    state both int16, or both int8: the integer kernels of TFLite and TensorFlow Lite Micro (`EvalIntegerSVDF` of
    reference/svdf.h and of svdf_common.cc), bit for bit. Source: Nakkiran et al., "Compressing deep neural networks
    using a rank-constrained topology", 2015.

    Attributes:
        rank: filters of a unit.
        activation: of floats; integers are held within the output's codes alone.
    """

    KIND: ClassVar[str] = "svdf"

    rank: int
    activation: Activation = Activation.NONE

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [(1, node.input(FEATURES).shape[0] // self.rank), node.input(STATE).shape]

    def check(self, node: Node) -> None:
        x, state, features, time = (node.input(index) for index in (X, STATE, FEATURES, TIME))
        filters, memory = time.shape
        node.require(self.rank > 0 and filters % self.rank == 0, f"{filters} filters of rank {self.rank}")
        node.require(features.shape == (filters, x.shape[-1]), f"weights {list(features.shape)} of {filters} filters")
        node.require(x.size == x.shape[-1], "batches are not supported")
        node.require(state.size == filters * memory, f"a state {list(state.shape)} of {filters} filters")
        node.require(features.is_constant and time.is_constant, "weights must be constants")
        bias = node.optional(BIAS)
        fits = bias is None or (bias.is_constant and bias.shape == (filters // self.rank,))
        node.require(fits, "the bias must be a constant, a number for each unit")
        node.require(node.outputs[1].encoding == state.encoding, "the state must keep its encoding")
        tensors = [tensor for tensor in (*node.inputs, *node.outputs) if tensor is not None]
        if not x.is_float:
            self._check_integers(node)
            return
        node.require(all(tensor.is_float for tensor in tensors), "operands must all be float32")

    def _check_integers(self, node: Node) -> None:
        state, time, bias = node.input(STATE), node.input(TIME), node.optional(BIAS)
        for tensor in (node.input(X), node.input(FEATURES), node.output):
            node.require(_has_one_scale(tensor, np.int8), f"{tensor.encoding} of '{tensor.name}' is not int8")
        wide = state.dtype.type if state.dtype in (np.int8, np.int16) else np.int16
        for tensor in (state, time):
            node.require(_has_one_scale(tensor, wide), f"{tensor.encoding} of '{tensor.name}' is not {np.dtype(wide)}")
        symmetric = (node.input(FEATURES), time, *((state,) if wide is np.int16 else ()))
        node.require(all(tensor.zero_point == 0 for tensor in symmetric), "weights must have zero point 0")
        node.require(bias is None or bias.dtype == np.int32, "the bias must be int32")
        node.require_multipliers(scales(node))
        node.require(_largest_sum(node) < 2**31, "sums may not fit 32 bits")

    def macs(self, node: Node) -> int:
        return node.input(FEATURES).size + node.input(TIME).size

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        filters, memory = node.input(TIME).shape
        state = np.empty((filters, memory), node.input(STATE).dtype)
        state[:, :-1] = values[STATE].reshape(filters, memory)[:, 1:]
        of = _real if node.input(X).is_float else _integer
        y, state = of(node, self, values, state)
        return [y.reshape(node.output.shape), state.reshape(node.input(STATE).shape)]


def scales(node: Node) -> tuple[float, float]:
    """Multipliers of the filters' products and of the units' sums, in single precision as LiteRT computes them."""
    x, state, features, time = (np.float32(node.input(index).scale) for index in (X, STATE, FEATURES, TIME))
    return float(x * features / state), float(state * time / np.float32(node.output.scale))


def _real(node: Node, op: Svdf, values: Sequence[np.ndarray], state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    state[:, -1] = mac.product(values[FEATURES], values[X].reshape(-1, 1))[:, 0]
    products = (state.astype(np.float64) * values[TIME]).sum(axis=1).reshape(-1, op.rank).sum(axis=1)
    sums = products + (values[BIAS] if values[BIAS].size else 0)
    return np.clip(sums, *float_activation_range(op.activation)).astype(np.float32), state


def _integer(node: Node, op: Svdf, values: Sequence[np.ndarray], state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = (quantize_multiplier(scale) for scale in scales(node))
    kept = node.input(STATE)
    low, high = kept.code_range
    sums = values[FEATURES].astype(np.int64) @ (values[X].reshape(-1).astype(np.int64) - node.input(X).zero_point)
    held = np.clip(multiply_by_quantized_multiplier(sums, *first), low, high) + kept.zero_point
    state[:, -1] = held.astype(state.dtype)  # beyond the codes it wraps, as in TensorFlow Lite Micro
    integers = state.astype(np.int64) - kept.zero_point
    products = (integers * values[TIME]).sum(axis=1).reshape(-1, op.rank).sum(axis=1)
    totals = wrap_int32(products + (values[BIAS].astype(np.int64) if values[BIAS].size else 0))
    codes = multiply_by_quantized_multiplier(totals, *second) + node.output.zero_point
    return np.clip(codes, *node.output.code_range).astype(np.int8), state


def _has_one_scale(tensor: Tensor, dtype: type[np.generic]) -> bool:
    return isinstance(tensor.encoding, Affine) and tensor.dtype == dtype and not tensor.encoding.per_channel


def _largest_sum(node: Node) -> int:
    """A bound of the filters' sums. Those of units wrap, as in LiteRT."""
    return 256 * int(np.abs(node.constant(FEATURES).astype(np.int64)).sum(axis=1).max())
