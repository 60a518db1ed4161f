"""Shared by the multiply-accumulate operators with TFLite's epilogue: encodings, accumulation, requantization.

Requantization follows TFLite: real multiplier = input scale * weight scale[c] / output scale, turned
into a 32-bit multiplier and a shift per channel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.ir.encodings import Affine
from tinygen.ir.epilogue import Tflite
from tinygen.ir.fixed_point import (
    Activation,
    Rounding,
    float_activation_range,
    multiply_by_quantized_multiplier,
    multiply_by_quantized_multiplier_64,
    multiply_by_real,
    quantize_multiplier,
    quantized_activation_range,
    wrap_int32,
)
from tinygen.ir.ops.base import Node
from tinygen.ir.tensor import Tensor


def check_encodings(node: Node, *, channels: int, axis: int) -> None:
    """Checks that input, weights, bias and output are all float32, or int8 x int8, or int16 x int8 (16x8).

    Weights of int8 with one scale may have a zero point: those of older TFLite models, which are uint8 there.
    """
    x, weights, bias, output = node.input(0), node.input(1), node.optional(2), node.output
    if bias is not None:
        node.require(bias.size == channels, f"bias has {bias.size} elements, the output {channels} channels")
    if output.is_float:
        node.require(x.is_float and weights.is_float, "float output needs float input and weights")
        node.require(bias is None or bias.is_float, "float output needs a float bias")
        return
    for tensor in (x, weights, output):
        node.require(isinstance(tensor.encoding, Affine), f"'{tensor.name}' ({tensor.encoding}) is not quantized")
    node.require(
        x.dtype == output.dtype and x.dtype in (np.int8, np.int16),
        f"activations must both be int8 or both int16, not {x.dtype.name} -> {output.dtype.name}",
    )
    node.require(
        x.dtype == np.int8 or x.zero_point == output.zero_point == 0, "16-bit activations must have zero point 0"
    )
    node.require(weights.dtype == np.int8, f"weights must be int8, not {weights.dtype.name}")
    node.require(not x.affine.per_channel and not output.affine.per_channel, "activations must be per-tensor")
    node.require(
        not weights.affine.per_channel or (weights.affine.axis == axis and len(weights.affine.scale) == channels),
        f"per-channel weights must be quantized along axis {axis} with {channels} scales",
    )
    moved = any(weights.affine.zero_point)
    node.require(
        not moved or (x.dtype == np.int8 and not weights.affine.per_channel), "the weights' zero points must be 0"
    )
    if bias is not None:
        node.require(bias.dtype in (np.int32, np.int64), f"bias must be int32 or int64, not {bias.dtype.name}")
    node.require_multipliers(real_multipliers(node))
    if _by_halves(node) or rounding_of(node)[0] is Rounding.NARROW:
        require_words(node, axis)


def centred(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    """codes - zero_point, int64 (weights with several scales are symmetric in TFLite's rules)."""
    return values.astype(np.int64) - tensor.zero_point


def centred_weights(node: Node) -> np.ndarray:
    """The integers of constant weights, int64: of 9 bits where int8 codes have a zero point."""
    return centred(node.constant(1), node.input(1))


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Matrix product of int64 or float64 through float64 BLAS.

    Of integers it is exact: |sums| stay far below 2**53 for 16-bit codes. Of floats, rounded to float32 at the end, it
    is the value that float kernels approximate.
    """
    return np.asarray(a.astype(np.float64) @ b.astype(np.float64)).astype(a.dtype)


def accumulator_range(
    weights: np.ndarray, low: np.ndarray | int, high: np.ndarray | int, bias: np.ndarray | int
) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest accumulator of each output channel, if each tap may take any value within its bounds.

    Args:
        weights: centred codes [O, K].
        low, high: bounds of the centred input codes, one, K, or [O, K].
        bias: one or O.

    Returns:
        int64 [O] each.
    """
    low, high = np.broadcast_to(low, weights.shape), np.broadcast_to(high, weights.shape)
    least, largest = np.zeros((2, len(weights)), np.int64)
    # A few rows at a time: all products at once would take many times the memory of the weights.
    step = max((1 << 18) // max(weights.shape[1], 1), 1)
    for start in range(0, len(weights), step):
        rows = slice(start, start + step)
        at_low, at_high = weights[rows] * low[rows], weights[rows] * high[rows]
        least[rows] = np.minimum(at_low, at_high).sum(axis=1)
        largest[rows] = np.maximum(at_low, at_high).sum(axis=1)
    return least + bias, largest + bias


def bias_value(node: Node, values: Sequence[np.ndarray]) -> np.ndarray:
    """Bias per channel; zeros when absent."""
    if node.optional(2) is not None:
        return values[2].reshape(-1)
    return np.zeros(1, np.float64 if node.output.is_float else np.int64)


def clamp_float(acc: np.ndarray, activation: Activation) -> np.ndarray:
    low, high = float_activation_range(activation)
    return np.clip(acc, low, high).astype(np.float32)


def multipliers(node: Node) -> tuple[np.ndarray, np.ndarray]:
    """(multiplier, shift) arrays, one entry per weight scale."""
    pairs = [quantize_multiplier(real) for real in real_multipliers(node)]
    return np.array([m for m, _ in pairs], np.int64), np.array([s for _, s in pairs], np.int64)


def real_multipliers(node: Node) -> list[float]:
    """input scale * weight scale / output scale in double, one per weight scale."""
    x, output = node.input(0).scale, node.output.scale
    return [x * scale / output for scale in node.input(1).affine.scale]


def _by_halves(node: Node) -> bool:
    """Whether 64-bit sums are scaled by multipliers of 16 bits (16x8)."""
    return node.output.dtype == np.int16 and rounding_of(node)[0] not in (Rounding.REAL, Rounding.NARROW)


def require_words(node: Node, axis: int = 0) -> None:
    """Raises UnsupportedError if a sum times its real multiplier may exceed 32 bits (Rounding.REAL, or 16x8).

    LiteRT then casts a double or 64 bits that do not fit. Sums that 16 bits multiply in 64 may have 48, as LiteRT
    asserts.

    Args:
        node: a layer of integers.
        axis: of the weights' output channels.
    """
    if node.output.is_float:
        return
    x, weights, bias = node.input(0), node.input(1), node.optional(2)
    furthest = max(abs(code - x.zero_point) for code in x.code_range)
    channels = weights.shape[axis]
    if weights.data is None:
        taps = np.full(1, weights.size // channels * 128.0)
    else:
        rows = np.moveaxis(centred(weights.data, weights), axis, 0).reshape(channels, -1)
        taps = np.abs(rows.astype(np.float64)).sum(axis=1)
    offset = 0.0 if bias is None or bias.data is None else np.abs(bias.data.astype(np.float64)).reshape(-1)
    sums = taps * furthest + offset
    largest, worst = float(np.max(sums)), float(np.max(sums * np.array(real_multipliers(node))))
    node.require(worst < 2.0**31, f"its scales are too far apart: sums of {worst:.3g} in codes of the output")
    held = largest < 2.0**47 or not _by_halves(node)
    node.require(held, f"its sums, of up to {largest:.3g} with the bias, leave 48 bits")
    held = largest < 2.0**31 or rounding_of(node)[0] is not Rounding.NARROW
    node.require(held, f"its sums, of up to {largest:.3g} with the bias, leave 32 bits")


def rounding_of(node: Node) -> tuple[Rounding, int]:
    """How a layer's accumulators are scaled: TWICE or REAL, and the number of leading channels that use UPWARDS."""
    epilogue = getattr(node.op, "epilogue", None)
    given = epilogue if isinstance(epilogue, Tflite) else Tflite()
    if given.rounding is Rounding.UPWARDS:
        return Rounding.TWICE, node.output.shape[-1]
    own: Rounding = getattr(node.op, "ROUNDING", Rounding.TWICE)
    return given.rounding or own, given.upward_channels


def check_rounding(node: Node, epilogue: Tflite, own: Rounding, channels: int) -> None:
    """Checks that the layer can round as its epilogue says; `own` is how LiteRT's reference kernel does."""
    rounding, count = epilogue.rounding or own, epilogue.upward_channels
    known = (own, Rounding.UPWARDS, Rounding.NARROW)
    node.require(rounding in known, f"sums cannot be rounded '{rounding.value}'")
    node.require(0 <= count <= channels, f"{count} of {channels} channels cannot be rounded upwards")
    if rounding is Rounding.NARROW:
        narrow = own is Rounding.TWICE and node.output.dtype == np.int16 and not count
        node.require(narrow, "only sums of 16x8 layers can be narrow")
        return
    plain = rounding is own and not count
    node.require(plain or node.output.dtype == np.int8, "only int8 codes can be rounded upwards")


def requantize(node: Node, acc: np.ndarray, activation: Activation) -> np.ndarray:
    """Accumulators (channels last, or one multiplier for all) to clamped output codes."""
    multiplier, shift = multipliers(node)
    output = node.output
    wide = output.dtype == np.int16
    rounding, upward = rounding_of(node)
    if rounding is Rounding.REAL:
        scaled = multiply_by_real(acc if wide else wrap_int32(acc), np.array(real_multipliers(node)))
    elif _by_halves(node):
        scaled = multiply_by_quantized_multiplier_64(acc, multiplier, shift)
    else:
        scaled = multiply_by_quantized_multiplier(wrap_int32(acc), multiplier, shift, np.arange(acc.shape[-1]) < upward)
    low, high = quantized_activation_range(activation, output)
    return np.clip(scaled + output.zero_point, low, high).astype(output.dtype)
