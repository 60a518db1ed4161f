"""Sparse constants: all their elements, from those that the file stores.

The format is TACO's (Kjolstad et al., "The Tensor Algebra Compiler", 2017; `SparsityParameters` of the schema): levels
in traversal order, each dense or compressed, so that the stored elements are the leaves of a tree in order. Dimensions
may be cut into blocks, whose insides are levels of their own behind the dimensions of the tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tflite

from tinygen.errors import ModelError, UnsupportedError

_VECTORS = {
    tflite.SparseIndexVector.Int32Vector: tflite.Int32Vector,
    tflite.SparseIndexVector.Uint16Vector: tflite.Uint16Vector,
    tflite.SparseIndexVector.Uint8Vector: tflite.Uint8Vector,
}

_MOST_ELEMENTS = 1 << 22
"""Of a sparse constant: a small file may ask for any number."""


def dense(
    sparsity: Any, shape: Sequence[int], stored: np.ndarray, where: str, count: Callable[[int], int]
) -> np.ndarray:
    """All elements of a sparse constant, zeros included.

    Args:
        sparsity: the file's table.
        shape: of the tensor.
        stored: the elements that the file has, flat.
        where: the tensor, for errors.
        count: gives a vector's length back, if the file can hold it.

    Raises:
        ModelError: the table does not fit the shape or the elements.
        UnsupportedError: there are too many elements.
    """
    if math.prod(shape) > _MOST_ELEMENTS:
        raise UnsupportedError(
            f"is sparse, and has {math.prod(shape)} elements",
            where=where,
            fix=f"Use smaller layers: no board has room for more than {_MOST_ELEMENTS} weights in one of them.",
        )
    order = [sparsity.TraversalOrder(i) for i in range(count(sparsity.TraversalOrderLength()))]
    blocked = [sparsity.BlockMap(i) for i in range(count(sparsity.BlockMapLength()))]
    levels = [sparsity.DimMetadata(i) for i in range(count(sparsity.DimMetadataLength()))]
    rank, whole = len(shape), len(shape) + len(blocked)
    if sorted(order) != list(range(whole)) or len(levels) != whole or not set(blocked) <= set(range(rank)):
        raise ModelError(f"has levels {order} and blocks of {blocked} for {rank} dimensions", where=where)
    block = np.ones(rank, np.int64)
    for level, place in enumerate(order):
        if place >= rank:
            block[blocked[place - rank]] = max(levels[level].DenseSize(), 1)
    if np.any(np.array(shape) % block):
        raise ModelError(f"has blocks of {block.tolist()} in shape {list(shape)}", where=where)
    sizes = [*(np.array(shape) // block).tolist(), *(int(block[place]) for place in blocked)]
    places = _leaves(levels, [sizes[place] for place in order], len(stored), where, count)
    coordinates = np.zeros((rank, places.shape[1]), np.int64)
    for place, found in zip(order, places, strict=True):
        axis = place if place < rank else blocked[place - rank]
        coordinates[axis] += found * (block[axis] if place < rank else 1)
    result = np.zeros(shape, stored.dtype)
    result[tuple(coordinates)] = stored
    return result


def _leaves(
    levels: Sequence[Any], sizes: Sequence[int], stored: int, where: str, count: Callable[[int], int]
) -> np.ndarray:
    """Indices of the stored elements in each level, [levels, elements], as many as there are."""
    places = np.zeros((0, 1), np.int64)
    for level, size in zip(levels, sizes, strict=True):
        nodes = places.shape[1]
        if level.Format() == tflite.DimensionType.DENSE:
            fits = level.DenseSize() == size
            parents, found = np.repeat(np.arange(nodes), size), np.tile(np.arange(size), nodes)
        else:
            begin = _vector(level.ArraySegmentsType(), level.ArraySegments(), count)
            found = _vector(level.ArrayIndicesType(), level.ArrayIndices(), count)
            lengths = np.diff(begin)
            fits = len(begin) == nodes + 1 and begin[0] == 0 and begin[-1] == len(found) and np.all(lengths >= 0)
            parents = np.repeat(np.arange(nodes), lengths) if fits else np.zeros(0, np.int64)
        if not fits or np.any((found < 0) | (found >= size)):
            raise ModelError(f"has a level that does not fit its {size} places", where=where)
        places = np.concatenate([places[:, parents], found[None]])
    if places.shape[1] != stored:
        raise ModelError(f"has {stored} elements of data, its levels have {places.shape[1]}", where=where)
    return places


def _vector(kind: int, table: Any, count: Callable[[int], int]) -> np.ndarray:
    """A vector of indices, of whichever type, int64."""
    if kind not in _VECTORS or table is None:
        return np.zeros(0, np.int64)
    vector = _VECTORS[kind]()
    vector.Init(table.Bytes, table.Pos)
    return vector.ValuesAsNumpy().astype(np.int64) if count(vector.ValuesLength()) else np.zeros(0, np.int64)
