"""Shared by kernels for cores without SIMD (templates/model/tinygen_scalar.h)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.encodings import Affine, Binary, Levels, LookedUp, Ternary
from tinygen.ir.ops.base import Node
from tinygen.ir.tensor import Tensor
from tinygen.lowering.kernels.support.activations.codes import smallest_integers
from tinygen.lowering.kernels.support.activations.widening import fits_int16
from tinygen.lowering.kernels.support.epilogues.requantize import Epilogue
from tinygen.lowering.plan import Constant

HEADERS = ("tinygen_math.h", "tinygen_scalar.h", "tinygen_simd.h")
HALVES_HEADER = "tinygen_halves.h"
_FLIP = 128
"""Between unsigned bytes and signed ones."""


@dataclass(frozen=True)
class Copy:
    """How activations are copied to scratch as the int8 or int16 that are multiplied.

    Attributes:
        fill: what stands for zero there.
        levels: codes q of signed levels become 2 * q - levels; 0 for others.
        flips: codes of 0 to 255 become signed ones, 128 less.
        bits: of words become -1 and 1.
        values: the integers of codes, int8 or int16, from the code `lowest` on; None if no table is needed.
        wide: codes are stored as int16.
    """

    fill: int
    levels: int = 0
    flips: bool = False
    bits: bool = False
    values: Constant | None = None
    lowest: int = 0
    wide: bool = False

    @property
    def changes(self) -> bool:
        """Whether the multiplied integers differ from the stored codes."""
        return self.levels > 0 or self.flips or self.bits or self.values is not None

    @property
    def dtype(self) -> np.dtype[Any]:
        """What is multiplied."""
        table = np.dtype(np.int8) if self.values is None else self.values.data.dtype
        return np.dtype(np.int16) if self.wide else table

    @property
    def cost(self) -> float:
        """Cost relative to a plain copy of bytes."""
        if self.values is not None:
            return 12.0
        return 8.0 if self.changes else float(self.dtype.itemsize)

    @property
    def context(self) -> dict[str, Any]:
        """Template values."""
        if self.values is not None:
            name = "tg_copy_values" if self.dtype == np.int16 else "tg_copy_small_values"
            return {"copy": name, "copy_extra": f", values, {self.lowest}"}
        if self.levels:
            return {"copy": "tg_copy_levels", "copy_extra": f", {self.levels}"}
        if self.bits:
            return {"copy": "tg_copy_signs", "copy_extra": ""}
        return {"copy": "tg_copy_flipped" if self.flips else "TG_COPY", "copy_extra": ""}


def int8_context(node: Node) -> dict[str, Any]:
    """Template values of how an int8 layer in TFLite's scheme reads and writes."""
    return {
        "source": "input",
        "y_type": "int8_t",
        "packed_output": False,
        "y_bits": 0,
        "y_step": node.output.shape[-1],
        "unsigned_bits": 0,
    }


def copy_of(x: Tensor) -> Copy | None:
    """The copy of int8-sized activations; None for those that do not fit a signed byte."""
    match x.encoding:
        case Affine(storage="int8"):
            return Copy(x.zero_point)
        case Ternary():
            return Copy(0)
        case Levels(signed=False):
            flips = x.encoding.bits == 8
            return Copy(-_FLIP if flips else 0, flips=flips)
        case Levels():
            return Copy(0, 2**x.encoding.bits - 1) if x.encoding.bits < 8 else None
        case _:
            return None


def any_copy_of(x: Tensor) -> Copy | None:
    """The same, also for bits, for tables, and for integers that fit 16 bits."""
    match x.encoding:
        case Binary():
            return Copy(0, bits=True)
        case LookedUp() if fits_int16(x) and not x.code_bits:
            low, high = x.integer.code_range
            values = smallest_integers(x.integer.integers(np.arange(low, high + 1).astype(x.dtype)))
            return Copy(0, values=Constant("values", values, f"integers of the codes from {low} on"), lowest=low)
        case Affine(storage="int16") if x.zero_point == 0:
            return Copy(0, wide=True)
        case _:
            return None if x.code_bits else copy_of(x)


def moved(ending: Epilogue, weights: np.ndarray, copy: Copy) -> Epilogue:
    """The epilogue of sums over what a copy gives; `weights` are [O, ...]."""
    if not copy.flips:
        return ending
    rows = ending.rows.copy()
    rows[:, 0] += _FLIP * weights.reshape(len(weights), -1).astype(np.int64).sum(axis=1)
    return ending.with_rows(rows)


@dataclass(frozen=True, eq=False)
class Interleaved:
    """Weights of four filters at a time.

    Attributes:
        rows: int8 or int16 [filters, taps], filters rounded up to a multiple of four with zeros.
        data: the same tap by tap, those of four filters together.
    """

    rows: np.ndarray
    data: np.ndarray

    @property
    def constant(self) -> Constant:
        return Constant("weights", self.data, f"{list(self.rows.shape)}, four filters tap by tap")


def by_four(weights: np.ndarray) -> Interleaved:
    """`weights`: int8 or int16 [filters, taps]."""
    filters, taps = weights.shape
    rows = np.zeros((-(-filters // 4) * 4, taps), weights.dtype)
    rows[:filters] = weights
    return Interleaved(rows, np.ascontiguousarray(rows.reshape(-1, 4, taps).transpose(0, 2, 1)).reshape(-1))
