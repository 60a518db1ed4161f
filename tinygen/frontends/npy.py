"""The .npy format: the header is checked against the length of the data before anything is allocated."""

from __future__ import annotations

import io
import math
import tokenize
import warnings
from dataclasses import dataclass

import numpy as np

from tinygen.frontends.zips import DamagedError

_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
# Exceptions of NumPy's header reader, a parser of Python literals, for damaged headers.
_DAMAGE = (ValueError, TypeError, SyntaxError, tokenize.TokenError, OverflowError, MemoryError, RecursionError)


@dataclass(frozen=True)
class NpyHeader:
    """The header of a .npy file.

    Attributes:
        version: of the format.
        fortran: whether the order is column-major (the first index varies fastest).
        start: byte offset of the data.
    """

    version: tuple[int, int]
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    start: int


def read_header(content: bytes) -> NpyHeader:
    """The header of a .npy file.

    Raises:
        DamagedError: the file is not .npy version 1.0 or 2.0, or its data is longer or shorter than the header says.
    """
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        reader = _READERS.get(version)
        if reader is None:
            raise DamagedError(f"its format has version {version[0]}.{version[1]}, known are 1.0 and 2.0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers written by Python 2, or damaged ones that look like it
            shape, fortran, dtype = reader(stream)
    except _DAMAGE as error:
        raise DamagedError(f"its header is damaged ({' '.join(str(error).split())[:80]})") from error
    start = stream.tell()
    if dtype.hasobject or not dtype.itemsize:
        raise DamagedError(f"it holds {dtype}, not plain numbers")
    if min(shape, default=1) < 0 or math.prod(shape) * dtype.itemsize != len(content) - start:
        raise DamagedError(f"it has {len(content) - start:,} bytes of data, its shape is {list(shape)} of {dtype}")
    return NpyHeader(version, shape, dtype, fortran, start)


def parse_npy(content: bytes) -> np.ndarray:
    """The array in a .npy file, as a copy.

    Raises:
        DamagedError: see `read_header`.
    """
    header = read_header(content)
    flat = np.frombuffer(content, header.dtype, offset=header.start) if header.start < len(content) else None
    try:
        if flat is None:
            return np.empty(header.shape, header.dtype)
        shaped = flat.reshape(header.shape[::-1]).T if header.fortran else flat.reshape(header.shape)
    except ValueError as error:  # More dimensions than NumPy has, or sizes of which one is 0 and one too large.
        raise DamagedError(f"its shape is {list(header.shape)[:4]} ({error})") from error
    return shaped.copy()
