"""What zig keeps between builds: its libraries, which are linked into firmware and host programs.

zig looks at the sources of what it has kept, never at that itself. So the SHA-256 of its files are noted once it has
made them, and looked at again: what it has linked from by each process, what it builds libraries from whenever it has
built one. Where a file has changed, all are removed, and zig makes them again. Links of several processes share a lock;
who looks at files or removes them has it alone, since a library that another process is making is not whole.

Objects are not kept here: they have a cache of their own (`objects.py`), zig's is in a temporary folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from tinygen.cache import cache_folder
from tinygen.claims import shared_or_alone
from tinygen.errors import TinygenError
from tinygen.files import write_file

_LINKED, _READ = "o", "z"
"""Folders of what zig links, and of sources it has parsed."""


@contextmanager
def zig_environment() -> Iterator[dict[str, str]]:
    """Environment that makes zig keep its libraries in the user's cache, and nothing else."""
    with tempfile.TemporaryDirectory(prefix="tinygen-zig-", ignore_cleanup_errors=True) as objects:
        yield {"ZIG_GLOBAL_CACHE_DIR": str(zig_libraries().folder), "ZIG_LOCAL_CACHE_DIR": objects}


def zig_libraries() -> ZigLibraries:
    """Those in the user's cache, outside any project."""
    return _libraries_in(cache_folder() / "zig-libraries")


@lru_cache(maxsize=4)
def _libraries_in(folder: Path) -> ZigLibraries:
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)  # whatever zig's umask lets others do inside of it, they cannot get there
    return ZigLibraries(folder)


class ZigLibraries:
    """zig's global cache.

    Args:
        folder: no other user can write to it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._notes, self._lock = folder.with_suffix(".json"), folder.with_suffix(".lock")
        self._is_checked = False

    @contextmanager
    def linking(self) -> Iterator[None]:
        """A link. First, once per process, everything is removed where a file has changed since it was made."""
        if not self._is_checked:
            with shared_or_alone(self._lock, shared=False):
                self._is_checked = self._is_sound(_LINKED) or self._removed()
        with shared_or_alone(self._lock, shared=True):
            yield

    def note(self) -> bool:
        """After a link: notes what is new; False, and nothing is there any more, if that was made of changed files."""
        if not self._new(_LINKED):
            return True
        with shared_or_alone(self._lock, shared=False):
            return self._note_new() if self._is_sound(_READ) else not self._removed()

    def _new(self, part: str) -> list[Path]:
        known = self._known() or {}
        return [path for path in self._files(part) if self._name(path) not in known]

    def _note_new(self) -> bool:
        known = dict(self._known() or {})
        new = [*self._new(_LINKED), *self._new(_READ)]
        noted = known | {self._name(path): _digest(path) for path in new}
        with suppress(TinygenError):  # no space: then it is noted another time
            write_file(self._notes, json.dumps(noted).encode())
        return True

    def _is_sound(self, part: str) -> bool:
        known = self._known()
        return known is not None and all(
            _digest(self.folder / name) == digest for name, digest in known.items() if name.startswith(f"{part}/")
        )

    def _removed(self) -> bool:
        """Removes everything; first the notes, so that one that is interrupted leaves nothing noted."""
        with suppress(OSError):
            self._notes.unlink()
        for place in self.folder.iterdir():
            shutil.rmtree(place, ignore_errors=True)
        return True

    def _known(self) -> Mapping[str, str] | None:
        """SHA-256 by name; None where the notes are damaged."""
        try:
            known = json.loads(self._notes.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            return None
        return known if isinstance(known, dict) else None

    def _files(self, part: str) -> list[Path]:
        folders = os.walk(self.folder / part)
        return sorted(Path(folder) / name for folder, _, names in folders for name in names)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def _digest(path: Path) -> str:
    """SHA-256 of a file; "" where it is gone."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
