"""Cache of compiled objects, addressed by content: rebuilding an unchanged kernel costs nothing.

The name of an entry is a SHA-256 of all that the object depends on: the compiler, its flags, the source and every
header of the build by path and contents. Headers from outside the build (the system's) are listed in the entry with
their SHA-256, and looked at again before it is used. An entry that is damaged in any way is no entry, nor is one that
another user may have written.

The project's own folder is no part of the name, because it is no part of the object: builds run in it with relative
paths, and debug information maps it to `.`. Source paths are, since debug information names them.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from tinygen.cache import cache_folder, cache_is_on, is_private
from tinygen.targets.toolchains.base import Toolchain
from tinygen.targets.toolchains.includes import stamp_of

LIMIT_BYTES = 512 << 20
_FORMAT = "tinygen object 1"
_PARTS = "0123456789abcdef"
_TEMPORARY = ".new-"
_ABANDONED_SECONDS = 3600
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""A pipe that somebody has put there is no reason to wait."""
# Variables that change what gcc or clang make of the same command.
_VARIABLES = (
    "CPATH",
    "C_INCLUDE_PATH",
    "COMPILER_PATH",
    "GCC_EXEC_PREFIX",
    "SOURCE_DATE_EPOCH",
    "SYSROOT",
    "SDKROOT",
    "ZIG_LIB_DIR",
)


def objects_folder() -> Path:
    """The folder of the user's cached objects."""
    return cache_folder() / "objects"


def object_cache() -> ObjectCache | None:
    """The user's cache; None where TINYGEN_CACHE=off."""
    return _cache_in(objects_folder()) if cache_is_on() else None


@lru_cache(maxsize=4)
def _cache_in(folder: Path) -> ObjectCache:
    """One cache for all builds of a process: it counts the bytes added since it last measured the folder."""
    return ObjectCache(folder)


def object_name(toolchain: Toolchain, flags: Sequence[str], source: str, files: Mapping[str, str]) -> str | None:
    """Name of the object of `source`; None where the toolchain cannot say what it depends on.

    Args:
        flags: all that come after the toolchain's own, without paths of the project's folder.
        files: SHA-256 by path, from `Includes.files`.
    """
    identity = toolchain.identity()
    if identity is None:
        return None
    environment = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    parts = [_FORMAT, identity, toolchain.command(), list(flags), source, sorted(files.items()), environment]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class ObjectCache:
    """Objects in a folder, at most `limit` bytes of them, for any number of processes at once.

    Entries that cannot be read or written (no space, no permission) count as absent; nothing is raised.
    """

    def __init__(self, folder: Path, limit: int = LIMIT_BYTES) -> None:
        self.folder = folder
        self._limit = limit // len(_PARTS)
        self._unseen: dict[str, int] = {}

    def get(self, name: str) -> bytes | None:
        """The object `name`, or None."""
        path = self._path(name)
        content = _own_content(path)
        if content is None:
            return None
        digest, _, body = content.partition(b"\n")
        outside, _, data = body.partition(b"\n")
        if digest != _digest(name, body) or not _still_there(json.loads(outside)):
            return None
        with suppress(OSError):
            os.utime(path)  # the oldest are those not used for longest
        return data

    def put(self, name: str, data: bytes, outside: Sequence[str] = ()) -> None:
        """Keeps the object `data`, which depends on the files `outside` the build."""
        path = self._path(name)
        with suppress(OSError):
            digests = {file: _file_digest(file, *stamp_of(file)) for file in outside}
            body = json.dumps(digests).encode() + b"\n" + data
            if 4 * len(body) > self._limit:
                return
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write(path, _digest(name, body) + b"\n" + body)
            self._trim(path.parent, len(body))

    def size_bytes(self) -> int:
        """Bytes of all entries."""
        return sum(size for part in _PARTS for _, size, _ in _entries(self.folder / part))

    def _path(self, name: str) -> Path:
        return self.folder / name[0] / f"{name}.o"

    def _trim(self, part: Path, added: int) -> None:
        """Removes the oldest entries of one folder; done occasionally, since listing them takes time."""
        unseen = self._unseen.get(part.name, self._limit) + added
        if 8 * unseen < self._limit:
            self._unseen[part.name] = unseen
            return
        self._unseen[part.name] = 0
        entries = sorted(_entries(part), key=lambda entry: entry[2], reverse=True)
        total = 0
        for path, size, changed in entries:
            is_temporary = os.path.basename(path).startswith(_TEMPORARY)
            total += size
            if total > self._limit * 7 // 8 or (is_temporary and time.time() - changed > _ABANDONED_SECONDS):
                with suppress(OSError):
                    os.unlink(path)


def _own_content(path: Path) -> bytes | None:
    """A file that only this user can have written; looked at once it is open, so that no other is read in its place."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | _AT_ONCE), "rb") as file:
            return file.read() if is_private(os.fstat(file.fileno())) else None
    except OSError:
        return None


def _digest(name: str, body: bytes) -> bytes:
    return hashlib.sha256(name.encode() + body).hexdigest().encode()


def _still_there(outside: Mapping[str, str]) -> bool:
    try:
        return all(_file_digest(path, *stamp_of(path)) == digest for path, digest in outside.items())
    except OSError:
        return False


@lru_cache(maxsize=4096)
def _file_digest(path: str, size: int, changed: int) -> str:
    """SHA-256 of a file; size and time tell when it has to be read again."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _write(path: Path, content: bytes) -> None:
    """Writes by renaming, which is atomic: a reader of `path` finds the whole file or none."""
    handle, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _entries(part: Path) -> list[tuple[str, int, float]]:
    """Path, size and last use of each file in a folder."""
    found = []
    with suppress(OSError), os.scandir(part) as files:
        for file in files:
            with suppress(OSError):
                status = file.stat(follow_symlinks=False)
                found.append((file.path, status.st_size, status.st_mtime))
    return found
