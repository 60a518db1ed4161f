"""Small dense layers, and those whose activations take 16 bits: one output at a time, eight taps written out.

Kernels for several outputs at a time have more code, and a small layer spends its time waiting for code from flash.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir.encodings import Affine, Levels, Ternary
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.integer_fully_connected import IntegerFullyConnected
from tinygen.ir.tensor import Tensor
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations.codes import kind_of, smallest_integers
from tinygen.lowering.kernels.support.epilogues.integer_layer import integer_layer
from tinygen.lowering.kernels.support.epilogues.requantize import Epilogue, epilogue
from tinygen.lowering.kernels.support.loops import scalar
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_HEADERS = ("tinygen_codes.h", "tinygen_math.h", "tinygen_simd.h")
_TAP, _OUTPUT, _CODE = 6.2, 30.0, 900.0
"""Cycles, as the ESP32-C3's core takes them; how much longer its code comes from flash than that of a plain loop."""


@kernel(FullyConnected, name="fully_connected_s8_lines", family="tinygen", isa="scalar")
def fully_connected_s8_lines(node: Node) -> KernelPlan | None:
    """Any number of inputs and outputs."""
    weights = node.input(1)
    if node.output.dtype != np.int8 or not weights.is_constant or weights.zero_point:
        return None
    ending = epilogue(node, axis=0)
    if ending is None:
        return None
    plan = _plan(node, node.constant(1), ending, scalar.int8_context(node), "fully_connected_s8_lines")
    return replace(plan, cycles=plan.cycles + _CODE)


@kernel(IntegerFullyConnected, name="integer_fully_connected_lines", family="tinygen", isa="scalar")
def integer_fully_connected_lines(node: Node) -> KernelPlan | None:
    """Activations whose codes are multiplied as stored, also of 16 bits."""
    op, x = node.op, node.input(0)
    assert isinstance(op, IntegerFullyConnected)
    layer = integer_layer(node, op.epilogue, wide=True, reads="halves") if _as_they_lie(x) else None
    if layer is None:
        return None
    weights = smallest_integers(layer.weights)
    stem = f"fully_connected_{kind_of(x.integer)}_{kind_of(node.input(1).integer)}_lines"
    return _plan(node, weights, layer.epilogue, layer.context, stem)


def _as_they_lie(x: Tensor) -> bool:
    match x.encoding:
        case Affine(storage="int8" | "int16") | Levels(signed=False) | Ternary():
            return True
        case _:
            return False


def _plan(node: Node, weights: np.ndarray, ending: Epilogue, context: dict[str, Any], stem: str) -> KernelPlan:
    outputs, depth = weights.shape
    rows = node.input(0).size // depth
    return KernelPlan(
        template="dense/fully_connected_lines.c.j2",
        stem=f"{stem}_{depth}x{outputs}",
        context={
            "rows": rows,
            "depth": depth,
            "out_c": outputs,
            "weight_type": ctype(weights.dtype),
            "x_type": ctype(node.input(0).memory_dtype),
            **ending.context,
            **context,
        },
        constants=(Constant("weights", weights.reshape(-1), f"[{outputs}, {depth}]"), ending.constant()),
        headers=_HEADERS,
        cycles=rows * outputs * (_TAP * depth + _OUTPUT),
    )
