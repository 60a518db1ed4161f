"""Encodings: the real values that a tensor's codes stand for.

Every encoding of integers follows one rule: real = scale * integers(codes), exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WORD_BITS = 32
"""Bits of a word of packed channels."""


@dataclass(frozen=True)
class Float32:
    """IEEE single precision; a code stands for itself."""

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32)

    def __str__(self) -> str:
        return "float32"


def _spread(values: Sequence[int], axis: int | None, ndim: int) -> np.ndarray:
    """One value, or one per channel shaped to multiply codes of `ndim` dimensions."""
    shape = [1] * ndim
    if axis is not None:
        shape[axis] = len(values)
        return np.array(values, np.int64).reshape(shape)
    return np.array(values[:1], np.int64).reshape(shape)


@dataclass(frozen=True)
class Affine:
    """real = scale * (code - zero_point), per tensor or per channel (TFLite's rules).

    Attributes:
        storage: NumPy name of the code's type: "int8", "int16", "int32", "int64" or "uint8".
        scale: one value, or one per channel. Exact float32 values held as Python floats.
        zero_point: as many as scales.
        axis: the channel axis when there is one scale per channel, else None.
    """

    storage: str
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.storage)

    @property
    def per_channel(self) -> bool:
        return self.axis is not None

    @property
    def code_range(self) -> tuple[int, int]:
        info = np.iinfo(self.dtype)
        return int(info.min), int(info.max)

    def integers(self, codes: np.ndarray) -> np.ndarray:
        """codes - zero point, int64."""
        return codes.astype(np.int64) - _spread(self.zero_point, self.axis, codes.ndim)

    def __str__(self) -> str:
        if self.per_channel:
            return f"{self.storage} per-channel x{len(self.scale)}"
        return f"{self.storage} scale {self.scale[0]:.6g} zero {self.zero_point[0]}"


@dataclass(frozen=True)
class Plain:
    """Integers or booleans that stand for themselves: shapes, indices, positions."""

    storage: str

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.storage)

    def __str__(self) -> str:
        return self.storage


@dataclass(frozen=True)
class _Scaled:
    """Codes below 8 bits with a scale.

    Attributes:
        scale: one value, or one per channel; float32 values held as Python floats.
        axis: the channel axis when there is one scale per channel, else None.
    """

    scale: tuple[float, ...]
    axis: int | None = None

    @property
    def per_channel(self) -> bool:
        return self.axis is not None

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint8)

    def _scales(self) -> str:
        return f"x{len(self.scale)} per-channel" if self.per_channel else f"scale {self.scale[0]:.6g}"


@dataclass(frozen=True, kw_only=True)
class Levels(_Scaled):
    """k-bit levels, codes q from 0 to 2**bits - 1 (DoReFa-Net and its kin; Guerra 2024, section 5.2).

    Unsigned: real = scale * q. Signed: real = scale * (2 q - (2**bits - 1)), odd integers: no code is zero.

    Attributes:
        bits: 2 to 8.
    """

    bits: int
    signed: bool

    @property
    def code_range(self) -> tuple[int, int]:
        return 0, 2**self.bits - 1

    def integers(self, codes: np.ndarray) -> np.ndarray:
        wide = codes.astype(np.int64)
        return 2 * wide - (2**self.bits - 1) if self.signed else wide

    def __str__(self) -> str:
        return f"{'signed' if self.signed else 'unsigned'} {self.bits}-bit {self._scales()}"


@dataclass(frozen=True)
class Binary(_Scaled):
    """One bit: real = +scale where it is 1, -scale where it is 0. In memory packed along the last axis."""

    @property
    def code_range(self) -> tuple[int, int]:
        return 0, 1

    def integers(self, codes: np.ndarray) -> np.ndarray:
        return 2 * codes.astype(np.int64) - 1

    def __str__(self) -> str:
        return f"binary {self._scales()}"


@dataclass(frozen=True)
class Ternary(_Scaled):
    """Codes -1, 0, 1: real = scale * code."""

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.int8)

    @property
    def code_range(self) -> tuple[int, int]:
        return -1, 1

    def integers(self, codes: np.ndarray) -> np.ndarray:
        return codes.astype(np.int64)

    def __str__(self) -> str:
        return f"ternary {self._scales()}"


@dataclass(frozen=True, kw_only=True)
class LookedUp(_Scaled):
    """Codes whose integers kernels look up: a table of all codes is all that they need to know."""


@dataclass(frozen=True, kw_only=True)
class PowerOfTwo(LookedUp):
    """Sign and exponent: code 0 is zero, code c is sign(c) * scale * 2**(|c| - 1).

    Attributes:
        exponents: number of distinct exponents, 1 to 31; codes are -exponents to exponents.
    """

    exponents: int

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.int8)

    @property
    def code_range(self) -> tuple[int, int]:
        return -self.exponents, self.exponents

    def integers(self, codes: np.ndarray) -> np.ndarray:
        wide = codes.astype(np.int64)
        return np.where(wide == 0, 0, np.sign(wide) << np.maximum(np.abs(wide) - 1, 0))

    def __str__(self) -> str:
        return f"power of two {self._scales()}"


@dataclass(frozen=True, kw_only=True)
class Codebook(LookedUp):
    """An index into shared values: real = scale * table[code] (Han et al., "Deep Compression", 2016, section 3).

    Attributes:
        table: 2 to 256 integers of 16 bits.
    """

    table: tuple[int, ...]

    @property
    def code_range(self) -> tuple[int, int]:
        return 0, len(self.table) - 1

    def integers(self, codes: np.ndarray) -> np.ndarray:
        return np.array(self.table, np.int64)[codes]

    def __str__(self) -> str:
        return f"codebook of {len(self.table)} {self._scales()}"


@dataclass(frozen=True)
class ChannelList:
    """Indices of the live channels among `of`, in ascending order: what a gate chose.

    Only `TopK` writes lists, and only `PositiveChannels` counted ones. No model input has this encoding, so every index
    is a valid channel.

    Attributes:
        counted: the tensor has 1 + `of` elements: the number of live channels, their indices, then zeros.
    """

    of: int
    counted: bool = False

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.int16)

    @property
    def code_range(self) -> tuple[int, int]:
        return 0, self.of - (not self.counted)

    def __str__(self) -> str:
        return f"live channels of {self.of}{', counted' if self.counted else ''}"


IntegerEncoding = Affine | Levels | Binary | Ternary | PowerOfTwo | Codebook
"""Encodings with `integers`, `scale`, `axis` and `code_range`."""

Encoding = Float32 | Plain | ChannelList | IntegerEncoding


def packed_bits(encoding: Encoding, code_bits: int = 0) -> int:
    """Bits per code in packed words; 0 for codes that are not packed.

    Args:
        encoding: of the tensor; binary codes are always packed.
        code_bits: 4 or 2 if other codes are packed, see `Tensor.code_bits`.
    """
    return 1 if isinstance(encoding, Binary) else code_bits


def memory_bytes(encoding: Encoding, shape: tuple[int, ...], code_bits: int = 0) -> int:
    """Bytes of a tensor in the arena."""
    bits = packed_bits(encoding, code_bits)
    if bits:
        return math.prod(shape[:-1]) * -(-shape[-1] * bits // WORD_BITS) * (WORD_BITS // 8)
    return math.prod(shape) * encoding.dtype.itemsize


def memory_dtype(encoding: Encoding, code_bits: int = 0) -> np.dtype:
    """The element of the C array: a word of packed channels, or one code."""
    return np.dtype(np.uint32) if packed_bits(encoding, code_bits) else encoding.dtype


def pack_bits(bits: np.ndarray) -> np.ndarray:
    """Packs bits along the last axis into little-endian words: bit j of word i is element 32 i + j; unused bits are 0.

    Args:
        bits: 0 and 1, [..., C].

    Returns:
        uint32 [..., ceil(C / 32)].
    """
    words = -(-bits.shape[-1] // WORD_BITS)
    padded = np.zeros((*bits.shape[:-1], words * WORD_BITS), np.uint8)
    padded[..., : bits.shape[-1]] = bits
    return np.packbits(padded, axis=-1, bitorder="little").view("<u4")


def unpack_bits(words: np.ndarray, channels: int) -> np.ndarray:
    """The inverse of `pack_bits`: uint8 [..., channels]."""
    octets = np.ascontiguousarray(words, "<u4").view(np.uint8)
    return np.unpackbits(octets, axis=-1, bitorder="little")[..., :channels]


def pack_codes(codes: np.ndarray, bits: int) -> np.ndarray:
    """Packs codes of 4, 2 or 1 bits along the last axis into little-endian words; unused bits are 0.

    Single bits lie in order, see `pack_bits`. With wider codes, byte j of a word holds channels j, j + 4, j + 8 ... of
    that word, the first one lowest: one shift and one mask give four neighbouring channels as bytes.

    Args:
        codes: 0 to 2**bits - 1, [..., C].

    Returns:
        uint32 [..., ceil(C * bits / 32)].
    """
    if bits == 1:
        return pack_bits(codes)
    fours = WORD_BITS // bits // 4
    words = -(-codes.shape[-1] // (4 * fours))
    padded = np.zeros((*codes.shape[:-1], words * 4 * fours), np.uint8)
    padded[..., : codes.shape[-1]] = codes
    shifts = bits * np.arange(fours, dtype=np.uint8)[:, None]
    octets = (padded.reshape(*codes.shape[:-1], words, fours, 4) << shifts).sum(axis=-2, dtype=np.uint8)
    return octets.reshape(*codes.shape[:-1], -1).view("<u4")


def unpack_codes(words: np.ndarray, channels: int, bits: int) -> np.ndarray:
    """The inverse of `pack_codes`: uint8 [..., channels]."""
    if bits == 1:
        return unpack_bits(words, channels)
    octets = np.ascontiguousarray(words, "<u4").view(np.uint8).reshape(*words.shape, 1, 4)
    shifts = bits * np.arange(WORD_BITS // bits // 4, dtype=np.uint8)[:, None]
    codes = octets >> shifts & (2**bits - 1)
    return codes.reshape(*words.shape[:-1], -1)[..., :channels].astype(np.uint8)


def to_memory(encoding: Encoding, codes: np.ndarray, code_bits: int = 0) -> bytes:
    """Codes as they are stored in the arena."""
    bits = packed_bits(encoding, code_bits)
    return (pack_codes(codes, bits) if bits else np.ascontiguousarray(codes, encoding.dtype)).tobytes()


def from_memory(encoding: Encoding, shape: tuple[int, ...], content: bytes, code_bits: int = 0) -> np.ndarray:
    """The inverse of `to_memory`; read-only."""
    bits = packed_bits(encoding, code_bits)
    if bits:
        return unpack_codes(np.frombuffer(content, "<u4").reshape(*shape[:-1], -1), shape[-1], bits)
    return np.frombuffer(content, encoding.dtype).reshape(shape)
