"""A copy of the checkout to break."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import cache_from_source
from pathlib import Path

from tests.mutants.mutant import ROOT, Mutant

_BESIDE = "shared"
"""A folder of models and data beside the checkout, which some tests read."""


def copy_tree(to: Path) -> Path:
    """Copies what git tracks, and what it does not ignore, to a folder in `to`; gives that folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    copy = to / ROOT.name
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    beside = ROOT.parent / _BESIDE
    if beside.is_dir():
        (to / _BESIDE).symlink_to(beside.resolve())
    return copy


@contextmanager
def broken(copy: Path, mutant: Mutant) -> Iterator[None]:
    """The copy with the mutant's change, until the end.

    Python takes a cached module by its file's size and its time in whole seconds, and neither need tell the changed
    file from the old one: what is cached of it goes, and the tests write nothing new (`environment`).

    Raises:
        StaleError: the change cannot be made.
    """
    path = copy / mutant.file
    text, times = path.read_text(encoding="utf-8"), path.stat()
    changed = mutant.applied(text)
    if path.suffix == ".py":
        Path(cache_from_source(str(path))).unlink(missing_ok=True)
    path.write_text(changed, encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def environment(copy: Path, *, caches: bool) -> dict[str, str]:
    """Variables for the tests of a copy: they import its modules, and leave none compiled behind unless `caches`."""
    return {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "" if caches else "1", "COLUMNS": "1000"}
