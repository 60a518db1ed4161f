"""The cheapest code that a layer's weights fit, from their values alone, and how its words are packed.

The origin of the weights does not matter: a 4-bit convolution of a TFLite file, DoReFa levels, ternary, pruned or
shared weights are all integers with few values, which is all that a kernel depends on (templates/model/tinygen_coded.h
says how it unpacks them).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.lowering.plan import Constant

HEADER = "tinygen_coded.h"
_MOST_BITS = 7
_BOOK_BITS = (2, 3, 4)
_PIECES = (4, 2, 1)
_BYTE = 8
_STEEPEST = 257


@dataclass(frozen=True)
class GridCode:
    """weight = step * code + first.

    Attributes:
        bits: of a code, 1 to 7.
        step: positive; the largest weight is less than 256 above the least.
        first: the least weight, int16.
    """

    bits: int
    step: int
    first: int

    @property
    def name(self) -> str:
        """For names of kernels and functions."""
        return f"w{self.bits}"

    @property
    def group(self) -> int:
        """Number of codes that are packed together; TG_GROUP() in C."""
        return _group(self.bits)

    @property
    def table_bytes(self) -> int:
        """Scratch for the table that unpacking needs, in bytes."""
        return 0

    @property
    def extend_cycles(self) -> float:
        """Instructions per weight that is unpacked to int16."""
        pieces = self.bits.bit_count()
        return 1.0 + (2 * pieces - 1 + (_odd_part(self.step) > 1)) / 4 + self.bits / 32

    def pieces(self) -> list[tuple[int, int]]:
        """(bits, lowest bit) of the pieces that codes are cut into."""
        return _pieces(self.bits)

    @property
    def of_zero(self) -> int:
        """The weight of code 0."""
        return self.first

    def codes(self, weights: np.ndarray) -> np.ndarray:
        """uint8 codes of the layer's weights."""
        return np.asarray((weights.astype(np.int64) - self.first) // self.step).astype(np.uint8)

    def context(self) -> dict[str, Any]:
        """Template values: shift and factor make the step."""
        factor = _odd_part(self.step)
        shift = (self.step // factor).bit_length() - 1
        return {"kind": "grid", "bits": self.bits, "shift": shift, "factor": factor, "first": self.first}

    def constants(self) -> tuple[Constant, ...]:
        """Arrays beside the weights."""
        return ()

    def pack(self, codes: np.ndarray) -> np.ndarray:
        """Rows of codes in the order of the kernel's bytes, to uint32 words [rows, words].

        Args:
            codes: uint8 [rows, count], count a multiple of 4: four bytes are a quad, bytes 0 and 2 its first pair.
        """
        return _pack_pieces(codes, self.bits, self.group)


def _group(bits: int) -> int:
    return 32 if bits % 2 else 16 if bits % 4 else 8


def _pieces(bits: int) -> list[tuple[int, int]]:
    found, at = [], 0
    for piece in _PIECES:
        if bits & piece:
            found.append((piece, at))
            at += piece
    return found


def _pack_pieces(codes: np.ndarray, bits: int, group: int) -> np.ndarray:
    """See `GridCode.pack`."""
    rows, count = codes.shape
    padded = np.zeros((rows, -(-count // group) * group), np.uint8)
    padded[:, :count] = codes
    quads = padded.view("<u4").reshape(rows, -1, group // 4)
    words = []
    for piece, at in _pieces(bits):
        fields = quads >> at & ((1 << piece) - 1) * 0x01010101
        shifts = np.arange(8 // piece, dtype=np.uint32) * piece
        together = fields.reshape(*quads.shape[:2], -1, 8 // piece) << shifts
        words.append(np.bitwise_or.reduce(together, axis=-1))
    return np.concatenate(words, axis=-1).reshape(rows, -1).astype(np.uint32)


@dataclass(frozen=True)
class BookCode:
    """weight = book[code].

    Attributes:
        bits: of a code.
        book: int16 values, at most 2**bits.
    """

    bits: int
    book: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"c{self.bits}"

    @property
    def of_zero(self) -> int:
        return self.book[0]

    @property
    def group(self) -> int:
        return 2 * (16 // self.bits)

    @property
    def table_bytes(self) -> int:
        return 4 << (2 * self.bits)

    @property
    def extend_cycles(self) -> float:
        return 1.6

    def codes(self, weights: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.book, weights).astype(np.uint8)

    def context(self) -> dict[str, Any]:
        return {"kind": "book", "bits": self.bits, "table_words": self.table_bytes // 4}

    def constants(self) -> tuple[Constant, ...]:
        book = np.zeros(1 << self.bits, np.int16)
        book[: len(self.book)] = self.book
        return (Constant("book", book, "weights by code"),)

    def pack(self, codes: np.ndarray) -> np.ndarray:
        """Like `GridCode.pack`; pairs of codes follow each other from the lowest bit of each word."""
        rows, count = codes.shape
        quads = codes.reshape(rows, -1, 4)[:, :, [0, 2, 1, 3]].reshape(rows, -1, 2).astype(np.uint32)
        pairs = quads[..., 0] | quads[..., 1] << self.bits
        each = 16 // self.bits
        padded = np.zeros((rows, -(-count // 2 // each) * each), np.uint32)
        padded[:, : count // 2] = pairs
        shifts = np.arange(each, dtype=np.uint32) * (2 * self.bits)
        return np.bitwise_or.reduce(padded.reshape(rows, -1, each) << shifts, axis=-1)


@dataclass(frozen=True)
class IndexCode:
    """weight = book[code], for books too large for a table of pairs.

    Attributes:
        bits: of a code, 1 or 5 to 8; packed as those of a grid, 8 bits as bytes.
        book: int16 values, at most 2**bits.
    """

    bits: int
    book: tuple[int, ...]

    table_bytes = 0
    # Per four: a quad, four loads by index, two pairs joined and stored.
    extend_cycles = 4.5

    @property
    def name(self) -> str:
        return f"i{self.bits}"

    @property
    def of_zero(self) -> int:
        return self.book[0]

    @property
    def group(self) -> int:
        return 4 if self.bits == _BYTE else _group(self.bits)

    def codes(self, weights: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.book, weights).astype(np.uint8)

    def context(self) -> dict[str, Any]:
        return {"kind": "index", "bits": self.bits}

    def constants(self) -> tuple[Constant, ...]:
        return (Constant("book", np.array(self.book, np.int16), "weights by code"),)

    def pack(self, codes: np.ndarray) -> np.ndarray:
        """Like `GridCode.pack`."""
        if self.bits == _BYTE:
            return np.ascontiguousarray(codes).view("<u4").astype(np.uint32)
        return _pack_pieces(codes, self.bits, self.group)


@dataclass(frozen=True)
class ByteCode:
    """weight = step * code + first, for codes of a whole byte whose weights are no bytes: signed levels of 8 bits, or
    bytes with a zero point.

    Attributes:
        step: 1 to 257, so that a code times the step fits 16 bits.
        first: the least weight, int16.
    """

    step: int
    first: int

    bits = _BYTE
    group = 16
    table_bytes = 0

    @property
    def name(self) -> str:
        return "w8"

    @property
    def extend_cycles(self) -> float:
        """Instructions per weight: of four, one load, two, four or six of arithmetic, two stores."""
        return {1: 1.35, 2: 1.75}.get(self.step, 2.25)

    @property
    def of_zero(self) -> int:
        return self.first

    def codes(self, weights: np.ndarray) -> np.ndarray:
        """uint8 codes of the layer's weights."""
        return np.asarray((weights.astype(np.int64) - self.first) // self.step).astype(np.uint8)

    def context(self) -> dict[str, Any]:
        return {"kind": "bytes", "step": self.step, "first": self.first}

    def constants(self) -> tuple[Constant, ...]:
        return ()

    def pack(self, codes: np.ndarray) -> np.ndarray:
        """Like `GridCode.pack`."""
        padded = np.pad(codes, ((0, 0), (0, -codes.shape[1] % self.group)))
        return np.ascontiguousarray(padded).view("<u4").astype(np.uint32)


@dataclass(frozen=True, eq=False)
class PackedBlocks:
    """Blocks of weights that are unpacked one at a time.

    Attributes:
        words: uint32 [blocks, words of a block].
        extend_words: 32-bit words that a block takes unpacked, with what does not fill its last group.
    """

    words: np.ndarray
    extend_words: int

    def context(self, code: AnyCode | ByteCode) -> dict[str, Any]:
        """Template values."""
        return {**code.context(), "words": self.words.shape[1]}


def pack_blocks(code: AnyCode | ByteCode, codes: np.ndarray) -> PackedBlocks:
    """Packs rows of codes [blocks, count] in the order of the int8 kernel's bytes; count is a multiple of 4."""
    return PackedBlocks(code.pack(codes), -(-codes.shape[1] // code.group) * code.group // 2)


Code = GridCode | BookCode
AnyCode = Code | IndexCode


def _odd_part(step: int) -> int:
    return step // (step & -step)


def find_code(weights: np.ndarray) -> Code | None:
    """The code with the fewest bits that all weights of a layer fit; a grid where a book is not smaller.

    Args:
        weights: integers within int16, any shape.

    Returns:
        None when less than 8 bits do not do.
    """
    return _find(np.unique(weights).tolist())


def find_any_code(weights: np.ndarray) -> AnyCode | None:
    """The same with an index of up to 8 bits where nothing else does, for weights of 256 values beyond a byte."""
    return _any_code(np.unique(weights).tolist())


def find_byte_code(weights: np.ndarray) -> ByteCode | None:
    """The bytes of weights on an even grid of up to 256 values, of which less would not do and some are no int8."""
    values = np.unique(weights).tolist()
    if not values or not -(2**15) <= values[0] <= values[-1] < 2**15:
        return None
    step = math.gcd(*(value - values[0] for value in values)) or 1
    codes = (values[-1] - values[0]) // step
    in_byte = values[0] >= -(2**7) and values[-1] < 2**7
    return ByteCode(step, values[0]) if step <= _STEEPEST and codes.bit_length() == _BYTE and not in_byte else None


def _any_code(values: list[int]) -> AnyCode | None:
    found = _find(values)
    if found is not None or not values or not -(2**15) <= values[0] <= values[-1] < 2**15:
        return found
    bits = max((len(values) - 1).bit_length(), 5)
    in_byte = values[0] >= -(2**7) and values[-1] < 2**7
    # Bytes are unpacked faster, and 7-bit codes with their book save little flash.
    return IndexCode(bits, tuple(values)) if bits <= (6 if in_byte else _BYTE) else None


def book_of(code: GridCode) -> BookCode | IndexCode:
    """The same weights with a table, of as many bits."""
    values = tuple(value for i in range(1 << code.bits) if (value := code.first + code.step * i) < 2**15)
    return BookCode(code.bits, values) if code.bits in _BOOK_BITS else IndexCode(code.bits, values)


def _find(values: list[int]) -> Code | None:
    if not values or not -(2**15) <= values[0] <= values[-1] < 2**15:
        return None
    step = math.gcd(*(value - values[0] for value in values)) or 1
    bits = max(((values[-1] - values[0]) // step).bit_length(), 1)
    grid = GridCode(bits, step, values[0]) if bits <= _MOST_BITS and values[-1] - values[0] < 256 else None
    index_bits = max((len(values) - 1).bit_length(), _BOOK_BITS[0])
    if index_bits in _BOOK_BITS and (grid is None or index_bits < bits):
        return BookCode(index_bits, tuple(values))
    return grid
