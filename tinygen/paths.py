"""Where the files that travel with the package lie."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


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


@cache
def code_digest() -> str:
    """SHA-256 of the package's own files: what its builds and predictions depend on beside their inputs."""
    digest = hashlib.sha256()
    for folder in (_PACKAGE, *(resource(name) for name in ("templates", "firmware", "boards"))):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
