"""A tensor: a name, a shape, an encoding, and its codes when it is a constant."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from tinygen.ir.encodings import (
    Affine,
    Encoding,
    Float32,
    IntegerEncoding,
    from_memory,
    memory_bytes,
    memory_dtype,
    packed_bits,
    to_memory,
)

Shape = tuple[int, ...]
NOT_SAVED: Mapping[str, bool] = MappingProxyType({"not saved": True})
"""Metadata of fields that say nothing of the model: files of models have none of them."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """One value of the graph.

    Attributes:
        name: unique in its graph.
        shape: static shape; activations NHWC, convolution weights OHWI.
        encoding: what the codes stand for.
        data: the codes, for constants; None for what is computed at run time.
        nested_in: 8-bit weights of another switch, from a sub-array of which `data` can be derived
            (`nesting.derived_codes`): uint8, of the same rank, at least as large in the first and the last dimension;
            `data` itself if other weights can be derived from these.
        code_bits: 4 or 2 if lowering packs codes of at most that many bits into words (`encodings.pack_codes`); 0
            otherwise. The tensor's values do not depend on it.
    """

    name: str
    shape: Shape
    encoding: Encoding
    data: np.ndarray | None = field(default=None, repr=False)
    nested_in: np.ndarray | None = field(default=None, repr=False)
    code_bits: int = field(default=0, repr=False, metadata=NOT_SAVED)

    @property
    def dtype(self) -> np.dtype:
        return self.encoding.dtype

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in the arena."""
        return memory_bytes(self.encoding, self.shape, self.code_bits)

    @property
    def memory_dtype(self) -> np.dtype:
        """The element of the C array: a word of packed channels, or one code."""
        return memory_dtype(self.encoding, self.code_bits)

    @property
    def packed_bits(self) -> int:
        """Bits per code in packed words; 0 for codes that are not packed."""
        return packed_bits(self.encoding, self.code_bits)

    def to_memory(self, codes: np.ndarray) -> bytes:
        """Codes as they are stored in the arena."""
        return to_memory(self.encoding, codes, self.code_bits)

    def from_memory(self, content: bytes) -> np.ndarray:
        """The inverse of `to_memory`, shaped; read-only."""
        return from_memory(self.encoding, self.shape, content, self.code_bits)

    @property
    def is_constant(self) -> bool:
        return self.data is not None

    @property
    def is_float(self) -> bool:
        return isinstance(self.encoding, Float32)

    @property
    def affine(self) -> Affine:
        """The encoding, known to be affine.

        Raises:
            TypeError: it is not; operators check encodings before they ask.
        """
        if not isinstance(self.encoding, Affine):
            raise TypeError(f"{self.name} is {self.encoding}, not affine")
        return self.encoding

    @property
    def integer(self) -> IntegerEncoding:
        """The encoding, known to be one of integers.

        Raises:
            TypeError: it is not; operators check encodings before they ask.
        """
        if not isinstance(self.encoding, IntegerEncoding):
            raise TypeError(f"{self.name} is {self.encoding}, which has no integers")
        return self.encoding

    @property
    def code_range(self) -> tuple[int, int]:
        """The least and the largest code; for tensors that are not float."""
        if isinstance(self.encoding, IntegerEncoding):
            return self.encoding.code_range
        if self.dtype == np.bool_:
            return 0, 1
        info = np.iinfo(self.dtype)
        return int(info.min), int(info.max)

    @property
    def scale(self) -> float:
        """The per-tensor scale of an affine tensor."""
        return self.affine.scale[0]

    @property
    def zero_point(self) -> int:
        """The per-tensor zero point of an affine tensor."""
        return self.affine.zero_point[0]

    def describe(self) -> str:
        """`int8 [1,49,10,1]`, for messages and comments in the C."""
        return f"{self.dtype.name} [{','.join(map(str, self.shape))}]"
