"""Quantizers: ONNX's own, and QONNX's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tinygen.frontends.onnx.node import QONNX_DOMAINS, Operator
from tinygen.frontends.onnx.registry import converts
from tinygen.frontends.onnx.steps import may_be_negative, pending_of, quantize, quantize_real
from tinygen.frontends.onnx.targets import (
    IntegerRange,
    Target,
    Truncation,
    bipolar_target,
    bits_of,
    encoding_of,
    integral,
    linear_target,
    quant_target,
    rounding_of,
)
from tinygen.frontends.onnx.values import Coded, Constant, ConstantCodes, GraphInput, Value
from tinygen.ir.encodings import Affine, Binary, IntegerEncoding

_NARROW_BITS = {"int4": 4, "uint4": 4, "int2": 2, "uint2": 2}
_HOLDS = {"int4": "int8", "uint4": "uint8", "int2": "int8", "uint2": "uint8"}


def _storage(array: np.ndarray) -> tuple[np.dtype, int]:
    """(NumPy type that holds ONNX's codes, bits of a code)."""
    name = array.dtype.name
    return np.dtype(_HOLDS.get(name, array.dtype)), _NARROW_BITS.get(name, array.dtype.itemsize * 8)


def _scales(operator: Operator, index: int) -> np.ndarray:
    scale = operator.array(index, "scale").astype(np.float32)
    valid = scale.size > 0 and bool(np.all(np.isfinite(scale) & (scale > 0)))
    operator.damaged(not valid, f"its scale, {operator.label(index)}, is not a positive number")
    return scale


def _zero_points(operator: Operator, index: int, default: str = "uint8") -> np.ndarray:
    return operator.array(index, "zero point") if operator.has(index) else np.zeros((), default)


def activation_target(operator: Operator, scale_index: int, zero_index: int) -> Target:
    """The per-tensor quantizer of a QuantizeLinear, or of a QLinear operator's output."""
    scale, zero = _scales(operator, scale_index), _zero_points(operator, zero_index)
    operator.require(
        scale.size == 1 == zero.size,
        f"activations quantized with {scale.size} scales",
        "Quantize activations per tensor.",
    )
    dtype, bits = _storage(zero)
    return linear_target(float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0]), dtype, bits)


@converts("QuantizeLinear")
def quantize_linear(operator: Operator) -> Value:
    operator.require(not operator.attributes.get("block_size"), "blocked quantization is not supported")
    value = operator.value(0)
    if isinstance(value, Constant):
        return _quantize_constant(operator, value.array)
    target = activation_target(operator, 1, 2)
    if operator.clamp is not None:
        target = target.clamped(*operator.clamp)
    return replace(_quantize(operator, target), raw=True)


def _quantize(operator: Operator, target: Target) -> Coded:
    value = operator.value(0)
    if isinstance(value, GraphInput):
        floats = value.dtype in (np.float32, np.float64, np.float16)
        operator.require(floats, f"it quantizes the {value.dtype.name} input '{value.name}'")
        return Coded(operator.builder.encode_input(value, target.encoding), value.layout, raw_shift=target.raw_shift)
    return quantized(operator, value, target)


def quantized(operator: Operator, value: Value, target: Target) -> Coded:
    """Floats that are computed at run time as codes."""
    if isinstance(value, Coded) and value.tensor.is_float:
        return quantize_real(operator.builder, value, target)
    pending = pending_of(operator.builder, value)
    if pending is None:
        raise operator.unquantized(0)
    return quantize(operator.builder, pending, target)


def _quantize_constant(operator: Operator, array: np.ndarray) -> Constant:
    """Codes of constant floats, in single precision as ONNX Runtime computes them."""
    scale, zero = _scales(operator, 1), _zero_points(operator, 2)
    dtype, bits = _storage(zero)
    low = -(2 ** (bits - 1)) if dtype.kind == "i" else 0
    spread = [_along(operator, part, array.ndim) for part in (scale, zero.astype(np.int64))]
    codes = np.rint(array.astype(np.float32) / spread[0]) + spread[1]
    return Constant(np.clip(codes, low, low + 2**bits - 1).astype(dtype))


def _along(operator: Operator, values: np.ndarray, rank: int) -> np.ndarray:
    """One value, or one per element of the axis, shaped for broadcasting."""
    if values.size == 1:
        return values.reshape(())
    shape = [1] * rank
    shape[operator.axis(int(operator.attribute("axis", 1)), rank)] = values.size
    return values.reshape(shape)


