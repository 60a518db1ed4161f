"""The user's folder for what can be made again: compiled objects, zig's libraries, the emulator's counter.

Such files are executed, or become part of what is. So the folder is used only where no other user can write to it;
else a temporary one, which ends with the process, takes its place.
"""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import sys
import tempfile
import warnings
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from tinygen.errors import TinygenWarning

CACHE_VARIABLE = "TINYGEN_CACHE"
_OFF = ("off", "no", "0")
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def cache_is_on() -> bool:
    """Whether compiled objects are kept: TINYGEN_CACHE=off says no."""
    return os.environ.get(CACHE_VARIABLE, "").lower() not in _OFF


def chosen_folder() -> Path:
    """TINYGEN_CACHE, or `tinygen` in the system's place for caches; it need not exist."""
    chosen = os.environ.get(CACHE_VARIABLE, "")
    if chosen and cache_is_on():
        return Path(chosen).expanduser().absolute()
    if os.environ.get("XDG_CACHE_HOME"):
        base = Path(os.environ["XDG_CACHE_HOME"])
    elif sys.platform == "darwin":
        base = Path.home() / "Library/Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    else:
        base = Path.home() / ".cache"
    return base / "tinygen"


def cache_folder() -> Path:
    """The chosen folder, or a temporary one where that cannot be used; no other user can write to it.

    Warns once (`TinygenWarning`) where the chosen one belongs to another user, or others may write to it.
    """
    return _private(chosen_folder())


def is_private(status: os.stat_result) -> bool:
    """Whether a file or folder belongs to this user, and no other may write to it."""
    if not hasattr(os, "getuid"):
        return True  # Windows: folders for caches and temporary files are the user's own
    return status.st_uid == os.getuid() and not _others_write(status)


@lru_cache(maxsize=16)
def _private(chosen: Path) -> Path:
    try:
        _make(chosen)
        problem = _shared(chosen)
        if not problem and os.access(chosen, os.W_OK | os.X_OK):
            return chosen
    except OSError:
        problem = ""  # no home, no space, a read-only disk
    folder = Path(tempfile.mkdtemp(prefix="tinygen-cache-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if problem:
        warnings.warn(
            f"the cache {chosen} is not used, because {problem}. A temporary one takes its place. "
            f"Give it to yourself alone (chown, chmod 700), or name another folder in {CACHE_VARIABLE}.",
            TinygenWarning,
            stacklevel=2,
        )
    if cache_is_on():
        os.environ[CACHE_VARIABLE] = str(folder)  # processes that this one starts share it, and need not warn again
    return folder


def _make(folder: Path) -> None:
    """Makes the folder, and those around it, for this user alone."""
    for missing in reversed([place for place in (folder, *folder.parents) if not place.exists()]):
        with suppress(FileExistsError):
            missing.mkdir(mode=0o700)


def _shared(folder: Path) -> str:
    """How another user could change what is in the folder; "" if none can."""
    if not hasattr(os, "getuid"):
        return ""
    folder = folder.resolve()
    status = folder.stat()
    if status.st_uid != os.getuid():
        return f"it belongs to another user (number {status.st_uid})"
    if _others_write(status):
        return "other users may write to it"
    # Who may write to a folder above may put another in its place, unless that one is sticky, as /tmp is.
    trusted = {os.getuid(), Path(folder.anchor).stat().st_uid}
    for parent in folder.parents:
        above = parent.stat()
        if above.st_uid not in trusted or (_others_write(above) and not above.st_mode & stat.S_ISVTX):
            return f"other users may write to {parent}"
    return ""


def _others_write(status: os.stat_result) -> bool:
    """Whether its mode lets other users write; a group that is the user's own, as on Debian, is no others."""
    allowed = status.st_mode & _OTHERS
    return bool(allowed & stat.S_IWOTH) or (bool(allowed) and not _is_own_group(status.st_gid))


@lru_cache(maxsize=16)
def _is_own_group(number: int) -> bool:
    """Whether it is this user's primary group, of the same name, and has no other members."""
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.getuid()), grp.getgrgid(number)
    except KeyError:
        return False
    return user.pw_gid == number and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
