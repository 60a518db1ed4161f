"""One table of many runs of the suite: `python -m hil.table DIR...`, from the first-light-BOARD.json in these folders.

A row is a board and where it ran, a column a check or a group of them. Gaps and failures are named below. Of several
runs of a board in the same place, the latest counts. Exits with 1 where a check failed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hil.report import table_lines
from tinygen.errors import BoardError, TinygenError
from tinygen.targets.first_light import KERNEL, FirstLight, read_first_light

SCHEMA, SCHEMA_VERSION = "tinygen first light table", 1
COLUMNS = {
    "it runs at full speed": "clock",
    "its cycle counter keeps time": "clock",
    "its line runs at its rate": "line",
    "known loops take what they should": "loops",
    "lost bytes are recovered": "faults",
    "a broken program is reported": "faults",
    "kernels": "kernels",
    "models": "models",
    "energy": "energy",
    "sound over the line": "word",
    "its own microphone": "microphone",
}
"""Of a check, without its parameter. One that is not here has a column of its own."""
_WORDS = {"skipped": "gap"}
_NOT_RUN = "–"
_FEW = 2
"""Checks that are not counted as long as they agree."""
_MOST_NAMES = 4
"""Of a list in a gap, in a table; JSON has all."""


@dataclass(frozen=True)
class Cell:
    """What the checks of a column came to on one board.

    Attributes:
        passed, gaps, failed: how many checks each.
    """

    passed: int = 0
    gaps: int = 0
    failed: int = 0

    @property
    def result(self) -> str:
        """The worst of them: "failed", "gap", "passed"; "not run" where there is none."""
        if self.failed:
            return "failed"
        if self.gaps:
            return "gap"
        return "passed" if self.passed else "not run"

    def __str__(self) -> str:
        count = self.passed + self.gaps + self.failed
        if not count:
            return _NOT_RUN
        if count <= _FEW and self.passed in (0, count):
            return self.result
        return f"{self.passed}/{count}" + ("" if self.passed == count else f" {self.result}")


@dataclass(frozen=True)
class Note:
    """A gap or a failure.

    Attributes:
        columns: of the checks that ended so.
        boards: on which they did, by where these ran.
    """

    result: str
    message: str
    columns: tuple[str, ...]
    boards: dict[str, tuple[str, ...]]


def newest(paths: Iterable[Path]) -> list[FirstLight]:
    """Of each board in each place, the latest run; in the order of the paths.

    Raises:
        BoardError: a file is no first light, or a folder has none.
    """
    found: dict[tuple[str, str], FirstLight] = {}
    for path in paths:
        files = sorted(path.rglob("first-light-*.json")) if path.is_dir() else [path]
        if not files:
            fix = "Run `pytest hil --board NAME`, which writes it."
            raise BoardError("has no first-light-BOARD.json", where=str(path), fix=fix)
        for file in files:
            one = read_first_light(file)
            key = one.board, one.place
            if key not in found or found[key].created <= one.created:
                found[key] = one
    return list(found.values())


def where(found: FirstLight) -> str:
    """The place in a word."""
    return found.place.partition(" by ")[0]


def cells(found: FirstLight) -> dict[str, Cell]:
    """By column."""
    results: dict[str, list[str]] = {column: [] for column in COLUMNS.values()}
    for check in found.checks:
        results.setdefault(_column(check["name"]), []).append(check["status"])
    return {
        column: Cell(statuses.count("passed"), statuses.count("skipped"), statuses.count("failed"))
        for column, statuses in results.items()
    }


def notes(runs: Iterable[FirstLight]) -> list[Note]:
    """Failures first; each message once."""
    told: dict[tuple[str, str], list[tuple[str, FirstLight]]] = {}
    for found in runs:
        checks = [c for c in found.checks if c["status"] != "passed"]
        for check in checks:
            key = _WORDS.get(check["status"], check["status"]), check["message"]
            told.setdefault(key, []).append((_column(check["name"]), found))
        for gap in found.gaps:
            if gap not in (check["message"] for check in checks):
                told.setdefault(("gap", gap), []).append(("kernels", found))
    listed = [
        Note(*key, tuple(dict.fromkeys(column for column, _ in of)), boards_by_place(one for _, one in of))
        for key, of in told.items()
    ]
    return sorted(listed, key=lambda note: note.result != "failed")


def boards_by_place(runs: Iterable[FirstLight]) -> dict[str, tuple[str, ...]]:
    """Names of boards, by where they ran."""
    boards: dict[str, dict[str, None]] = {}
    for found in runs:
        boards.setdefault(where(found), {})[found.board] = None
    return {place: tuple(names) for place, names in boards.items()}


def _column(name: str) -> str:
    check = name.partition("[")[0]
    return COLUMNS.get(check, check)


def rows_of(runs: Sequence[FirstLight]) -> list[list[str]]:
    """The head, then a row for each run. `layers` is how many the kernels' firmwares ran."""
    by_run = [cells(found) for found in runs]
    columns = list(dict.fromkeys(column for one in by_run for column in one))
    rows = [["board", "where", *columns, "layers"]]
    for found, one in zip(runs, by_run, strict=True):
        layers = sum(point.kind == KERNEL for point in found.points)
        rows.append([found.board, where(found), *(str(one.get(c, Cell())) for c in columns), str(layers)])
    return rows


