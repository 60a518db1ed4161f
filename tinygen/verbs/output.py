"""Folders of results: written whole or not at all, and never over something else."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tinygen.errors import TinygenError


def check_folder(out: Path, names: frozenset[str], what: str) -> None:
    """
    Args:
        out: folder to write.
        names: of the files that it will hold.
        what: they come from: "benchmark".

    Raises:
        TinygenError: `out` is a file, holds other files, or nothing can be written there.
    """
    nearest = next(path for path in (out, *out.parents) if path.exists())
    if not nearest.is_dir():
        raise TinygenError("is a file", where=str(nearest), fix="Name a directory for --out.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise TinygenError("must not be written to", where=str(nearest), fix="Name another directory for --out.")
    if nearest == out and any(path.name not in names or path.is_dir() for path in out.iterdir()):
        raise TinygenError(
            f"holds files that are not an earlier {what}", where=str(out), fix="Choose an empty or new directory."
        )


def write_folder(out: Path, files: Mapping[str, bytes], what: str) -> None:
    """Writes a folder, replacing an earlier one: its files, not the folder, which may be where somebody works.

    Raises:
        TinygenError: see `check_folder`; or it cannot be written, and is then as it was.
    """
    check_folder(out, frozenset(files), what)
    there = out.exists()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".tinygen-", dir=out if there else out.parent) as temporary:
            folder = Path(temporary) / "new"
            folder.mkdir()
            for name, content in files.items():
                (folder / name).write_bytes(content)
            if not there:
                folder.rename(out)
                return
            for name in files:
                (folder / name).replace(out / name)
    except OSError as error:
        raise TinygenError(f"cannot be written ({error.strerror})", where=str(out)) from error
