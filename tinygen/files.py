"""Writing files: whole or not at all, with one clear error where the disk is full or must not be written to.

Everything that tinygen writes outside of a temporary folder goes through this module; folders that it may write again
go through `tinygen.builds.folder`, which knows what in them is ours.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tinygen.claims import BusyError, Claim
from tinygen.errors import TinygenError

FORCE_HELP = "Choose another name, or give --force to replace it."
_CIRCUMSTANCES = frozenset(
    (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EFBIG,
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
        errno.EMFILE,
        errno.ENFILE,
        errno.ELOOP,
    )
)
"""Of the computer and its disks: no defect of ours. A missing file is none of them: who reads it says what it is."""
ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that end a program that does not handle them; beside SIGINT, which Python raises as KeyboardInterrupt."""


def explained(error: OSError, where: Path | None = None) -> TinygenError | None:
    """What the operating system refused, in the user's terms; None where that is nothing a user can act on.

    Args:
        error: as it was raised.
        where: what was to be written; None takes the file that the error names.
    """
    no_temporary = error.errno == errno.ENOENT and "temporary directory" in str(error)  # of `tempfile`
    if error.errno not in _CIRCUMSTANCES and not no_temporary:
        return None
    name = str(where or error.filename or "")
    if no_temporary:
        return TinygenError(
            "no folder for temporary files can be written to", fix="Free some space, or set TMPDIR to another folder."
        )
    return _unwritten(error, name)


def _unwritten(error: OSError, where: str) -> TinygenError:
    fix = "Free some space there." if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    what = f"cannot be written ({error.strerror})"
    return TinygenError(what if where else f"output {what}", where=where, fix=fix)


@contextmanager
def writing(where: Path) -> Iterator[None]:
    """What the operating system refuses in this block is an error about `where`.

    Raises:
        TinygenError: the disk is full, is read-only, ...
    """
    try:
        yield
    except OSError as error:
        problem = explained(error, where)
        if problem is None:
            raise
        raise problem from error


@contextmanager
def temporary_folder(place: Path | None = None, only: Path | None = None) -> Iterator[Path]:
    """A folder that is gone afterwards, also where SIGTERM or Ctrl-C ends the program; where SIGKILL does, it goes with
    the next that is made in that place.

    Args:
        place: where it is made; None for the folder for temporary files.
        only: what the new files are for: there is one such folder at a time.

    Raises:
        TinygenError: there can be none, or another tinygen is writing what it is for.
    """
    name = "" if only is None else hashlib.sha256(os.fsencode(only)).hexdigest()[:16]
    place = Path(tempfile.gettempdir()) if place is None else place
    with cleaned_when_ended():
        try:
            with uninterrupted():
                claim = Claim(place, name)
        except BusyError as error:
            what, fix = "another tinygen is writing there", "Wait until it has ended, or choose another directory."
            raise TinygenError(what, where=str(only), fix=fix) from error
        except OSError as error:
            raise _unwritten(error, str(place)) from error
        try:
            yield claim.folder
        finally:
            with uninterrupted():
                claim.release()


def write_file(path: Path, content: bytes) -> None:
    """Writes a file that is there with all of its content afterwards, or is as it was.

    A link stays one: what it leads to is written. A device (`/dev/stdout`) is written to as it is.

    Raises:
        TinygenError: it cannot be written.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_bytes(content)
            return
        target = path.resolve()
        with temporary_folder(target.parent) as folder:
            new = folder / "new"
            new.write_bytes(content)
            if target.is_file():
                shutil.copymode(target, new)
            new.replace(target)
    except OSError as error:
        raise _unwritten(error, str(path)) from error
    except RuntimeError as error:  # a link that leads to itself
        raise TinygenError(f"cannot be written ({error})", where=str(path)) from error


def check_new_file(path: Path, *, force: bool = False) -> None:
    """Whether a file may be written under a name that the user gave, before the work that leads to it.

    Raises:
        TinygenError: there is such a file already, and not `force`; or there can be none.
    """
    if path.is_dir() or not path.parent.is_dir():
        what = "is a directory" if path.is_dir() else "its directory does not exist"
        raise TinygenError(what, where=str(path), fix="Name a file in a directory.")
    if path.is_file() and not force:
        raise TinygenError("there is such a file already", where=str(path), fix=FORCE_HELP)
    check_writable(path.parent)


def check_writable(folder: Path) -> None:
    """
    Raises:
        TinygenError: nothing can be written in that folder.
    """
    if os.access(folder, os.W_OK | os.X_OK):
        return
    read_only = hasattr(os, "statvfs") and os.statvfs(folder).f_flag & os.ST_RDONLY
    reason = os.strerror(errno.EROFS if read_only else errno.EACCES)
    raise TinygenError(f"cannot be written ({reason})", where=str(folder), fix="Name another directory.")


class Ended(BaseException):
    """A signal that ends the program: raised so that everything temporary is removed on the way."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def cleaned_when_ended() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind this block, as Ctrl-C does, before they end the process.

    Signals that the program has its own handlers for, or ignores, stay as they are.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _end)
    ended: Ended | None = None
    try:
        yield
    except Ended as signalled:
        if signalled.number not in taken:
            raise  # a block around this one ends the process
        ended = signalled
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
    if ended is not None:
        os.kill(os.getpid(), ended.number)


def _end(number: int, frame: Any) -> None:
    for other in ENDING:
        signal.signal(other, signal.SIG_IGN)  # once is enough: cleaning up takes its time
    raise Ended(number)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Signals that end a program wait for the end of this block: of some renames, or of cleaning up."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, *ENDING))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