@converts("DequantizeLinear")
def dequantize_linear(operator: Operator) -> Value:
    operator.require(
        not operator.attributes.get("block_size"), "blocked quantization is not supported", "Quantize per channel."
    )
    value = operator.value(0)
    if isinstance(value, Constant):
        return dequantized_constant(operator, value.array, 1, 2, int(operator.attribute("axis", 1)))
    return dequantized(operator, 0, 1, 2)


def dequantized(operator: Operator, index: int, scale_index: int, zero_index: int) -> Coded:
    """The real values that codes represent.

    Raises:
        UnsupportedError: the codes were quantized with another scale or zero point.
    """
    value = operator.value(index)
    scale = _scales(operator, scale_index)
    if isinstance(value, GraphInput):
        zero = _zero_points(operator, zero_index, value.dtype.name)
        operator.require(scale.size == 1 == zero.size, f"an input quantized with {scale.size} scales")
        target = linear_target(
            float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0]), value.dtype, 8 * value.dtype.itemsize
        )
        return Coded(operator.builder.encode_input(value, target.encoding), value.layout, raw_shift=target.raw_shift)
    if not isinstance(value, Coded) or not value.raw:
        raise operator.unquantized(index)
    zero = _zero_points(operator, zero_index)
    encoding = value.tensor.affine
    same = scale.size == 1 == zero.size and (
        float(scale.reshape(-1)[0]),
        int(zero.reshape(-1)[0]) - value.raw_shift,
    ) == (encoding.scale[0], encoding.zero_point[0])
    operator.require(
        same,
        f"its {operator.label(index)} is dequantized with another scale or zero point than it was quantized with",
    )
    return replace(value, raw=False)


def dequantized_constant(
    operator: Operator, array: np.ndarray, scale_index: int, zero_index: int, axis: int
) -> Constant:
    """Constant codes and their real values; narrow and unsigned codes are shifted into int8 if they fit."""
    dtype, _ = _storage(array)
    operator.require(dtype in (np.int8, np.uint8, np.int16, np.int32), f"constants of type {dtype.name}")
    scale = _scales(operator, scale_index)
    zero = np.broadcast_to(_zero_points(operator, zero_index, dtype.name).astype(np.int64).reshape(-1), scale.size)
    channels = scale.size if scale.size > 1 else None
    axis = operator.axis(axis, max(array.ndim, 1)) if channels else 0
    fits = channels is None or (array.ndim > 0 and array.shape[axis] == channels)
    operator.damaged(not fits, f"{scale.size} scales along axis {axis} of shape {list(array.shape)}")
    spread = [1] * array.ndim
    if channels:
        spread[axis] = channels
    shape = tuple(spread)
    centred = array.astype(np.int64) - zero.reshape(shape)
    real = (centred * scale.astype(np.float64).reshape(shape)).astype(np.float32)
    scales, where = tuple(map(float, scale.reshape(-1))), axis if channels else None
    codes, zeros = centred, (0,) * scale.size
    if dtype == np.uint8 and (centred.min() < -128 or centred.max() > 127):
        codes = array.astype(np.int64) - 128
        zeros = tuple(int(z) - 128 for z in zero)
    storage = "int8" if dtype == np.uint8 else dtype.name
    if storage == "int8" and not any(zeros) and (codes.min(initial=0) < -128 or codes.max(initial=0) > 127):
        codes, zeros = array.astype(np.int64), tuple(int(z) for z in zero)
    encoding = Affine(storage, scales, zeros, where)
    return Constant(real, ConstantCodes(codes.astype(storage), encoding))


@converts("Quant", "IntQuant", domains=QONNX_DOMAINS)
def quant(operator: Operator) -> Value:
    bits = integral(operator.scalar(3, "bit width"), "bit width")
    operator.require(1 <= bits <= 32, f"a bit width of {bits}")
    signed, narrow = bool(operator.attribute("signed", 1)), bool(operator.attribute("narrow", 0))
    codes = IntegerRange.of(bits, signed, narrow)
    rounding = rounding_of(str(operator.attribute("rounding_mode", "ROUND")))
    scale, zero = _scales(operator, 1), operator.array(2, "zero point").astype(np.float32)
    value = operator.value(0)
    if isinstance(value, Constant):
        return _quant_constant(operator, value.array, codes, scale, zero)
    operator.require(
        scale.size == 1 == zero.size, f"activations with {scale.size} scales", "Quantize activations per tensor."
    )
    return _quantize(operator, quant_target(float(scale.reshape(-1)[0]), float(zero.reshape(-1)[0]), codes, rounding))


