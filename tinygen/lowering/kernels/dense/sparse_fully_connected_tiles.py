"""Kernels of dense layers with sparse tiles of 4 x 4 weights, for Armv7E-M: the dense kernel with zero tiles skipped.

Instructions per tile: loads of weights 4 + of activations 2 + SMLAD 8 + SXTB16 4 + load of the step and its addition 2
+ loop 4: 24 of 16 weights, 1.5 per weight (measured 1.5), where the dense kernel takes 1.2. Tiles of 8 x 8 are four of
these; they could only save three of four steps.
"""

from __future__ import annotations

import numpy as np

from tinygen.ir.encodings import Affine, Levels, Ternary
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.lowering.kernels.dense import sparse_rows
from tinygen.lowering.kernels.dense.sparse_dense import sparse_layer
from tinygen.lowering.kernels.support.weights.packing import pack_carried_rows
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_HEADERS = ("tinygen_blocks.h", "tinygen_dense.h", "tinygen_dot.h", "tinygen_simd.h", "tinygen_sparse.h")
_REACH = 255
# Predicted cycles, as those of the dense kernels: of a tile, of four outputs, of an input.
_TILE, _ROW, _SPREAD = 21.2, 108.0, 2.0


def _tiles(node: Node) -> KernelPlan | None:
    """Four outputs at a time; codes of a signed byte."""
    if not _signed_bytes(node):
        return None
    layer = sparse_layer(node, unit=256)
    packed = None if layer is None else pack_carried_rows(layer.weights)
    if layer is None or packed is None:
        return None
    steps = sparse_rows.walk(np.asarray(sparse_rows.blocks_of(layer.weights, 4, 4).any(axis=(2, 3))), _REACH)
    tiles = packed.reshape(len(steps.counts), -1, 16)[steps.rows, steps.columns].reshape(-1)
    # What the shifted activations add: see tg_extend_dense().
    rows = layer.epilogue.rows.copy()
    rows[:, 0] -= 127 * layer.weights[:, 0::2].astype(np.int64).sum(axis=1)
    return layer.with_epilogue(layer.epilogue.with_rows(rows)).plan(
        "dense/sparse_fully_connected_tiles.c.j2",
        "sparse_4x4_dsp",
        constants=(
            layer.counts(steps.counts, "tiles of four outputs"),
            Constant("steps", np.append(steps.deltas, 0).astype(np.uint8), "fours of inputs from tile to tile"),
            Constant("weights", tiles if tiles.size else np.zeros(4, np.int8), "per tile four taps of each output"),
        ),
        headers=_HEADERS,
        scratch_bytes=-(-layer.depth // 4) * 8 + 4,
        cycles=_SPREAD * layer.depth + _ROW * len(steps.counts) + _TILE * len(steps.rows),
    )


def _signed_bytes(node: Node) -> bool:
    match node.input(0).encoding:
        case Affine(storage="int8") | Ternary() | Levels(signed=False, bits=2 | 3 | 4 | 5 | 6 | 7):
            return True
        case _:
            return False


kernel(FullyConnected, name="fully_connected_sparse_4x4_dsp", family="tinygen", isa="dsp", is_sparse=True)(_tiles)
