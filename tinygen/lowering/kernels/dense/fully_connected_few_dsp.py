"""Dense layers of one to three outputs, for Armv7E-M: all of them in one pass over the input.

Instructions per four inputs: a load of activations and two extensions, per output a load of weights, two extensions and
two SMLAD: 2 per product of one output, 1.5 of three. Kernels for four outputs at once take 1.2, but always compute
four, and first widen the input in scratch.
"""

from __future__ import annotations

import numpy as np

from tinygen.ir.encodings import Affine, Levels, Ternary
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.tensor import Tensor
from tinygen.lowering.kernels.support.epilogues.integer_layer import IntegerLayer, integer_layer
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_HEADERS = ("tinygen_codes.h", "tinygen_math.h", "tinygen_simd.h")
_MOST = 3
_WORD = 4
# Cycles, as those of the dense kernels for four outputs: of a word of inputs, and for each output; of an output.
_INPUTS, _PRODUCTS, _OUTPUT = 2.9, 4.4, 12.0


@kernel(FullyConnected, name="fully_connected_few_dsp", family="tinygen", isa="dsp")
def fully_connected_few_dsp(node: Node) -> KernelPlan | None:
    """One to three outputs; activations stored as signed bytes."""
    few = node.input(1).shape[0] <= _MOST and not node.output.packed_bits
    layer = integer_layer(node) if few and _in_signed_bytes(node.input(0)) else None
    return _plan(node, layer) if layer else None


def _in_signed_bytes(x: Tensor) -> bool:
    match x.encoding:
        case Affine(storage="int8") | Ternary() | Levels(signed=False, bits=2 | 3 | 4 | 5 | 6 | 7):
            return True
        case _:
            return False


def _plan(node: Node, layer: IntegerLayer) -> KernelPlan:
    weights = layer.weights.astype(np.int8)
    outputs, depth = weights.shape
    rows = node.input(0).size // depth
    # Word by word, with the words of all outputs together; then the remaining taps one by one.
    whole = depth // _WORD * _WORD
    words = weights[:, :whole].reshape(outputs, -1, _WORD).transpose(1, 0, 2)
    data = np.concatenate([words.reshape(-1), weights[:, whole:].T.reshape(-1)])
    layout = f"[{outputs}, {depth}], four taps of each in turn"
    return KernelPlan(
        template="dense/fully_connected_few_dsp.c.j2",
        stem=f"fully_connected_{layer.kinds}_few_dsp_{depth}x{outputs}",
        context={"rows": rows, "depth": depth, "outputs": outputs, **layer.epilogue.context, **layer.context},
        constants=(
            Constant("weights", data, layout),
            layer.epilogue.constant(),
        ),
        headers=_HEADERS,
        cycles=rows * ((_INPUTS + _PRODUCTS * outputs) * -(-depth // _WORD) + _OUTPUT * outputs),
    )