_NUMPY_ROUNDING: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ROUND": np.rint,
    "HALF_EVEN": np.rint,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "DOWN": np.trunc,
    "UP": lambda x: np.sign(x) * np.ceil(np.abs(x)),
    "HALF_UP": lambda x: np.sign(x) * np.floor(np.abs(x) + np.float32(0.5)),
    "HALF_DOWN": lambda x: np.sign(x) * np.ceil(np.abs(x) - np.float32(0.5)),
}


def _quant_constant(
    operator: Operator, array: np.ndarray, codes: IntegerRange, scale: np.ndarray, zero: np.ndarray
) -> Constant:
    """Weights, quantized in single precision as in training."""
    name = str(operator.attribute("rounding_mode", "ROUND")).upper()
    quotient = np.clip(array.astype(np.float32) / scale + zero, codes.low, codes.high)
    integers = _NUMPY_ROUNDING[name](quotient)
    real = ((integers - zero) * scale).astype(np.float32)
    operator.require(zero.size == 1 or not np.any(zero), "a zero point per channel")
    if bits_of(codes) > 8:
        # Biases are used as real values only: their codes are not needed.
        return Constant(real)
    offset = integral(float(zero.reshape(-1)[0]), "zero point")
    scales, axis = _channel_scales(operator, scale, array)
    encoding, shift = encoding_of(codes, scales, offset, axis)
    return Constant(real, ConstantCodes((integers - shift).astype(encoding.dtype), encoding))


def _channel_scales(operator: Operator, scale: np.ndarray, array: np.ndarray) -> tuple[tuple[float, ...], int | None]:
    """(scales, axis): one, or one per channel of an axis."""
    if scale.size == 1:
        return (float(scale.reshape(-1)[0]),), None
    aligned = scale.reshape((1,) * (array.ndim - scale.ndim) + scale.shape)
    wide = [axis for axis in range(array.ndim) if aligned.shape[axis] > 1]
    fits = len(wide) == 1 and aligned.shape[wide[0]] == array.shape[wide[0]]
    operator.require(fits, f"scales of shape {list(scale.shape)} for weights {list(array.shape)}", "One per channel.")
    return tuple(map(float, aligned.reshape(-1))), wide[0]


@converts("BipolarQuant", domains=QONNX_DOMAINS)
def bipolar_quant(operator: Operator) -> Value:
    scale, value = _scales(operator, 1), operator.value(0)
    if isinstance(value, Constant):
        bits = value.array >= 0
        encoding: IntegerEncoding = Binary(*_channel_scales(operator, scale, value.array))
        real = np.where(bits, scale, -scale).astype(np.float32)
        return Constant(real, ConstantCodes(bits.astype(np.uint8), encoding))
    operator.require(scale.size == 1, f"activations with {scale.size} scales", "Quantize activations per tensor.")
    return _quantize(operator, bipolar_target(float(scale.reshape(-1)[0])))


@converts("Trunc", domains=QONNX_DOMAINS)
def trunc(operator: Operator) -> Value:
    """Version 1 (in_bitwidth, out_bitwidth) keeps the scale, version 2 (with out_scale between) names it."""
    scale, zero = float(_scales(operator, 1).reshape(-1)[0]), operator.scalar(2, "zero point")
    second = operator.has(5)
    out_bits = integral(operator.scalar(5 if second else 4, "output bit width"), "output bit width")
    in_bits = integral(operator.scalar(3, "input bit width"), "input bit width")
    operator.require(zero == 0, f"a zero point of {zero}", "Truncate symmetric codes.")
    if second:
        out_scale = float(_scales(operator, 4).reshape(-1)[0])
        dropped = round(np.log2(out_scale / scale))
    else:
        out_scale, dropped = scale, in_bits - out_bits
    operator.damaged(not 0 <= dropped <= 32 or not 1 <= out_bits <= 8, f"{in_bits} bits truncated to {out_bits}")
    pending = pending_of(operator.builder, operator.value(0))
    if pending is None:
        raise operator.unquantized(0)
    # Version 1 does not say whether codes are signed: those that cannot be negative are unsigned.
    signed = bool(operator.attribute("signed", 1)) if second else may_be_negative(pending)
    codes = IntegerRange.of(out_bits, signed, bool(operator.attribute("narrow", 0)) if second else False)
    rounding = rounding_of(str(operator.attribute("rounding_mode", "FLOOR")))
    encoding, shift = encoding_of(codes, (out_scale,), 0)
    operator.require(shift == 0 and codes.low < codes.high, f"codes {codes.low} to {codes.high}")
    target = Target(encoding, Truncation(scale, 0.0, dropped, codes.low, codes.high, rounding))
    return quantize(operator.builder, pending, target)
