"""Kernels of dense layers with block-sparse weights, for Armv7E-M: pairs of neighbours in one multiplication.

Instructions per weight of a live block, four blocks at a time:
    1 x 2   steps 1 + loads of weights 2 + of activations 4 + UXTAB 4 + SXTB16 4 + SMLAD 4 + loop 3, of 8 weights: 2.75
    1 x 4   1 + 4 + 8 + 4 + 8 + 8 + 3, of 16: 2.25
    2 x 2   1 + 4 + 4 + 4 + 8 + 8 + 3, of 16: 2.0
against 1.2 of the dense kernel and 4.4 of single weights. Blocks of 1 x 8 would take 2.2:
loads of weights, extensions and products are the same, and of steps there is one per four weights already. Measured in
layers: 3.0, 2.5 and 2.2, including the overhead of rows; 1.75, 1.31 and 1.31 cycles on a Cortex-M7, 3.4, 2.6 and 2.6 on
an M4.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.lowering.kernels.dense import sparse_rows
from tinygen.lowering.kernels.dense.sparse_dense import sparse_layer
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_HEADERS = ("tinygen_blocks.h", "tinygen_dot.h", "tinygen_simd.h", "tinygen_sparse.h")
_PIECE = 4
"""Blocks that the loop takes at once."""
_AHEAD = 3


@dataclass(frozen=True)
class _Form:
    """A shape of blocks, and what it costs: cycles of a block and of a row of blocks that has none."""

    height: int
    width: int
    block: float
    row: float


_FORMS = (_Form(1, 2, 4.9, 45.0), _Form(1, 4, 7.7, 45.0), _Form(2, 2, 7.6, 60.0))


def _plan(node: Node, form: _Form) -> KernelPlan | None:
    layer = sparse_layer(node)
    if layer is None:
        return None
    blocks = sparse_rows.blocks_of(layer.weights, form.height, form.width)
    pair_bytes = 2 * form.width
    steps = sparse_rows.walk(np.asarray(blocks.any(axis=(2, 3))), 255 // pair_bytes)
    counts = -(-steps.counts // _PIECE)
    deltas = steps.padded((steps.deltas * pair_bytes).astype(np.uint8).view(np.int8), _PIECE).reshape(-1, _PIECE)
    weights = steps.padded(_ordered(blocks[steps.rows, steps.columns], form), _PIECE)
    words = np.concatenate([deltas, _pieces(weights, form)], axis=1)
    size = words.shape[1] // 4
    ready = layer.widened(padding=-layer.depth % form.width)
    return ready.plan(
        "dense/sparse_fully_connected_blocks.c.j2",
        f"sparse_{form.height}x{form.width}_dsp",
        constants=(
            layer.counts(counts, f"pieces of {_PIECE} blocks"),
            Constant(
                "weights",
                np.append(sparse_rows.to_words(words), np.zeros(_AHEAD, np.uint32)),
                f"per piece four steps, then blocks of {form.height} x {form.width}",
            ),
        ),
        headers=_HEADERS,
        cycles=form.row * len(blocks) + form.block * len(weights),
        height=form.height,
        width=form.width,
        piece_words=size,
    )


def _ordered(blocks: np.ndarray, form: _Form) -> np.ndarray:
    """Weights of each block [height, width] in the order of the bytes in which SXTB16 finds its pairs."""
    flat = blocks.reshape(len(blocks), form.height * form.width)
    return flat if flat.shape[1] == 2 else flat[:, [0, 2, 1, 3]]


def _pieces(weights: np.ndarray, form: _Form) -> np.ndarray:
    """Bytes per piece; two blocks of 1 x 2 share a word, pair within pair."""
    if weights.shape[1] == 2:
        weights = weights.reshape(-1, 2, 2).transpose(0, 2, 1)
    return weights.reshape(-1, _PIECE * form.height * form.width)


for _form in _FORMS:
    _name = f"fully_connected_sparse_{_form.height}x{_form.width}_dsp"
    kernel(FullyConnected, name=_name, family="tinygen", isa="dsp", is_sparse=True)(partial(_plan, form=_form))
