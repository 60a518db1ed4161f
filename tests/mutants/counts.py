"""How many mutants each room of the source tree has: `python -m tests.mutants --count`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from tests.mutants.mutant import ROOT, Mutant

_TOP = ("tinygen", "templates", "firmware")
_SOURCES = {".py", ".j2", ".c", ".h", ".S", ".yaml"}


def room_of(file: str) -> str:
    """`tinygen/emit`; `tinygen` for its own modules; of other folders the first one."""
    parts = PurePosixPath(file).parts
    return "/".join(parts[:2]) if parts[0] in _TOP and len(parts) > 2 else parts[0]


def source_files(root: Path = ROOT) -> list[str]:
    """Files of the package, its templates and its firmware that hold code."""
    found = (path for top in _TOP for path in (root / top).rglob("*") if path.suffix in _SOURCES)
    return sorted(path.relative_to(root).as_posix() for path in found if path.stat().st_size)


def count_table(mutants: Sequence[Mutant], files: Iterable[str]) -> list[str]:
    """A line per room: its mutants, files that have some, and files; then what has none."""
    touched = {mutant.file for mutant in mutants}
    counts = Counter(room_of(mutant.file) for mutant in mutants)
    all_files = Counter(room_of(file) for file in {*files, *touched})
    with_some = Counter(map(room_of, touched))
    lines = [f"{'room':24} {'mutants':>7} {'files':>12}"]
    for room in sorted(all_files):
        lines.append(f"{room:24} {counts[room]:7} {with_some[room]:5} of {all_files[room]:3}")
    without = [room for room in sorted(all_files) if not counts[room]]
    lines.append(f"{'all':24} {len(mutants):7} {len(touched):5} of {all_files.total():3}")
    return [*lines, f"without any: {', '.join(without) or 'none'}"]
