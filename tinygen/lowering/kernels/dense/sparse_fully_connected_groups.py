"""Kernels of dense layers with N live weights among each M neighbouring inputs: no column indices, only positions in
groups.

Convolutions are dense layers with a row for each pixel: of 1x1 the pixel of the input, else its window, copied. These
are only for cores without SIMD, where 2:4 takes 0.74 (1x1) and 0.64 (3x3) of the dense kernel's cycles (Cortex-M0+,
emulated).

Flash per kept weight is 1 byte and 2 bits (M = 4) or 4 bits (M = 8, 16), where single weights with steps take 2 bytes:
62.5 % of the dense weights at 2:4, 31 % at 1:4, 75 % at 4:8. Instructions, four weights at a time:
    weight by weight    AND of their places 1 + load of weights 1 + UXTAB 4 + loads of activations 4 + SXTB16 2 +
                        SMLABB 4: 4.0 per weight, 4.3 with the loop; so 2:4 takes 8.6 per group of four inputs
    2:4, pair by pair   all pairs of four activations are made once per row of the input; four groups take AND 1 + loads
                        of weights 2 + UXTAB 4 + loads of pairs 4 + SXTB16 4 + SMLAD 4: 4.75 per group, 5.1 in a loop
The dense kernel takes 4.7 per group of four inputs. So 2:4 saves flash and takes more time (measured: 1.3 times the
dense kernel's cycles on a Cortex-M7, 1.2 times on a Cortex-M4); 1:4 is as fast with a third of the flash.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.lowering.kernels.dense import sparse_rows
from tinygen.lowering.kernels.dense.sparse_dense import SparseLayer, sparse_layer
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_HEADERS = ("tinygen_groups.h", "tinygen_dot.h", "tinygen_simd.h", "tinygen_sparse.h")
_PAIRS = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
"""In the order of tg_extend_choices()."""
_EIGHT = 8
"""Groups of pairs whose choices share a word."""

# Predicted cycles, as those of the dense kernels: of a weight by the bits of its place, of a group of pairs, of an
# input, of a row; those of the portable kernel are of a Cortex-M0+.
_WEIGHT = {2: 3.4, 4: 3.9}
_GROUP, _SPREAD, _ROW = 4.45, 4.0, 40.0
_WEIGHT_C99, _ROW_C99 = 11.0, 95.0


@dataclass(frozen=True, eq=False)
class _Groups:
    """Weights by groups of inputs.

    Attributes:
        size: M.
        kept: N, a power of two.
        places, weights: [outputs, groups, kept]; where each kept weight stands in its group, in rising order.
    """

    size: int
    kept: int
    places: np.ndarray
    weights: np.ndarray

    @property
    def bits(self) -> int:
        return 2 if self.size == 4 else 4

    @property
    def row(self) -> int:
        """Kept weights of a row."""
        return self.places.shape[1] * self.kept

    @property
    def chunk(self) -> int:
        """Weights whose places share a word."""
        return 32 // self.bits


def _groups(weights: np.ndarray) -> _Groups | None:
    """The groups that take the least flash; None if at every size some group has more than half of its weights live."""
    found = [groups for size in (4, 8, 16) if (groups := _of_size(weights, size))]
    return min(found, key=lambda groups: groups.row * (8 + groups.bits), default=None)


def _of_size(weights: np.ndarray, size: int) -> _Groups | None:
    groups = sparse_rows.blocks_of(weights, 1, size)[:, :, 0]
    most = int(np.count_nonzero(groups, axis=-1).max(initial=0))
    kept = 1 << max(most - 1, 0).bit_length()
    if kept > size // 2:
        return None
    # Live weights first, in their order; missing ones are zero weights in place 0.
    order = np.argsort(groups == 0, axis=-1, kind="stable")[:, :, :kept]
    chosen = np.take_along_axis(groups, order, axis=-1)
    return _Groups(size, kept, np.where(chosen != 0, order, 0), chosen)


def _rows(values: np.ndarray, multiple: int) -> np.ndarray:
    """[outputs, ...] as flat rows with zeros up to a multiple."""
    flat = values.reshape(len(values), -1)
    return np.pad(flat, ((0, 0), (0, -flat.shape[1] % multiple)))


def _packed_places(groups: _Groups, order: np.ndarray) -> np.ndarray:
    """A word per chunk [outputs, chunks]; weight i of a chunk is in the bits from order[i]."""
    places = _rows(groups.places, groups.chunk).astype(np.uint32)
    chunks = places.reshape(len(places), -1, groups.chunk)
    return np.bitwise_or.reduce(chunks << order.astype(np.uint32), axis=-1).astype(np.uint32)


def _chunk_context(groups: _Groups) -> dict[str, Any]:
    chunks, rest = divmod(groups.row, groups.chunk)
    return {
        "kept": groups.kept,
        "group": groups.size,
        "chunk": groups.chunk,
        "place_bits": groups.bits,
        "chunks": chunks,
        "rest": rest,
        "mask": "UINT32_C(0x%s)" % ("03" * 4 if groups.bits == 2 else "0F" * 4),
    }


def _interleaved(heads: np.ndarray, bodies: np.ndarray, size: int) -> np.ndarray:
    """Per row and chunk a head [outputs, chunks], then `size` words of the body [outputs, words], the last fewer."""
    parts = []
    for chunk in range(heads.shape[1]):
        parts += [heads[:, chunk : chunk + 1], bodies[:, chunk * size : (chunk + 1) * size]]
    return np.concatenate(parts, axis=1).reshape(-1)


def _weight_words(weights: np.ndarray) -> np.ndarray:
    """int8 [outputs, multiple of 4] as words with bytes 0, 2, 1, 3, so that SXTB16 gives neighbours."""
    fours = weights.reshape(len(weights), -1, 4)[:, :, [0, 2, 1, 3]].astype(np.int8)
    return np.ascontiguousarray(fours).view("<u4")[:, :, 0].astype(np.uint32)


def _prepared(node: Node) -> tuple[SparseLayer, _Groups] | None:
    layer = sparse_layer(node)
    groups = _groups(layer.weights) if layer else None
    return None if layer is None or groups is None else (layer, groups)


def _groups_dsp(node: Node) -> KernelPlan | None:
    """Four weights at a time."""
    found = _prepared(node)
    if found is None:
        return None
    layer, groups = found
    lanes = np.arange(groups.chunk)
    places = _packed_places(groups, 8 * (lanes % 4) + groups.bits * (lanes // 4))
    words = _interleaved(places, _weight_words(_rows(groups.weights, 4)), groups.chunk // 4)
    comment = f"per {groups.chunk} weights their places in groups of {groups.size}, then they as 0 2 1 3"
    return layer.plan(
        "dense/sparse_fully_connected_groups.c.j2",
        f"sparse_{groups.kept}_of_{groups.size}_dsp",
        constants=(Constant("weights", words, comment),),
        headers=_HEADERS,
        cycles=layer.outputs * (_ROW + _WEIGHT[groups.bits] * groups.row),
        **_chunk_context(groups),
    )


def _groups_c99(node: Node) -> KernelPlan | None:
    """Weight by weight, on any core."""
    found = _prepared(node)
    if found is None:
        return None
    layer, groups = found
    places = _packed_places(groups, groups.bits * np.arange(groups.chunk))
    return layer.plan(
        "dense/sparse_fully_connected_groups_c99.c.j2",
        f"sparse_{groups.kept}_of_{groups.size}",
        constants=(
            Constant("positions", places.reshape(-1), f"places in groups of {groups.size}, {groups.bits} bits each"),
            Constant("weights", groups.weights.astype(np.int8).reshape(-1), f"[{layer.outputs}, {groups.row}]"),
        ),
        headers=(),
        cycles=layer.outputs * (_ROW_C99 + _WEIGHT_C99 * groups.row),
        **_chunk_context(groups),
    )


def _pairs_dsp(node: Node) -> KernelPlan | None:
    """2:4 pair by pair: where flash is limited, as no kernel that takes as little is as fast."""
    layer = sparse_layer(node)
    groups = _of_size(layer.weights, 4) if layer else None
    if layer is None or groups is None or groups.kept != 2 or layer.context["expanded"] or _is_wide(node):
        return None
    choices, weights = _choices(groups)
    used = -(-groups.places.shape[1] // 4) * 4
    chunks, rest = divmod(used, _EIGHT)
    padded = np.pad(choices, ((0, 0), (0, -choices.shape[1] % _EIGHT))).astype(np.uint32)
    lanes = np.arange(_EIGHT)
    shifts = (8 * (lanes % 4) + 2 + 3 * (lanes // 4)).astype(np.uint32)
    heads = np.bitwise_or.reduce(padded.reshape(len(padded), -1, _EIGHT) << shifts, axis=-1).astype(np.uint32)
    padding = 6 * (used - -(-layer.depth // 4))
    return layer.plan(
        "dense/sparse_fully_connected_pairs_of_four.c.j2",
        "sparse_pairs_dsp",
        constants=(
            Constant("weights", _interleaved(heads, weights, 4), "per eight groups which pairs they take, weights"),
        ),
        headers=_HEADERS,
        scratch_bytes=24 * used,
        cycles=_SPREAD * layer.depth + layer.outputs * (_ROW + _GROUP * used),
        chunks=chunks,
        rest=rest,
        padding=padding,
    )


def _is_wide(node: Node) -> bool:
    """Whether there are codes above 127, which tg_extend_choices() does not support."""
    return node.input(0).dtype == np.uint8 and node.input(0).code_range[1] > 127


def _choices(groups: _Groups) -> tuple[np.ndarray, np.ndarray]:
    """Which pair each group takes [outputs, groups], and words of weights [outputs, groups / 2], groups by fours."""
    live = groups.weights != 0
    first = groups.places[:, :, 0]
    second = np.where(live[:, :, 1], groups.places[:, :, 1], (first + 1) % 4)
    swapped = second < first
    low, high = np.where(swapped, second, first), np.where(swapped, first, second)
    numbers = np.zeros((4, 4), np.int64)
    for number, pair in enumerate(_PAIRS):
        numbers[pair] = number
    weights = np.where(swapped[:, :, None], groups.weights[:, :, ::-1], groups.weights)
    fours = np.pad(weights, ((0, 0), (0, -weights.shape[1] % 4), (0, 0)))
    # Two groups in a word: the first as bytes 0 and 2, the second as 1 and 3.
    words = fours.reshape(len(fours), -1, 2, 2).transpose(0, 1, 3, 2).astype(np.int8)
    return numbers[low, high], np.ascontiguousarray(words).reshape(len(fours), -1, 4).view("<u4")[:, :, 0]


_dense = partial(kernel, FullyConnected, family="tinygen", is_sparse=True)
_dense(name="fully_connected_sparse_groups", isa="c99")(_groups_c99)
_dense(name="fully_connected_sparse_groups_dsp", isa="dsp")(_groups_dsp)
_dense(name="fully_connected_sparse_pairs_dsp", isa="dsp")(_pairs_dsp)
# With SIMD the dense convolution makes two pixels of two filters at once, and is three times as fast as these.
kernel(Conv2D, name="conv_2d_sparse_groups", family="tinygen", is_sparse=True)(_groups_c99)
