"""Small dense layers, and those whose activations take 16 bits: one output at a time, eight taps written out.

Kernels for several outputs at a time have more code, and a small layer spends its time waiting for code from flash.
"""

from __future__ import annotations

from dataclasses import replace

from tinygen.ir.encodings import Affine, Levels, Ternary
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.tensor import Tensor
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations.codes import smallest_integers
from tinygen.lowering.kernels.support.epilogues.integer_layer import IntegerLayer, integer_layer
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_HEADERS = ("tinygen_codes.h", "tinygen_math.h", "tinygen_simd.h")
_TAP, _OUTPUT, _CODE = 6.2, 30.0, 900.0
"""Cycles, as the ESP32-C3's core takes them; how much longer an int8 layer's code comes from flash than plain loops."""


@kernel(FullyConnected, name="fully_connected_lines", family="tinygen", isa="scalar")
def fully_connected_lines(node: Node) -> KernelPlan | None:
    """Any number of inputs and outputs; activations whose codes are multiplied as stored, also of 16 bits."""
    layer = integer_layer(node, wide=True, reads="halves") if _as_they_lie(node.input(0)) else None
    if layer is None:
        return None
    plan = _plan(node, layer)
    return replace(plan, cycles=plan.cycles + _CODE) if layer.sums is None else plan


def _as_they_lie(x: Tensor) -> bool:
    match x.encoding:
        case Affine(storage="int8" | "int16") | Levels(signed=False) | Ternary():
            return True
        case _:
            return False


def _plan(node: Node, layer: IntegerLayer) -> KernelPlan:
    weights = smallest_integers(layer.weights)
    outputs, depth = weights.shape
    rows = node.input(0).size // depth
    return KernelPlan(
        template="dense/fully_connected_lines.c.j2",
        stem=f"fully_connected_{layer.kinds}_lines_{depth}x{outputs}",
        context={
            "rows": rows,
            "depth": depth,
            "out_c": outputs,
            "weight_type": ctype(weights.dtype),
            "x_type": ctype(node.input(0).memory_dtype),
            **layer.epilogue.context,
            **layer.context,
        },
        constants=(Constant("weights", weights.reshape(-1), f"[{outputs}, {depth}]"), layer.epilogue.constant()),
        headers=_HEADERS,
        cycles=rows * outputs * (_TAP * depth + _OUTPUT),
    )
