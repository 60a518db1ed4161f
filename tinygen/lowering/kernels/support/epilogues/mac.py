"""Folding and requantization constants of the int8 multiply-accumulate kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.fixed_point import (
    Activation,
    Rounding,
    float_activation_range,
    quantize_multiplier,
    quantized_activation_range,
)
from tinygen.ir.ops import mac as semantics
from tinygen.ir.ops.base import Node
from tinygen.lowering.ctypes import double_literal
from tinygen.lowering.kernels.support.epilogues.multipliers import exact_multiplier, fits_fixed_point
from tinygen.lowering.plan import Constant


@dataclass(frozen=True, eq=False)
class Requantization:
    """Values for the epilogue of a kernel.

    Attributes:
        context: template values: output_zero, low, high, per_channel, scale_function with its
            scale_arguments, multiplier and shift when one pair serves all channels, and upward_channels when only
            so many, from the first, round halves upwards.
        constants: `multipliers` and `shifts` arrays (or `scales`) when there is one pair per channel.
        headers: needed by the scale function in addition to tinygen_math.h.
        cycles: predicted cost per output.
    """

    context: dict[str, Any]
    constants: tuple[Constant, ...]
    headers: tuple[str, ...] = ()
    cycles: float = 20.0


def requantization(node: Node, *, channels: int) -> Requantization:
    """Multipliers, shifts, output zero point and clamp of a quantized layer."""
    activation: Activation = getattr(node.op, "activation", Activation.NONE)
    low, high = quantized_activation_range(activation, node.output)
    function, factors = scaling(node, low - node.output.zero_point, high - node.output.zero_point)
    per_channel = len(next(iter(factors.values()))) > 1
    context: dict[str, Any] = {
        "output_zero": node.output.zero_point,
        "low": low,
        "high": high,
        "per_channel": per_channel,
        "scale_function": function,
        "scale_arguments": [name if per_channel else _literal(values[0]) for name, values in factors.items()],
    }
    constants = tuple(Constant(name, values, f"[{channels}]") for name, values in factors.items())
    if not per_channel:
        context |= {name[:-1]: values[0].item() for name, values in factors.items()}
        constants = ()
    upward = semantics.rounding_of(node)[1]
    if 0 < upward < channels:
        context["upward_channels"] = upward
    if upward:
        return Requantization(context, constants, ("tinygen_upwards.h",))
    if "scales" not in factors:
        return Requantization(context, constants)
    return Requantization(context, constants, ("tinygen_double.h",), 35.0 if len(factors) > 1 else 300.0)


def _literal(value: np.generic) -> str:
    return double_literal(float(value)) if isinstance(value, np.floating) else str(value)


def scaling(node: Node, low: int, high: int) -> tuple[str, dict[str, np.ndarray]]:
    """The C function that scales an accumulator to a result in [low, high], and its arguments per weight scale."""
    rounding, upward = semantics.rounding_of(node)
    if rounding is not Rounding.REAL:
        wide = node.output.dtype == np.int16 and rounding is not Rounding.NARROW
        function = "tg_requantize_64" if wide else "tg_requantize"
        if upward == node.output.shape[-1]:
            function = "tg_requantize_upwards"
        return function, _factors(list(zip(*semantics.multipliers(node), strict=True)))
    reals = semantics.real_multipliers(node)
    ranges = _accumulator_ranges(node, len(reals))
    exact = []
    for real, (least, largest) in zip(reals, ranges, strict=True):
        pair = exact_multiplier(real, least, largest, low, high)
        if pair is None:
            break
        exact.append(pair)
    else:
        return "tg_requantize_once", _factors(exact)
    scales = {"scales": np.array(reals)}
    if all(fits_fixed_point(real, *ends) for real, ends in zip(reals, ranges, strict=True)):
        return "tg_requantize_checked", _factors([quantize_multiplier(real) for real in reals]) | scales
    return "tg_requantize_double", scales


def _factors(pairs: Sequence[tuple[int, int]]) -> dict[str, np.ndarray]:
    multipliers, shifts = zip(*pairs, strict=True)
    return {"multipliers": np.array(multipliers, np.int32), "shifts": np.array(shifts, np.int8)}


def _accumulator_ranges(node: Node, scales: int) -> list[tuple[int, int]]:
    """(least, largest) accumulator per weight scale; weights [O, I]."""
    x, codes = node.input(0), np.iinfo(node.input(0).dtype)
    bias = node.constant(2).reshape(-1).astype(np.int64) if node.optional(2) is not None else 0
    least, largest = semantics.accumulator_range(
        semantics.centred_weights(node), codes.min - x.zero_point, codes.max - x.zero_point, bias
    )
    if scales == 1:
        return [(int(least.min()), int(largest.max()))]
    return list(zip(least.tolist(), largest.tolist(), strict=True))


def folded_bias(node: Node, *, axis: int) -> Constant:
    """bias[c] - input_zero * sum of weights[c]: the zero point costs nothing at run time.

    Args:
        node: an int8 layer with constant weights and bias.
        axis: the output-channel axis of the weights.
    """
    weights = semantics.centred_weights(node)
    sums = weights.sum(axis=tuple(i for i in range(weights.ndim) if i != axis))
    bias = node.constant(2).reshape(-1).astype(np.int64) if node.optional(2) is not None else np.zeros_like(sums)
    folded = bias - node.input(0).zero_point * sums
    return Constant("bias", folded.astype(np.int32), f"[{len(folded)}], input zero point folded in")


def bias_or_zeros(node: Node, channels: int, dtype: type) -> Constant:
    """The unchanged bias, in the accumulator's type; zeros if the layer has none."""
    bias = node.constant(2).reshape(-1) if node.optional(2) is not None else np.zeros(channels)
    return Constant("bias", bias.astype(dtype), f"[{channels}]")


def float_clamp(node: Node) -> dict[str, Any]:
    """Template values `low` and `high` of a fused activation on floats; None for a missing bound."""
    low, high = float_activation_range(getattr(node.op, "activation", Activation.NONE))
    return {"low": None if math.isinf(low) else low, "high": None if math.isinf(high) else high}
