"""Dense layers on integer codes with the multiplying kernel of FULLY_CONNECTED for Armv7E-M."""

from __future__ import annotations

import numpy as np

from tinygen.ir.encodings import Affine, Levels, Ternary
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.integer_fully_connected import IntegerFullyConnected
from tinygen.lowering.kernels.fully_connected import dense_plan
from tinygen.lowering.kernels.support.codes import kind_of
from tinygen.lowering.kernels.support.integer_layer import integer_layer
from tinygen.lowering.plan import KernelPlan, kernel

_HEADERS = ("tinygen_codes.h", "tinygen_dot.h", "tinygen_math.h", "tinygen_simd.h")


@kernel(IntegerFullyConnected, name="integer_fully_connected_dsp", family="tinygen", isa="dsp")
def integer_fully_connected_dsp(node: Node) -> KernelPlan | None:
    """Four outputs at a time, codes of a signed byte."""
    op, x = node.op, node.input(0).encoding
    assert isinstance(op, IntegerFullyConnected)
    unsigned = isinstance(x, Levels) and not x.signed and x.bits < 8
    if not (unsigned or isinstance(x, Affine | Ternary)):
        return None
    layer = integer_layer(node, op.epilogue, unit=256)
    if layer is None:
        return None
    stem = f"fully_connected_{kind_of(node.input(0).integer)}_{kind_of(node.input(1).integer)}_dsp"
    return dense_plan(node, layer.weights.astype(np.int8), layer.epilogue, layer.context, stem, _HEADERS)
