"""Where the files that travel with the package lie."""

from __future__ import annotations

import hashlib
import os
import sys
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
CACHE_VARIABLE = "TINYGEN_CACHE"
_OFF = ("off", "no", "0")


def resource(name: str) -> Path:
    """Folder `templates`, `firmware` or `boards`, in a checkout or in an installed wheel.

    In a checkout these folders stand beside the package; in a wheel they lie in `tinygen/_data/`.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    for folder in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"{name}/ is missing from this installation of tinygen")


def cache_is_on() -> bool:
    """Whether compiled objects are kept: TINYGEN_CACHE=off says no."""
    return os.environ.get(CACHE_VARIABLE, "").lower() not in _OFF


def cache_folder() -> Path:
    """The user's folder for what can be made again: TINYGEN_CACHE, or `tinygen` in the system's place for caches."""
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


@cache
def code_digest() -> str:
    """SHA-256 of the package's own files: what its builds and predictions depend on beside their inputs."""
    digest = hashlib.sha256()
    for folder in (_PACKAGE, *(resource(name) for name in ("templates", "firmware", "boards"))):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
