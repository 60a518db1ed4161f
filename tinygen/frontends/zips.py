"""A user's zip archives: the directory is checked against the file before anything is inflated."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from typing import BinaryIO

_PLAUSIBLE_BYTES = 1 << 28
"""What an archive of any size may hold, inflated."""
_PLAUSIBLE_RATIO = 100
"""How many times its own size an archive may hold beyond that: of arrays that are mostly zeros; zlib reaches 1,032."""
_LOCAL_HEADER = 30
"""Bytes in front of an entry's name and data (PKWARE, .ZIP File Format Specification 6.3, section 4.3.7)."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What numpy.savez writes. zipfile inflates the others without a bound."""


class DamagedError(ValueError):
    """A file is damaged; the message continues a sentence that begins with the file's name."""


def read_zip(file: BinaryIO, size: int) -> dict[str, bytes]:
    """Content of each entry by name.

    Args:
        file: the archive; seekable.
        size: its length in bytes.

    Raises:
        DamagedError: entries overlap, share a name or hold more bytes than the directory says, or claim far more than
            the file can hold.
        zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError, zlib.error: zipfile's
            exceptions for archives that are damaged or encrypted.
    """
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        _check(infos, archive.start_dir, size)
        return {info.filename: _inflated(archive, info) for info in infos}


def _check(infos: Sequence[zipfile.ZipInfo], end: int, size: int) -> None:
    """
    Args:
        end: offset at which the entries' data ends and the directory begins.
    """
    if len({info.filename for info in infos}) != len(infos):
        raise DamagedError("two entries have one name")
    if any(info.compress_type not in _METHODS for info in infos):
        raise DamagedError("an entry is compressed by another method than numpy.savez uses")
    placed = sorted(infos, key=lambda info: info.header_offset)
    starts = [info.header_offset for info in placed]
    for info, after in zip(placed, [*starts[1:], end], strict=False):
        if info.header_offset + _LOCAL_HEADER + len(info.orig_filename) + info.compress_size > after:
            raise DamagedError(f"entry {info.filename!r} overlaps what follows it")
    claimed = sum(info.file_size for info in infos)
    if claimed > max(_PLAUSIBLE_BYTES, _PLAUSIBLE_RATIO * size):
        raise DamagedError(f"its entries claim {claimed:,} bytes, the file has {size:,}")


def _inflated(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as stream:
        # With a bound, since read() inflates up to 2 GiB regardless of the entry's size.
        content = stream.read(info.file_size)
        if len(content) != info.file_size or stream.read(1):
            raise DamagedError(f"entry {info.filename!r} has not the {info.file_size:,} bytes that it claims")
    return content
