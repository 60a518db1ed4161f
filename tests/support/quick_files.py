"""Temporary files in memory: tests make tens of thousands of small ones."""

from __future__ import annotations

import atexit
import os
import tempfile
from pathlib import Path

from tinygen.claims import Claim

_MEMORY = Path("/dev/shm")
_ROOM = 4 << 30
_FREE = 8 << 30


def keep_files_in_memory() -> None:
    """Where this computer has room: ext4 takes half a millisecond of a core for each new file.

    The folder goes when the tests end; if they are killed, when others begin. With TMPDIR set, temporary files are
    there, as for any program.
    """
    if os.environ.get("TMPDIR") or not _has_room():
        return
    claim = Claim(_MEMORY)
    atexit.register(claim.release)
    os.environ["TMPDIR"] = tempfile.tempdir = str(claim.folder)


def _has_room() -> bool:
    """Docker's has 64 MB, and no programs can be started there."""
    try:
        place, memory = os.statvfs(_MEMORY), Path("/proc/meminfo").read_text()
    except OSError:
        return False
    free = next((int(line.split()[1]) << 10 for line in memory.splitlines() if line.startswith("MemAvailable")), 0)
    room = place.f_bavail * place.f_frsize
    usable = os.access(_MEMORY, os.W_OK) and not place.f_flag & os.ST_NOEXEC
    return usable and room >= _ROOM and free >= _FREE
