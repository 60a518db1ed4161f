"""How a tuned int8 kernel turns accumulators into codes: constants per channel, and which form the C takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.fixed_point import Activation, Rounding, quantized_activation_range
from tinygen.ir.ops import mac as semantics
from tinygen.ir.ops.base import Node
from tinygen.lowering.kernels.support.mac import folded_bias
from tinygen.lowering.kernels.support.staircase import fit
from tinygen.lowering.plan import Constant

_SMALL = 2**30


@dataclass(frozen=True, eq=False)
class Epilogue:
    """What a kernel's template needs to finish a sum of products.

    Attributes:
        context: template values for kernels/requantize.j2.
        rows: int32 [channels, words]: bias first, then what the form wants.
        layout: one phrase on the words.
    """

    context: dict[str, Any]
    rows: np.ndarray
    layout: str

    def constant(self, order: np.ndarray | None = None) -> Constant:
        """The rows as one array, channels in another order when one is given."""
        rows = self.rows if order is None else self.rows[order]
        return Constant("channels", rows.reshape(-1).astype(np.int32), f"per channel: {self.layout}")


def epilogue(node: Node, *, axis: int) -> Epilogue:
    """The cheapest form that equals the semantics on every accumulator this layer can reach.

    `fused`: multiply-add and saturate (see `staircase`). `stepwise`: the two roundings one after the other, without
    branches. `plain`: the function the portable kernels call.

    Args:
        node: an int8 layer with constant weights.
        axis: the output-channel axis of the weights.
    """
    bias = folded_bias(node, axis=axis).data.astype(np.int64)
    lows, highs = reachable(node, bias, axis=axis)
    activation: Activation = getattr(node.op, "activation", Activation.NONE)
    low, high = quantized_activation_range(activation, node.output)
    context: dict[str, Any] = {
        "low": low,
        "high": high,
        "clamped": low > -128 or high < 127,
        "output_zero": node.output.zero_point,
    }
    return (
        _fused(node, activation, bias, lows, highs, context)
        or _stepwise(node, bias, lows, highs, context)
        or _plain(node, bias, context)
    )


def reachable(node: Node, bias: np.ndarray, *, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest accumulator per channel, over all input codes; `bias` has the zero point folded in."""
    weights = np.moveaxis(node.constant(1), axis, 0).reshape(len(bias), -1).astype(np.int64)
    positive, negative = np.maximum(weights, 0).sum(axis=1), np.minimum(weights, 0).sum(axis=1)
    return bias - 128 * positive + 127 * negative, bias + 127 * positive - 128 * negative


def _fused(
    node: Node, activation: Activation, bias: np.ndarray, lows: np.ndarray, highs: np.ndarray, context: dict[str, Any]
) -> Epilogue | None:
    rounding: Rounding = getattr(node.op, "ROUNDING", Rounding.TWICE)
    real = np.array(semantics.real_multipliers(node)) * np.ones(len(bias))

    def staircase(accumulators: np.ndarray) -> np.ndarray:
        return semantics.requantize(node, accumulators, activation, rounding)

    if max(np.abs(lows).max(), np.abs(highs).max()) >= _SMALL or not _rises(node, lows, highs):
        return None
    found = fit(staircase, real, lows, highs, context["low"], context["high"])
    if found is None:
        return None
    rows = np.stack([bias + found.moved, found.multiplier, found.offset], axis=1)
    return Epilogue(
        context | {"form": "fused", "words": 3, "shift": found.shift}, rows, "bias, multiplier, offset"
    )


def _stepwise(
    node: Node, bias: np.ndarray, lows: np.ndarray, highs: np.ndarray, context: dict[str, Any]
) -> Epilogue | None:
    if getattr(node.op, "ROUNDING", Rounding.TWICE) is not Rounding.TWICE:
        return None
    multiplier, shift = (np.broadcast_to(x, bias.shape) for x in semantics.multipliers(node))
    largest = int(max(np.abs(lows).max(), np.abs(highs).max()))
    if shift.max() >= 0 or shift.min() < -24 or largest >= _SMALL:
        return None
    offset = (np.int64(1) << (-shift - 1)) + (node.output.zero_point << -shift)
    scaled = (largest * multiplier) >> 31
    if np.any(scaled + np.abs(offset) + 2 >= 2**31):
        return None
    rows = np.stack([bias, multiplier, offset, -shift], axis=1)
    return Epilogue(context | {"form": "stepwise", "words": 4}, rows, "bias, multiplier, offset, shift")


def _plain(node: Node, bias: np.ndarray, context: dict[str, Any]) -> Epilogue:
    multiplier, shift = (np.broadcast_to(x, bias.shape) for x in semantics.multipliers(node))
    rows = np.stack([bias, multiplier, shift], axis=1)
    return Epilogue(context | {"form": "plain", "words": 3}, rows, "bias, multiplier, shift")


def _rises(node: Node, lows: np.ndarray, highs: np.ndarray) -> bool:
    """Whether no accumulator overflows on its way, so that codes never fall as it rises."""
    _, shift = semantics.multipliers(node)
    return bool(int(max(np.abs(lows).max(), np.abs(highs).max())) << max(int(shift.max()), 0) < _SMALL)