def to_json(runs: Sequence[FirstLight]) -> dict[str, Any]:
    """All of the table, and every list in full."""
    listed = [
        {
            "board": found.board,
            "place": found.place,
            "source": found.source,
            "created": found.created,
            "layers": sum(point.kind == KERNEL for point in found.points),
            "checks": {name: {"result": cell.result, **asdict(cell)} for name, cell in cells(found).items()},
        }
        for found in runs
    ]
    below = [asdict(note) for note in notes(runs)]
    return {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "runs": listed, "notes": below}


def markdown(runs: Sequence[FirstLight]) -> Iterator[str]:
    """Lines of the table, and of what is named below it."""
    head, *rows = rows_of(runs)
    yield from table_lines(head, rows)
    yield ""
    yield from (f"- {line}" for line in _below(runs))


def text(runs: Sequence[FirstLight]) -> Iterator[str]:
    """The same for a terminal."""
    rows = rows_of(runs)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""
    yield from _below(runs)


def _below(runs: Sequence[FirstLight]) -> Iterator[str]:
    everywhere = boards_by_place(runs)
    for note in notes(runs):
        places = [
            place if len(boards) == len(everywhere[place]) > 1 else f"{place}: {', '.join(boards)}"
            for place, boards in note.boards.items()
        ]
        said = "everywhere" if note.boards == everywhere and len(runs) > 1 else "; ".join(places)
        yield f"{', '.join(note.columns)}, {note.result}: {_short(note.message)} ({said})"


def _short(message: str) -> str:
    """Without most of a long list of names."""
    said, colon, listed = message.rpartition(": ")
    names = listed.split(", ")
    if len(names) <= _MOST_NAMES + 1:
        return message
    return f"{said}{colon}{', '.join(names[:_MOST_NAMES])} and {len(names) - _MOST_NAMES} more"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table; 1 where a check failed, or a file cannot be read."""
    parser = argparse.ArgumentParser(
        prog="python -m hil.table", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path, nargs="+", help="first-light-BOARD.json, or a folder that has some")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="as Markdown instead of text")
    form.add_argument("--json", action="store_true", help="as JSON")
    options = parser.parse_args(arguments)
    try:
        runs = newest(options.path)
    except TinygenError as error:
        print(error, file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(to_json(runs), indent=1))
    else:
        print("\n".join(markdown(runs) if options.markdown else text(runs)))
    return 0 if all(found.passed for found in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
