"""Temporary folders that show whether their process still runs.

Its process holds a lock on each (flock), which the operating system takes back when the process ends, however it ends.
A folder without one is of a process that was killed: the next that makes a temporary folder beside it removes it.
Where there are no such locks (Windows, some network file systems), all folders are taken for ones in use.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PREFIX = ".tinygen-"
"""Of temporary folders."""
_WAIT_SECONDS, _STEP_SECONDS = 1.0, 0.02
_swept: set[Path] = set()


@contextmanager
def shared_or_alone(file: Path, *, shared: bool) -> Iterator[None]:
    """Waits for a lock on a file, which is made: with others who share it, or alone. Without locks, does not wait."""
    if fcntl is None:
        yield
        return
    opened = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        with suppress(OSError):  # no locks on this file system
            fcntl.flock(opened, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


class BusyError(Exception):
    """Another process has the folder of this name."""


class Claim:
    """A temporary folder of this process.

    Args:
        place: the folder to make it in; left-over ones are removed from there, once in a process.
        name: at most one process has a folder of this name; "" for a new name.

    Raises:
        BusyError: another process has the folder of this name, for longer than it takes to write a report.
        OSError: none can be made.
    """

    def __init__(self, place: Path, name: str = "") -> None:
        self._lock = -1
        if fcntl is None:
            name = ""
        end = time.monotonic() + _WAIT_SECONDS
        while True:
            self.folder = _made(place, name)
            try:
                self._lock = _locked(self.folder)
                break
            except FileNotFoundError:
                continue  # swept meanwhile
            except BlockingIOError as error:  # by who sweeps, or has that name
                if time.monotonic() > end:
                    raise BusyError from error
            time.sleep(_STEP_SECONDS)
        for path in self.folder.iterdir() if name else ():
            _remove(path)
        if place not in _swept:
            _swept.add(place)
            _sweep(place)

    def release(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)


def _made(place: Path, name: str) -> Path:
    if not name:
        return Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    folder = place / f"{PREFIX}{name}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    return folder


def _locked(folder: Path) -> int:
    """The open folder, locked; -1 where there are no locks.

    Raises:
        BlockingIOError: another process has locked it.
        FileNotFoundError: it has been removed.
    """
    if fcntl is None:
        return -1
    opened = os.open(folder, os.O_RDONLY)
    try:
        try:
            _lock(opened)
        except BlockingIOError:
            raise
        except OSError:  # no locks on this file system
            pass
        if not os.path.samestat(os.stat(folder), os.fstat(opened)):
            raise FileNotFoundError(folder)
    except BaseException:
        os.close(opened)
        raise
    return opened


def _lock(opened: int) -> None:
    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _sweep(place: Path) -> None:
    """Removes this user's folders that no process has locked."""
    if fcntl is None:
        return
    for path in place.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another user's, in use, or on a file system without locks
            opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                _lock(opened)
                if os.fstat(opened).st_uid == os.geteuid():
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(opened)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
