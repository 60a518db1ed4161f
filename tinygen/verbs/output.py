"""Folders of results: written whole or not at all, and never over something else."""

from __future__ import annotations

import shutil
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
        TinygenError: `out` is a file, or holds other files.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise TinygenError("is a file", where=str(out), fix="Name a directory for --out.")
    if {path.name for path in out.iterdir()} - names:
        raise TinygenError(
            f"holds files that are not an earlier {what}", where=str(out), fix="Choose an empty or new directory."
        )


def write_folder(out: Path, files: Mapping[str, bytes], what: str) -> None:
    """Writes a folder, replacing an earlier one.

    Raises:
        TinygenError: see `check_folder`; or it cannot be written, and is then as it was.
    """
    check_folder(out, frozenset(files), what)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
            folder = Path(temporary) / "new"
            folder.mkdir()
            for name, content in files.items():
                (folder / name).write_bytes(content)
            if out.exists():
                shutil.rmtree(out)
            folder.rename(out)
    except OSError as error:
        raise TinygenError(f"cannot be written ({error.strerror})", where=str(out)) from error
