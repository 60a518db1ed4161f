"""Zip archives whose directory says more than the file holds."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

_LOCAL, _CENTRAL, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_VERSION = 20


def overlapping(names: Sequence[str], kernel: bytes) -> bytes:
    """Stored entries of which each holds all that follow it: n entries of one kernel claim n times its size.

    The "quoted overlap" of D. Fifield, A better zip bomb, WOOT 2019, section 3, for entries that are not compressed.
    """
    # From the last to the first: the data of an entry is the headers and data of those behind it.
    body, records = kernel, []
    for name in reversed(names):
        size, checksum = len(body), zlib.crc32(body)
        fields = struct.pack("<HHHHHIIIHH", _VERSION, 0, 0, 0, 0x21, checksum, size, size, len(name), 0)
        body = _LOCAL + fields + name.encode() + body
        records.append((name, checksum, size, len(body)))
    directory = b""
    for name, checksum, size, from_end in reversed(records):
        fields = struct.pack(
            "<HHHHHHIIIHHHHHII",
            _VERSION,
            _VERSION,
            0,
            0,
            0,
            0x21,
            checksum,
            size,
            size,
            len(name),
            0,
            0,
            0,
            0,
            0,
            len(body) - from_end,
        )
        directory += _CENTRAL + fields + name.encode()
    count = len(names)
    return body + directory + _END + struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(body), 0)
