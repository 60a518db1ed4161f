"""Weights of less than 8 bits that are unpacked to bytes or halves in scratch, as they would lie in flash else.

Four filters at a time on cores without SIMD, or at once for layers of few weights, depthwise ones.
templates/model/tinygen_unpack.h says how; what is packed is what coded_weights.py packs for cores with SIMD.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations.codes import smallest_integers
from tinygen.lowering.kernels.support.loops import scalar
from tinygen.lowering.kernels.support.weights.coded_weights import (
    HEADER,
    AnyCode,
    BookCode,
    GridCode,
    IndexCode,
    book_of,
    find_any_code,
    pack_blocks,
)
from tinygen.lowering.plan import Constant, KernelPlan

HEADERS = (HEADER, "tinygen_dot.h", "tinygen_unpack.h")
_ALIGNED = 8
ON_ARMV6M_UNPACKED = 1.07
"""Cycles of a Cortex-M0+ relative to these:"""
# Cycles of an ESP32-C3: an entry of a table of pairs; a weight from there; a weight by index; of bytes on a grid.
_ENTRY, _PAIRED, _INDEXED, _STEPPED = 10.0, 3.3, 6.5, 6.0


@dataclass(frozen=True, eq=False)
class Unpacking:
    """How the weights of a layer are packed and unpacked.

    Attributes:
        code: with a table where weights on a grid are no bytes.
        dtype: of unpacked weights, int8 or int16.
        blocks: uint32 words of each four filters.
        taps: of a filter.
        scratch_bytes: of a block unpacked, and of a table for that.
        begin: cycles of making that table.
        each: cycles per weight that is unpacked.
    """

    code: AnyCode
    dtype: np.dtype[Any]
    blocks: np.ndarray
    taps: int
    scratch_bytes: int
    begin: float
    each: float

    @property
    def constants(self) -> tuple[Constant, ...]:
        """The weights, and a book."""
        layout = f"{[4 * len(self.blocks), self.taps]} codes of {self.code.bits} bits, four filters tap by tap"
        return (Constant("weights", self.blocks.reshape(-1), layout), *self._book())

    def _book(self) -> tuple[Constant, ...]:
        books = self.code.constants()
        return tuple(Constant(book.name, book.data.astype(self.dtype), book.comment) for book in books)

    def context(self) -> dict[str, Any]:
        """Template values (kernels/support/unpacked.j2)."""
        found = {**self.code.context(), "words": self.blocks.shape[1], "bytes": self.dtype == np.int8}
        found["scratch"] = self.scratch_bytes
        match self.code:
            case GridCode():
                return found | {"type": "uint32_t", "from": ""}
            case BookCode():
                types = {"type": "uint16_t", "table_type": "uint16_t"} if self.dtype == np.int8 else {}
                types = types or {"type": "int16_t", "table_type": "uint32_t"}
                return found | types | {"from": "table", "entries": 4**self.code.bits}
            case IndexCode():
                return found | {"type": ctype(self.dtype), "table_type": ctype(self.dtype), "from": "book"}


def unpacking(weights: np.ndarray, groups: int) -> Unpacking | None:
    """How weights [O, ...] are packed; None where no code has less bits than what is multiplied.

    Args:
        weights: integers within int16.
        groups: of filters; those of a group are rounded up to a multiple of four.
    """
    code = find_any_code(weights)
    dtype = smallest_integers(weights).dtype
    if isinstance(code, GridCode) and dtype == np.int16:
        code = book_of(code)
    if code is None:
        return None
    rows = code.codes(weights.reshape(len(weights), -1))
    parts = [scalar.by_four(part).data for part in np.split(rows, groups)]
    codes = np.concatenate(parts).reshape(-1, 4 * rows.shape[1])
    if isinstance(code, BookCode):
        # Pairs of neighbours, where those of SIMD are 0 and 2, 1 and 3.
        codes = codes.reshape(len(codes), -1, 4)[:, :, [0, 2, 1, 3]].reshape(codes.shape)
    packed = pack_blocks(code, codes)
    size = dtype.itemsize
    begin, table = 0.0, 0
    if isinstance(code, BookCode):
        begin, table = _ENTRY * 4**code.bits, 2 * size * 4**code.bits
    block = 2 * size * packed.extend_words
    scratch = -(-(table + block) // _ALIGNED) * _ALIGNED
    return Unpacking(code, dtype, packed.words, rows.shape[1], scratch, begin, _cycles(code))


def all_unpacked(plan: KernelPlan, cost: float = 1.0) -> KernelPlan | None:
    """The plan with its weights, the first of its constants, in codes that are all unpacked before it begins.

    Args:
        plan: of a template with kernels/support/unpacked.j2's `head` and `tail`.
        cost: of instructions, relative to those of an ESP32-C3.

    Returns:
        None where that takes no less flash.
    """
    weights = plan.constants[0]
    assert weights.name == "weights"
    found = _in_steps(weights.data) or _in_code(weights.data)
    if found is None or sum(one.nbytes for one in found.arrays.values()) >= weights.data.nbytes:
        return None
    kind = weights.data.dtype
    begin = -(-plan.scratch_bytes // _ALIGNED) * _ALIGNED
    layouts = {"packed": f"{weights.comment} codes of {found.bits} bits", "book": "weights by code"}
    unpacking = found.cycles * weights.data.size
    return replace(
        plan,
        stem=f"{plan.stem}_{found.name}",
        context={
            **plan.context,
            "weights_code": {**found.context, "begin": begin, "weight_type": ctype(kind), "bytes": kind == np.int8},
        },
        constants=(*(Constant(name, data, layouts[name]) for name, data in found.arrays.items()), *plan.constants[1:]),
        scratch_bytes=begin + found.count * kind.itemsize,
        headers=(*HEADERS, *plan.headers),
        cycles=plan.cycles + cost * unpacking,
        armv6m_cycles=None if plan.armv6m_cycles is None else plan.armv6m_cycles + ON_ARMV6M_UNPACKED * unpacking,
    )


@dataclass(frozen=True, eq=False)
class _Stored:
    """All weights of a layer in codes.

    Attributes:
        name, bits: of the code.
        arrays: by name.
        count: of weights that are unpacked.
        cycles: of each.
    """

    name: str
    bits: int
    arrays: dict[str, np.ndarray]
    context: dict[str, Any]
    count: int
    cycles: float


def _in_code(data: np.ndarray) -> _Stored | None:
    found = find_any_code(data)
    if isinstance(found, GridCode) and data.dtype == np.int16:
        found = book_of(found)
    # Where there are few weights, a table of pairs costs more than it saves.
    code = IndexCode(found.bits, found.book) if isinstance(found, BookCode) else found
    if code is None:
        return None
    codes = np.zeros((1, -(-data.size // 4) * 4), np.uint8)
    codes[0, : data.size] = code.codes(data.reshape(-1))
    packed = pack_blocks(code, codes)
    arrays = {"packed": packed.words.reshape(-1)} | {one.name: one.data.astype(data.dtype) for one in code.constants()}
    typed = "uint32_t" if isinstance(code, GridCode) else ctype(data.dtype)
    types = {"type": typed, "table_type": typed, "from": "" if isinstance(code, GridCode) else "book"}
    context = {**code.context(), **types, "packed_type": "uint32_t", "words": packed.words.size}
    return _Stored(code.name, code.bits, arrays, context, 2 * packed.extend_words, _cycles(code))


def _in_steps(data: np.ndarray) -> _Stored | None:
    """Halves on a grid of more than 128 and up to 256 values, such as signed levels of 8 bits: a byte each."""
    low, high = int(data.min()), int(data.max())
    step = int(np.gcd.reduce(data.reshape(-1).astype(np.int64) - low))
    if data.dtype != np.int16 or step == 0 or not 128 <= (high - low) // step < 256:
        return None
    middle = low + 128 * step
    arrays = {"packed": ((data.reshape(-1).astype(np.int64) - middle) // step).astype(np.int8)}
    context = {"kind": "steps", "type": "int16_t", "packed_type": "int8_t", "from": "", "words": data.size}
    return _Stored("w8", 8, arrays, context | {"step": step, "middle": middle}, data.size, _STEPPED)


def _cycles(code: AnyCode) -> float:
    """Cycles per weight."""
    pieces = code.bits.bit_count()
    match code:
        case GridCode():
            return (3 * pieces + 3 + (code.step.bit_count() > 1)) / 4 + code.bits / 16
        case BookCode():
            return _PAIRED
        case IndexCode():
            return _INDEXED + (3 * pieces - 2) / 4
