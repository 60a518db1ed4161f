"""The arithmetic of a layer with weights for plain loops, for all types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.fixed_point import Rounding
from tinygen.ir.ops import mac as semantics
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.mac import centred_weights
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations.codes import smallest_integers
from tinygen.lowering.kernels.support.epilogues import mac
from tinygen.lowering.plan import Constant

KINDS = ("s8", "s16", "f32")
"""Of outputs; in names."""
_TYPES = {
    "s8": (np.int8, "int8_t", "int32_t"),
    "s16": (np.int16, "int16_t", "int64_t"),
    "f32": (np.float32, "float", "float"),
}
_BIASES = {"s8": np.int32, "s16": np.int64, "f32": np.float32}


@dataclass(frozen=True, eq=False)
class PlainLoops:
    """The arithmetic of one layer.

    Attributes:
        weights: in the order of the tensor; integers in the smallest type that holds them.
        context: template values: real, halves (int16 codes), wide (64-bit sums), input_type, weight_type, acc_type,
            input_zero, and those of the epilogue.
        constants: bias, and what the epilogue has.
        headers: of the epilogue, beside tinygen_math.h.
    """

    weights: np.ndarray
    context: dict[str, Any]
    constants: tuple[Constant, ...]
    headers: tuple[str, ...]


def plain_loops(node: Node, kind: str) -> PlainLoops | None:
    """None if outputs have another kind of type, or weights are not constant."""
    output, x, accumulator = _TYPES[kind]
    if node.output.dtype != output or not node.input(1).is_constant:
        return None
    channels = node.output.shape[-1]
    narrow = semantics.rounding_of(node)[0] is Rounding.NARROW
    accumulator = "int32_t" if narrow else accumulator
    bias = mac.bias_or_zeros(node, channels, np.int32 if narrow else _BIASES[kind])
    weights = node.constant(1) if kind == "f32" else smallest_integers(centred_weights(node))
    context = {
        "real": kind == "f32",
        "halves": kind == "s16",
        "wide": kind == "s16" and not narrow,
        "input_type": x,
        "weight_type": ctype(weights.dtype),
        "acc_type": accumulator,
    }
    if kind == "f32":
        return PlainLoops(weights, {**context, "input_zero": 0, **mac.float_clamp(node)}, (bias,), ())
    scale = mac.requantization(node, channels=channels)
    context |= {"input_zero": node.input(0).zero_point, **scale.context}
    return PlainLoops(weights, context, (bias, *scale.constants), scale.headers)
