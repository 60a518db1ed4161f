"""Folding and requantization constants of the int8 multiply-accumulate kernels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.fixed_point import Activation, Rounding, float_activation_range, quantized_activation_range
from tinygen.ir.ops import mac as semantics
from tinygen.ir.ops.base import Node
from tinygen.lowering.plan import Constant

_SCALE_FUNCTIONS = {Rounding.TWICE: "tg_requantize", Rounding.ONCE: "tg_requantize_once"}


def scale_function(node: Node) -> str:
    """The C function that scales an accumulator of this layer."""
    rounding = getattr(node.op, "ROUNDING", Rounding.TWICE)
    if node.output.dtype == np.int16:
        return "tg_requantize_once_64" if rounding is Rounding.ONCE else "tg_requantize_64"
    return _SCALE_FUNCTIONS[rounding]


@dataclass(frozen=True, eq=False)
class Requantization:
    """What the epilogue of a kernel needs.

    Attributes:
        context: template values: output_zero, low, high, per_channel, and multiplier and shift when
            one pair serves all channels.
        constants: `multipliers` and `shifts` arrays when there is one pair per channel.
    """

    context: dict[str, Any]
    constants: tuple[Constant, ...]


def requantization(node: Node, *, channels: int) -> Requantization:
    """Multipliers, shifts, output zero point and clamp of an int8 layer."""
    multiplier, shift = semantics.multipliers(node)
    activation: Activation = getattr(node.op, "activation", Activation.NONE)
    low, high = quantized_activation_range(activation, node.output)
    context: dict[str, Any] = {
        "output_zero": node.output.zero_point,
        "low": low,
        "high": high,
        "per_channel": len(multiplier) > 1,
        "scale_function": scale_function(node),
    }
    if len(multiplier) == 1:
        context |= {"multiplier": int(multiplier[0]), "shift": int(shift[0])}
        return Requantization(context, ())
    return Requantization(
        context,
        (
            Constant("multipliers", multiplier.astype(np.int32), f"[{channels}]"),
            Constant("shifts", shift.astype(np.int8), f"[{channels}]"),
        ),
    )


def folded_bias(node: Node, *, axis: int) -> Constant:
    """bias[c] - input_zero * sum of weights[c]: the zero point costs nothing at run time.

    Args:
        node: an int8 layer with constant weights and bias.
        axis: the output-channel axis of the weights.
    """
    weights = node.constant(1).astype(np.int64) - node.input(1).zero_point
    sums = weights.sum(axis=tuple(i for i in range(weights.ndim) if i != axis))
    bias = node.constant(2).reshape(-1).astype(np.int64) if node.optional(2) is not None else np.zeros_like(sums)
    folded = bias - node.input(0).zero_point * sums
    return Constant("bias", folded.astype(np.int32), f"[{len(folded)}], input zero point folded in")


def bias_or_zeros(node: Node, channels: int, dtype: type) -> Constant:
    """The bias as it is, in the accumulator's type; zeros when the layer has none."""
    bias = node.constant(2).reshape(-1) if node.optional(2) is not None else np.zeros(channels)
    return Constant("bias", bias.astype(dtype), f"[{channels}]")


def float_clamp(node: Node) -> dict[str, Any]:
    """Template values `low` and `high` of a fused activation on floats; None where there is no bound."""
    low, high = float_activation_range(getattr(node.op, "activation", Activation.NONE))
    return {"low": None if math.isinf(low) else low, "high": None if math.isinf(high) else high}
