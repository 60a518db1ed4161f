"""Exact zeros among quantized weights: what pruned weights become."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from tinygen.errors import UnsupportedError
from tinygen.ir.encodings import Affine, Binary, Codebook, IntegerEncoding, Levels, Ternary

LARGEST_TABLE = 256


def only(weights: Tensor, kept: Tensor | None) -> Tensor:
    """The weights where they are kept (bool, same shape), 0 elsewhere, with no gradient; None keeps all."""
    return weights if kept is None else weights.where(kept, 0)


def with_zeros(codes: np.ndarray, encoding: IntegerEncoding, kept: np.ndarray) -> tuple[np.ndarray, IntegerEncoding]:
    """Codes and an encoding with the same values where `kept`, and 0 elsewhere; scales stay.

    Encodings without a zero get one: Binary becomes Ternary, signed Levels a Codebook of their odd integers and 0, a
    Codebook without 0 is one entry longer. Nothing changes where all is kept.

    Args:
        codes: as `encoding` stores them.
        kept: bool, shape of `codes`.

    Raises:
        UnsupportedError: a Codebook would have more than 256 entries.
    """
    if kept.all():
        return codes, encoding
    if isinstance(encoding, Affine) and len(encoding.zero_point) > 1:
        zeros = np.array(encoding.zero_point).reshape(-1, *(1,) * (codes.ndim - 1))
        return np.where(kept, codes, zeros).astype(encoding.dtype), encoding
    if isinstance(encoding, Binary):
        codes, encoding = encoding.integers(codes), Ternary(encoding.scale, encoding.axis)
    elif isinstance(encoding, Levels) and encoding.signed:
        codes, encoding = _odd_and_zero(codes, encoding, kept)
    elif isinstance(encoding, Codebook) and 0 not in encoding.table:
        encoding = Codebook(encoding.scale, encoding.axis, table=_table((*encoding.table, 0)))
    zero = encoding.table.index(0) if isinstance(encoding, Codebook) else 0
    zero = encoding.zero_point[0] if isinstance(encoding, Affine) else zero
    return np.where(kept, codes, zero).astype(encoding.dtype), encoding


def _odd_and_zero(codes: np.ndarray, encoding: Levels, kept: np.ndarray) -> tuple[np.ndarray, Codebook]:
    """Indices into an ascending table of the odd integers and 0; if these are too many, only of the ones in use."""
    table = encoding.integers(np.arange(2**encoding.bits))
    integers = encoding.integers(codes)
    if len(table) >= LARGEST_TABLE:
        table = np.unique(integers[kept]) if kept.any() else table[:1]
    table = np.sort(np.append(table, 0))
    found = Codebook(encoding.scale, encoding.axis, table=_table(tuple(int(value) for value in table)))
    return np.searchsorted(table, integers).clip(0, len(table) - 1), found


def _table(values: tuple[int, ...]) -> tuple[int, ...]:
    if len(values) > LARGEST_TABLE:
        raise UnsupportedError(
            f"pruned weights with {len(values) - 1} levels and 0 need a table of {len(values)} entries",
            where="weights",
            fix="Use at most 7 bits, or Symmetric8, which has a zero.",
        )
    return values
