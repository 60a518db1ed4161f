"""Dense layers on integer codes with the multiplying kernel of FULLY_CONNECTED for Armv7E-M."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ir.encodings import Affine, Binary, Float32, Levels, Ternary
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.tensor import Tensor
from tinygen.lowering.kernels.dense.fully_connected import DenseJob, dense_plan
from tinygen.lowering.kernels.dense.fully_connected_packed import packed_dense_plan, unit_of
from tinygen.lowering.kernels.support.activations.codes import pixel_elements
from tinygen.lowering.kernels.support.activations.widening import Widening, widening
from tinygen.lowering.kernels.support.epilogues.integer_layer import IntegerLayer, integer_layer
from tinygen.lowering.kernels.support.weights.coded_weights import BookCode, find_code
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_HEADERS = ("tinygen_dot.h", "tinygen_math.h", "tinygen_simd.h")


@kernel(FullyConnected, name="fully_connected_dsp_4", family="tinygen", isa="dsp")
def fully_connected_dsp_4(node: Node) -> KernelPlan | None:
    """Eight or four outputs at once; an extension serves four weights (see tg_dot_1x4), sums are 256 times as large.

    Activations are codes of a signed byte, or become such by a table, or are packed bits.
    """
    x = node.input(0)
    depth, channels = node.input(1).shape[1], x.shape[-1]
    found = None if depth % channels and x.packed_bits else _input(x, depth // channels)
    layer = None if found is None else integer_layer(node, unit=256, reads="any")
    if layer is None or found is None:
        return None
    context, values, centre = found
    return dense_plan(_job(layer, layer.weights.astype(np.int8), context), values, centre)


@kernel(FullyConnected, name="fully_connected_packed_dsp", family="tinygen", isa="dsp")
def fully_connected_packed_dsp(node: Node) -> KernelPlan | None:
    """The same with weights of less than 8 bits; codes of a signed byte, with books any codes."""
    x = node.input(0)
    in_bytes = not isinstance(x.encoding, Binary) and _input_context(x, 1) is not None
    layer = integer_layer(node, wide=True, reads="any")
    code = find_code(layer.weights) if layer else None
    if code is not None and in_bytes and unit_of(code) > 1:
        layer = integer_layer(node, unit=unit_of(code))
    widen = None if in_bytes else _row_widening(node)
    if layer is None or code is None or not (in_bytes or (widen and isinstance(code, BookCode))):
        return None
    return packed_dense_plan(_job(layer, layer.weights, {}), code, widen)


def _job(layer: IntegerLayer, weights: np.ndarray, context: dict[str, Any]) -> DenseJob:
    stem, headers = f"fully_connected_{layer.kinds}_dsp", (*layer.headers, *_HEADERS)
    return DenseJob(layer.node, weights, layer.by_lengths.epilogue, layer.context | context, stem, headers)


def _row_widening(node: Node) -> Widening | None:
    """Of a whole row at a time; None for several pixels of bits, which begin new words."""
    x, depth = node.input(0), node.input(1).shape[1]
    return None if isinstance(x.encoding, Binary) and depth != x.shape[-1] else widening(x, 1, 0, depth)


def _input(x: Tensor, pixels: int) -> tuple[dict[str, Any], Constant | None, int] | None:
    """`_input_context`, or a table of the bytes of codes, and the difference between their integers and these bytes."""
    context = _input_context(x, pixels)
    if context is not None or isinstance(x.encoding, Binary | Affine | Float32):
        return None if context is None else (context, None, 0)
    low, high = x.integer.code_range
    integers = x.integer.integers(np.arange(low, high + 1).astype(x.dtype))
    centre = 0 if np.abs(integers).max() < 128 else int(integers.min() + integers.max() + 1) // 2
    integers = integers - centre
    if integers.min() < -128 or integers.max() > 127:
        return None
    by_table = {"lowest": low, "signed": low < 0}
    values = Constant("values", integers.astype(np.int8), f"bytes of the codes from {low} on")
    return {"packed_input": False, "by_table": by_table}, values, centre


def _input_context(x: Tensor, pixels: int) -> dict[str, Any] | None:
    """How a row of the input is read; None for codes that are no signed bytes."""
    match x.encoding:
        case Binary():
            # Groups of four taps must not include the gap behind a pixel's last channel.
            if pixels > 1 and x.shape[-1] % 4:
                return None
            return {"packed_input": True, "pixels": pixels, "row_step": pixels * pixel_elements(x)}
        case Affine(storage="int8") | Ternary() | Levels(signed=False, bits=2 | 3 | 4 | 5 | 6 | 7):
            return {"packed_input": False}
        case _:
            return None
