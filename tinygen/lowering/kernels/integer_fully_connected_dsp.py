"""Dense layers on integer codes with the multiplying kernel of FULLY_CONNECTED for Armv7E-M."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ir.encodings import Affine, Binary, Levels, Ternary
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.integer_fully_connected import IntegerFullyConnected
from tinygen.ir.tensor import Tensor
from tinygen.lowering.kernels.fully_connected import dense_plan
from tinygen.lowering.kernels.fully_connected_packed import packed_dense_plan, unit_of
from tinygen.lowering.kernels.support.coded_weights import find_code
from tinygen.lowering.kernels.support.codes import kind_of, pixel_elements
from tinygen.lowering.kernels.support.integer_layer import integer_layer
from tinygen.lowering.plan import KernelPlan, kernel

_HEADERS = ("tinygen_codes.h", "tinygen_dot.h", "tinygen_math.h", "tinygen_simd.h")


@kernel(IntegerFullyConnected, name="integer_fully_connected_dsp", family="tinygen", isa="dsp")
def integer_fully_connected_dsp(node: Node) -> KernelPlan | None:
    """Four outputs at a time; codes of a signed byte, or packed bits."""
    op, x = node.op, node.input(0)
    assert isinstance(op, IntegerFullyConnected)
    depth, channels = node.input(1).shape[1], x.shape[-1]
    context = _input_context(x, depth // channels) if depth % channels == 0 else None
    layer = None if context is None else integer_layer(node, op.epilogue, unit=256)
    if layer is None or context is None:
        return None
    stem = f"fully_connected_{kind_of(x.integer)}_{kind_of(node.input(1).integer)}_dsp"
    return dense_plan(node, layer.weights.astype(np.int8), layer.epilogue, layer.context | context, stem, _HEADERS)


@kernel(IntegerFullyConnected, name="integer_fully_connected_packed_dsp", family="tinygen", isa="dsp")
def integer_fully_connected_packed_dsp(node: Node) -> KernelPlan | None:
    """The same with weights of less than 8 bits; codes of a signed byte."""
    op, x = node.op, node.input(0)
    assert isinstance(op, IntegerFullyConnected)
    context = None if isinstance(x.encoding, Binary) else _input_context(x, 1)
    layer = None if context is None else integer_layer(node, op.epilogue)
    code = find_code(layer.weights) if layer else None
    if code is not None and unit_of(code) > 1:
        layer = integer_layer(node, op.epilogue, unit=unit_of(code))
    if layer is None or code is None:
        return None
    stem = f"fully_connected_{kind_of(x.integer)}_{kind_of(node.input(1).integer)}_dsp"
    return packed_dense_plan(node, layer.weights.astype(np.int8), code, layer.epilogue, layer.context, stem, _HEADERS)


def _input_context(x: Tensor, pixels: int) -> dict[str, Any] | None:
    """How a row of the input is read; None for codes that are no signed bytes."""
    match x.encoding:
        case Binary():
            # Groups of four taps must not meet the gap behind a pixel's last channel.
            if pixels > 1 and x.shape[-1] % 4:
                return None
            return {"packed_input": True, "pixels": pixels, "row_step": pixels * pixel_elements(x)}
        case Affine(storage="int8") | Ternary() | Levels(signed=False, bits=2 | 3 | 4 | 5 | 6 | 7):
            return {"packed_input": False}
        case _:
            return None
