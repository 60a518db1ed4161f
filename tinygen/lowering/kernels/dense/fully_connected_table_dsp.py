"""Dense layers of up to 16 different weights, for Armv7E-M: a byte of two indices instead of two weights of 16 bits.

A table in scratch has the pair of weights of each of the 256 bytes, so that a byte, a look-up and a product of pairs
give two taps: 1.5 instructions each, where weights of 16 bits take one, and wait for four times the flash.
"""

from __future__ import annotations

import numpy as np

from tinygen.ir.encodings import Binary
from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.lowering.kernels.dense.fully_connected_pairs_dsp import filled, pairs_of_taps
from tinygen.lowering.kernels.support.activations.codes import kind_of
from tinygen.lowering.kernels.support.activations.widening import widening
from tinygen.lowering.kernels.support.epilogues.integer_layer import integer_layer
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_HEADERS = (
    "tinygen_codes.h",
    "tinygen_dot.h",
    "tinygen_math.h",
    "tinygen_simd.h",
    "tinygen_table.h",
    "tinygen_widen.h",
)
_VALUES = 16
_FOUR, _FIVE = 4, 5
# Cycles per multiply-accumulate, of an output, to make the table; scale as those of the int8 kernel.
_EACH, _OUTPUTS, _TABLE = 1.27, 2.0, 450.0


@kernel(
    FullyConnected,
    of="codes",
    name="fully_connected_table_dsp",
    family="tinygen",
    isa="dsp",
    unless="dual-issue",
)
def fully_connected_table_dsp(node: Node) -> KernelPlan | None:
    """Five outputs at a time, as many as there are registers for; four where outputs are bits."""
    return _plan(node, _FIVE)


@kernel(FullyConnected, of="codes", name="fully_connected_table_dual", family="tinygen", isa="dual-issue")
def fully_connected_table_dual(node: Node) -> KernelPlan | None:
    """Four outputs at a time, whose indices are a word."""
    return _plan(node, _FOUR)


def _plan(node: Node, width: int) -> KernelPlan | None:
    op, x = node.op, node.input(0)
    assert isinstance(op, FullyConnected)
    outputs, depth = node.input(1).shape
    scaled = integer_mac.kernel_scales(node) is not None
    layer = None if depth % x.shape[-1] else integer_layer(node, scaled=scaled, wide=True, reads="any")
    if layer is None:
        return None
    weights = integer_mac.scaled_weights(node, layer.weights)
    values = np.unique(weights)
    if len(values) > _VALUES or values[0] < -(2**15) or values[-1] >= 2**15:
        return None
    width = _FOUR if layer.context["packed_output"] else width
    # Packed bits begin a new word with each pixel; other codes follow each other.
    pixels = depth // x.shape[-1] if isinstance(x.encoding, Binary) else 1
    widen = widening(x, 1, 0, depth // pixels)
    epilogue = layer.by_lengths.epilogue
    rows = x.size // depth
    # Taps that only fill up are multiplied by 0, whatever their index is.
    pairs = pairs_of_taps(filled(np.searchsorted(values, weights).astype(np.uint8), width, pixels, widen))
    indices = (pairs[..., 0] | pairs[..., 1] << 4).reshape(-1, width, pairs.shape[1]).transpose(0, 2, 1)
    book = np.zeros(_VALUES, np.int16)
    book[: len(values)] = values
    layout = f"{[outputs, depth]} pairs of indices of taps, {width} outputs in turn"
    return KernelPlan(
        template="dense/fully_connected_table_dsp.c.j2",
        stem=f"fully_connected_{kind_of(x.integer)}_{kind_of(node.input(1).integer)}_table_dsp_{depth}x{outputs}",
        context={
            "rows": rows,
            "outputs": outputs,
            "width": width,
            "pixels": pixels,
            "pairs": pairs.shape[1],
            "widen": widen.context,
            **epilogue.context,
            **layer.context,
        },
        constants=(
            # A loop reads two words ahead; as words they also lie at the address of one.
            Constant("indices", np.append(indices, np.zeros(8, np.uint8)), layout),
            Constant("book", book, "weights by index"),
            epilogue.constant(),
            *widen.constants,
        ),
        scratch_bytes=4 * (256 + pairs.shape[1] + 1),
        headers=_HEADERS,
        cycles=_TABLE + rows * (pixels * widen.cycles + len(pairs) * (2 * pairs.shape[1] * _EACH + _OUTPUTS)),
    )
