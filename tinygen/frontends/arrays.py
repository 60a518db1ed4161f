"""Arrays from .npy and .npz files. Trusts nothing in them: all sizes are checked before anything is allocated."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tinygen.errors import TinygenError
from tinygen.frontends.npy import parse_npy
from tinygen.frontends.zips import DamagedError, read_zip

_ZIP = b"PK"
# What zipfile raises for archives that are damaged or encrypted; our own readers raise ValueErrors.
_DAMAGE = (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, RuntimeError, MemoryError, zlib.error)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name; the only one of a .npy file is `x`.

    Raises:
        TinygenError: the file does not exist, or is not of this format.
    """
    try:
        with path.open("rb") as file:
            return _arrays(file)
    except FileNotFoundError as error:
        raise TinygenError("there is no such file", where=str(path)) from error
    except OSError as error:
        raise TinygenError(f"cannot be read ({error.strerror or error})", where=str(path)) from error
    except _DAMAGE as error:
        raise TinygenError(
            f"is not a .npy or .npz file of plain arrays: {error}",
            where=str(path),
            fix="Write it with numpy.save or numpy.savez.",
        ) from error


def _arrays(file: BinaryIO) -> dict[str, np.ndarray]:
    begin = file.read(len(_ZIP))
    file.seek(0)
    if begin != _ZIP:
        return {"x": parse_npy(file.read())}
    size = file.seek(0, 2)
    return {_name(entry): _member(content, entry) for entry, content in read_zip(file, size).items()}


def _name(entry: str) -> str:
    if not entry.endswith(".npy"):
        raise DamagedError(f"its entry {entry!r} is no .npy file")
    return entry.removesuffix(".npy")


def _member(content: bytes, entry: str) -> np.ndarray:
    try:
        return parse_npy(content)
    except DamagedError as error:
        raise DamagedError(f"of {entry!r}: {error}") from error


def input_names(arrays: Collection[str], inputs: Sequence[str], where: str) -> list[str]:
    """The name of the array for each input: the input's own, or `x0`, `x1`, ..., or `x` for a single input.

    Args:
        arrays: names of the arrays in the file.
        inputs: names of the inputs.
        where: the file, for errors.

    Raises:
        TinygenError: arrays are missing.
    """
    numbered = [f"x{index}" for index in range(len(inputs))]
    ways = [list(inputs), numbered, *([["x"]] if len(inputs) == 1 else [])]
    for names in ways:
        if set(names) <= set(arrays):
            return names
    pairs = enumerate(zip(inputs, numbered, strict=True))
    index = next((i for i, pair in pairs if not set(pair) & set(arrays)), 0)
    raise TinygenError(
        f"has no array for input {index} ('{inputs[index]}')",
        where=where,
        fix=f"Name all inputs' arrays one way: {' or '.join(', '.join(way) for way in ways)}; the file has "
        f"{', '.join(sorted(arrays)) or 'none'}.",
    )
