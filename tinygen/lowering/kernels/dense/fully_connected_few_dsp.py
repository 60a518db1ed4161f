"""Dense layers of one to three outputs, for Armv7E-M: all of them in one pass over the input.

Instructions per four inputs: a load of activations and two extensions, per output a load of weights, two extensions and
two SMLAD: 2 per product of one output, 1.5 of three. Kernels for four outputs at once take 1.2, but always compute
four, and first widen the input in scratch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygen.ir.encodings import Affine, Levels, Ternary
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.integer_fully_connected import IntegerFullyConnected
from tinygen.ir.tensor import Tensor
from tinygen.lowering.kernels.support.activations.codes import kind_of
from tinygen.lowering.kernels.support.epilogues.integer_layer import integer_layer
from tinygen.lowering.kernels.support.epilogues.requantize import Epilogue, epilogue
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_HEADERS = ("tinygen_codes.h", "tinygen_math.h", "tinygen_simd.h")
_MOST = 3
_WORD = 4
INT8_CONTEXT: Mapping[str, Any] = {"y_type": "int8_t", "packed_output": False, "unsigned_bits": 0}
"""Template values of how an int8 layer in TFLite's scheme writes."""
# Cycles, as those of the dense kernels for four outputs: of a word of inputs, and for each output; of an output.
_INPUTS, _PRODUCTS, _OUTPUT = 2.9, 4.4, 12.0


@kernel(FullyConnected, name="fully_connected_s8_few_dsp", family="tinygen", isa="dsp")
def fully_connected_s8_few_dsp(node: Node) -> KernelPlan | None:
    """One to three outputs."""
    weights = node.input(1)
    if node.output.dtype != np.int8 or not weights.is_constant or weights.zero_point:
        return None
    ending = epilogue(node, axis=0) if takes_few(node) else None
    return few_plan(node, node.constant(1), ending, INT8_CONTEXT, "fully_connected_s8") if ending else None


@kernel(IntegerFullyConnected, name="integer_fully_connected_few_dsp", family="tinygen", isa="dsp")
def integer_fully_connected_few_dsp(node: Node) -> KernelPlan | None:
    """One to three outputs; activations stored as signed bytes."""
    op, x = node.op, node.input(0)
    assert isinstance(op, IntegerFullyConnected)
    layer = integer_layer(node, op.epilogue) if takes_few(node) and _in_signed_bytes(x) else None
    if layer is None or node.output.packed_bits:
        return None
    stem = f"fully_connected_{kind_of(x.integer)}_{kind_of(node.input(1).integer)}"
    return few_plan(node, layer.weights.astype(np.int8), layer.epilogue, layer.context, stem)


def takes_few(node: Node) -> bool:
    """Whether the layer has at most three outputs."""
    return node.input(1).shape[0] <= _MOST


def _in_signed_bytes(x: Tensor) -> bool:
    match x.encoding:
        case Affine(storage="int8") | Ternary() | Levels(signed=False, bits=2 | 3 | 4 | 5 | 6 | 7):
            return True
        case _:
            return False


def few_plan(node: Node, weights: np.ndarray, ending: Epilogue, context: Mapping[str, Any], stem: str) -> KernelPlan:
    """The plan for int8 weights [O, I]."""
    outputs, depth = weights.shape
    rows = node.input(0).size // depth
    # Word by word, with the words of all outputs together; then the remaining taps one by one.
    whole = depth // _WORD * _WORD
    words = weights[:, :whole].reshape(outputs, -1, _WORD).transpose(1, 0, 2)
    data = np.concatenate([words.reshape(-1), weights[:, whole:].T.reshape(-1)])
    return KernelPlan(
        template="dense/fully_connected_few_dsp.c.j2",
        stem=f"{stem}_few_dsp_{depth}x{outputs}",
        context={"rows": rows, "depth": depth, "outputs": outputs, **ending.context, **context},
        constants=(Constant("weights", data, f"[{outputs}, {depth}], four taps of each in turn"), ending.constant()),
        headers=_HEADERS,
        cycles=rows * ((_INPUTS + _PRODUCTS * outputs) * -(-depth // _WORD) + _OUTPUT * outputs),
    )
