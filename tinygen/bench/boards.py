"""Suite `boards`: on every board the digit classifier, and MLPerf Tiny's keyword spotter if its file is available."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinygen.bench.case import Case, Skipped, case_of
from tinygen.bench.figures import markdown_table
from tinygen.bench.suites import Section, SuiteCases, SuiteOptions, suite
from tinygen.demo import MODEL
from tinygen.errors import TinygenError, ToolchainError
from tinygen.targets.board import Board
from tinygen.targets.boards import list_boards, load_board
from tinygen.targets.cycles.interval import percent
from tinygen.targets.toolchain import TOOLCHAINS, find_toolchain

SUITE = "boards"
NOT_EMULATED = "none"
"""The engine of boards that nothing stands in for."""
KWS = "kws_ref_model.tflite"
"""mlcommons/tiny, benchmark/training/keyword_spotting/trained_models."""
_NOTE = (
    "Flash and RAM of the whole firmware, bytes; milliseconds and microjoules are predicted; of milliseconds the "
    "interval is that of 90 % of measured cycles by predicted, of microjoules that of the run current."
)
_COMPILERS = {"zig": "clang", "gcc": "gcc"}
_Row = dict[str, Any]


@suite(
    SUITE,
    f"every board: the digit classifier, and {KWS} of --models (or TINYGEN_MODELS)",
    ("tinygen",),
    report=lambda rows: [Section("Boards", _NOTE, [boards_markdown(rows)])],
)
def cases(options: SuiteOptions) -> SuiteCases:
    """A case per board and model, with each compiler that builds for the board; this computer is no board.

    Raises:
        TinygenError: a folder of models does not exist.
    """
    found: list[Case] = []
    skipped: list[Skipped] = []
    models = [case_of(SUITE, "digits", MODEL)]
    kws = _find_kws(options.models)
    if kws is None:
        skipped.append(Skipped("kws", f"no {KWS} in the folders of --models"))
    else:
        models.append(case_of(SUITE, "kws", kws))
    for name in list_boards():
        board = load_board(name)
        if board.is_host:
            continue
        toolchains, missing = _toolchains(board)
        skipped += missing
        for model in models if toolchains else ():
            figures = {"model": model.name, "board_title": board.title, "core": board.core, "clock_hz": board.core_hz}
            case = f"{model.name}@{name}"
            found.append(replace(model, name=case, board=name, toolchains=toolchains, figures=figures))
    return SuiteCases(found, skipped)


def _find_kws(folders: Sequence[Path]) -> Path | None:
    for folder in folders:
        if not folder.is_dir():
            raise TinygenError("is not a directory", where=str(folder), fix="Name a folder of models: --models DIR.")
        for path in sorted(folder.rglob(KWS)):
            return path
    return None


def _toolchains(board: Board) -> tuple[tuple[str, ...], list[Skipped]]:
    """Those that build for the board, and why others do not; one without a name where nothing would run it."""
    if board.emulator.engine == NOT_EMULATED:
        return ("",), []
    able, missing = [], []
    for name in TOOLCHAINS:
        try:
            find_toolchain(name, board)
            able.append(name)
        except ToolchainError as error:
            missing.append(Skipped(f"{board.name} with {name}", error.what))
    return tuple(able), missing


def board_rows(rows: Sequence[_Row]) -> list[dict[str, str]]:
    """The table: a line per board and model, figures of all compilers in a cell, in the order of `compilers`."""
    groups: dict[str, list[_Row]] = {}
    for row in rows:
        if row["suite"] == SUITE:
            groups.setdefault(row["case"], []).append(row)
    wanted = compilers(rows)
    return [_line(group, wanted) for group in groups.values()]


def compilers(rows: Sequence[_Row]) -> list[str]:
    """Names of toolchains among the suite's rows, as `--toolchain` has them."""
    there = {row["toolchain"] for row in rows if row["suite"] == SUITE}
    return [name for name in TOOLCHAINS if name in there]


def _line(group: Sequence[_Row], wanted: Sequence[str]) -> dict[str, str]:
    first = group[0]
    known = {row["toolchain"]: row for row in group}
    megahertz = f", {first['clock_hz'] / 1e6:g} MHz" if first["clock_hz"] else ""
    line = {"board": first["board_title"], "core": f"{first['core']}{megahertz}", "model": first["model"]}
    if "" in known:
        return line | {"flash": "unknown", "ram": "unknown", "ms": "not emulated", "uj": "not emulated"}
    columns = {
        "flash": "flash_bytes",
        "ram": "ram_bytes",
        "ms": "milliseconds_predicted",
        "uj": "microjoules_predicted",
    }
    for column, key in columns.items():
        line[column] = " / ".join(_cell(known.get(name), key) for name in wanted)
    line["ms"] += _off(group)
    interval = next((row["microjoules_interval"] for row in group if "microjoules_interval" in row), None)
    if interval:
        low, high = interval
        line["uj"] += f" ± {100 * (high - low) / (high + low):.0f} %"
    return line


def _off(group: Sequence[_Row]) -> str:
    """Error bound of the milliseconds as text; "" if unknown."""
    for row in group:
        if row.get("milliseconds_interval"):
            return " ({} to {} %)".format(
                *(percent(one / row["milliseconds_predicted"]) for one in row["milliseconds_interval"])
            )
    return ""


def _cell(row: _Row | None, key: str) -> str:
    """A number as text for a table; a dash if unknown."""
    if row is None:
        return "–"
    if row["error"] is not None:
        return "failed"
    value = row.get(key)
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


def boards_markdown(rows: Sequence[_Row]) -> str:
    """The table in Markdown; "" if no row is of the suite."""
    lines = board_rows(rows)
    if not lines:
        return ""
    names = " / ".join(_COMPILERS[name] for name in compilers(rows))
    heads = ["Board", "Core", "Model", f"Flash, B ({names})", f"RAM, B ({names})", "ms, predicted", "µJ, predicted"]
    keys = ("board", "core", "model", "flash", "ram", "ms", "uj")
    return markdown_table(heads, ([line[key] for key in keys] for line in lines), 3)
