"""Kernels of dense layers with many zero weights: live weights one by one, each with the step to its activation.

Instructions per live weight (M7, M4): half a load for it and its step, half an SXTB16, UXTAB for the step, a load of
the activation, SMLABB: 4.0, and 0.4 for the loop over eight; 2.2 cycles on a Cortex-M7, which issues loads and
extensions together with products, 4.7 on a Cortex-M4. The dense kernel takes 1.2 instructions per weight, live or not,
0.66 and 1.43 cycles: so break-even is at about 28 % live weights. Steps of 8 bits serve rows of any width: absolute
columns would cost as many cycles, and twice the flash beyond 256 columns.
"""

from __future__ import annotations

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.lowering.kernels.dense import sparse_rows
from tinygen.lowering.kernels.dense.sparse_dense import SparseLayer, sparse_layer
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_HEADERS = ("tinygen_dot.h", "tinygen_simd.h", "tinygen_sparse.h")
_REACH = 255
_PIECE = 4
"""Weights that the loop takes at once."""
_MOST_APART = 4095
"""Bytes that a load reaches."""
_AHEAD = 2
"""Words that it reads behind the last."""

# Predicted cycles of a weight and of a row, beside those of the dense kernels, for boards whose flash has wait states.
# Without wait states it is a tenth more, as these kernels read less flash per cycle than the dense ones.
_WEIGHT, _ROW = 3.5, 40.0
_WEIGHT_OF_TWO, _ROW_OF_TWO = 2.8, 26.0
"""Where two rows of the input go through the weights together."""
# Of the portable kernel, on a Cortex-M0+.
_WEIGHT_C99, _ROW_C99 = 11.0, 114.0


def _steps_dsp(node: Node) -> KernelPlan | None:
    """Two weights in a word, four at a time."""
    layer = sparse_layer(node)
    if layer is None:
        return None
    entries, counts = _entries(layer, _PIECE)
    words = np.append(sparse_rows.to_words(entries), np.zeros(_AHEAD, np.uint32))
    context = layer.context
    together = layer.rows > 1 and layer.depth <= _MOST_APART and not (context["expanded"] or context["packed_output"])
    single = layer.rows % 2 / layer.rows if together else 1.0
    weight = single * _WEIGHT + (1 - single) * _WEIGHT_OF_TWO
    row = single * _ROW + (1 - single) * _ROW_OF_TWO
    return layer.plan(
        "dense/sparse_fully_connected.c.j2",
        "sparse_dsp",
        constants=(
            layer.counts(counts // _PIECE, f"pieces of {_PIECE} weights"),
            Constant("weights", words, "steps and weights by turns, from the lowest byte of each word"),
        ),
        headers=_HEADERS,
        cycles=row * layer.outputs + weight * len(entries),
        lanes=2 if together else 1,
    )


def _steps_c99(node: Node) -> KernelPlan | None:
    """Weight by weight, on any core."""
    layer = sparse_layer(node)
    if layer is None:
        return None
    entries, counts = _entries(layer, 1)
    content = entries.reshape(-1).view(np.uint8) if entries.size else np.zeros(2, np.uint8)
    return layer.plan(
        "dense/sparse_fully_connected_c99.c.j2",
        "sparse",
        constants=(layer.counts(counts, "live weights"), Constant("weights", content, "steps and weights by turns")),
        headers=(),
        cycles=_ROW_C99 * layer.outputs + _WEIGHT_C99 * len(entries),
    )


def _entries(layer: SparseLayer, multiple: int) -> tuple[np.ndarray, np.ndarray]:
    """(step, weight) as bytes [entries, 2], rows padded to a multiple of entries, and how many each row has."""
    steps = sparse_rows.walk(layer.weights != 0, _REACH)
    pairs = np.stack([steps.deltas.astype(np.uint8).view(np.int8), layer.weights[steps.rows, steps.columns]], axis=1)
    return steps.padded(pairs, multiple), -(-steps.counts // multiple) * multiple


kernel(FullyConnected, name="fully_connected_sparse", family="tinygen", is_sparse=True)(_steps_c99)
kernel(FullyConnected, name="fully_connected_sparse_dsp", family="tinygen", isa="dsp", is_sparse=True)(_steps_dsp)
