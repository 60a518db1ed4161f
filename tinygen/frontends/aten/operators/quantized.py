"""The quantize and dequantize nodes that torchao's PT2E flow puts into a graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.frontends.aten.builder import Constant, Value
from tinygen.frontends.aten.registry import Call, converts
from tinygen.ir.encodings import Affine
from tinygen.ir.ops.quantize import Quantize

_UNSIGNED_OFFSET = 128
"""uint8 codes are stored as int8, with the zero point as much lower."""


@converts("quantized_decomposed.quantize_per_tensor")
def quantize(call: Call) -> Value:
    x, encoding = call.value("input"), encoding_of(call)
    call.require(
        encoding.storage == "int8" and _full_range(call),
        f"activations of {call['dtype']} from {call['quant_min']} to {call['quant_max']} are not supported",
        "Use a quantizer with 8-bit activations.",
    )
    output = call.build.add(Quantize, [x.tensor], "quantized")
    call.build.quantized[output] = encoding
    return Value(output, x.layout)


@converts("quantized_decomposed.dequantize_per_tensor")
def dequantize(call: Call) -> Value:
    return call.value("input")


def encoding_of(call: Call) -> Affine:
    """Scale, zero point and type of a quantize or dequantize node; uint8 as int8."""
    per_channel = "per_channel" in call.target
    scales = _numbers(call["scales" if per_channel else "scale"])
    zeros = _numbers(call["zero_points" if per_channel else "zero_point"])
    storage = str(call["dtype"]).removeprefix("torch.")
    if storage == "uint8":
        storage, zeros = "int8", [zero - _UNSIGNED_OFFSET for zero in zeros]
    axis = int(call["axis"]) if per_channel else None
    return Affine(storage, tuple(float(np.float32(s)) for s in scales), tuple(int(z) for z in zeros), axis)


def _full_range(call: Call) -> bool:
    """Whether codes saturate at the limits of their type."""
    low, high = (int(_numbers(call[name])[0]) for name in ("quant_min", "quant_max"))
    return (low, high) in ((-128, 127), (0, 255))


def _numbers(argument: Any) -> list[float]:
    if isinstance(argument, Constant):
        return [float(value) for value in argument.array.reshape(-1)]
    return [argument]
