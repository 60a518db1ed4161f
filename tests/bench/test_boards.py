"""Suite `boards`: every board file, the table, and boards that nothing emulates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support.models import FOLDER, KWS, needs_models
from tinygen.bench import boards, measure
from tinygen.bench.html import render_bench
from tinygen.bench.run import BenchOptions, BenchReport, bench
from tinygen.bench.suites import SuiteOptions
from tinygen.builds.predicted import error_of
from tinygen.cli.app import app
from tinygen.errors import TinygenError, ToolchainError
from tinygen.targets.board import Board
from tinygen.targets.boards import list_boards, load_board
from tinygen.targets.cycles.interval import percent

NOTHING = load_board("f746zg")
NOTHING = replace(NOTHING, name="nothing", title="Nothing (EMPTY1)", emulator=replace(NOTHING.emulator, engine="none"))


@pytest.fixture(scope="module")
def report() -> BenchReport:
    return bench(
        [], ["boards"], BenchOptions(kernels=("tinygen",), toolchains=("zig",), only=("digits@f746zg",), jobs=1)
    )


def test_every_board_but_the_host_is_there_by_itself() -> None:
    found = boards.cases(SuiteOptions())
    assert {case.board for case in found.cases} == set(list_boards()) - {"host"}
    assert all(case.name == f"digits@{case.board}" for case in found.cases)
    assert "kws: no kws_ref_model.tflite" in str(found.skipped[0])


@needs_models
def test_kws_is_found_in_the_folders_of_models() -> None:
    found = boards.cases(SuiteOptions(models=(FOLDER,)))
    assert [case.model for case in found.cases if case.name == "kws@f746zg"] == [KWS]
    assert not any(entry.name == "kws" for entry in found.skipped)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TinygenError, match="nowhere: is not a directory"):
        boards.cases(SuiteOptions(models=(tmp_path / "nowhere",)))


def test_a_compiler_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str, board: Board) -> None:
        if name == "gcc":
            raise ToolchainError("arm-none-eabi-gcc is not on the PATH")

    monkeypatch.setattr(boards, "find_toolchain", find)
    found = boards.cases(SuiteOptions())
    emulated = [case for case in found.cases if load_board(case.board).emulator.engine != boards.NOT_EMULATED]
    assert {case.toolchains for case in emulated} == {("zig",)}
    assert "f746zg with gcc: arm-none-eabi-gcc is not on the PATH" in map(str, found.skipped)


def test_a_row_has_what_the_table_says(report: BenchReport) -> None:
    (row,) = report.rows
    assert row["error"] is None and row["max_abs_diff"] == 0 and row["board"] == "f746zg" and row["model"] == "digits"
    (line,) = boards.board_rows(report.rows)
    assert line["board"] == "NUCLEO-F746ZG (STM32F746ZG)" and line["core"] == "cortex-m7, 216 MHz"
    assert line["flash"] == f"{row['flash_bytes']:,}" and line["ram"] == f"{row['ram_bytes']:,}"
    milliseconds, _, off = line["ms"].partition(" ")
    assert float(milliseconds) == pytest.approx(row["milliseconds_predicted"], rel=5e-3)
    low, high = map(percent, error_of(load_board("f746zg")).interval or ())
    assert off == f"({low} to {high} %)"
    assert line["uj"].endswith(" ± 30 %")
    page = render_bench(report.as_json())
    assert "<h2>Boards</h2>" in page and line["uj"] in page


def test_a_board_that_nothing_emulates_has_no_figures(monkeypatch: pytest.MonkeyPatch, report: BenchReport) -> None:
    def load(name: str) -> Board:
        return NOTHING if name == "nothing" else load_board(name)

    monkeypatch.setattr(boards, "list_boards", lambda: {"nothing": Path("nothing.yaml")})
    monkeypatch.setattr(boards, "load_board", load)
    monkeypatch.setattr(measure, "board_or_core", load)
    (case,) = boards.cases(SuiteOptions()).cases
    assert case.toolchains == ("",)
    row = measure.measure(measure.Job(case, "tinygen", "", "nothing"))
    assert row["error"] is None and row["flash_bytes"] is None
    lines = boards.board_rows([*report.rows, row])
    assert lines[1] == {
        "board": "Nothing (EMPTY1)",
        "core": "cortex-m7, 216 MHz",
        "model": "digits",
        "flash": "unknown",
        "ram": "unknown",
        "ms": "not emulated",
        "uj": "not emulated",
    }


def test_nothing_can_be_counted_where_nothing_emulates(tmp_path: Path) -> None:
    text = load_board("f746zg").path.read_text()
    assert "engine: unicorn" in text
    path = tmp_path / "nothing.yaml"
    path.write_text(text.replace("engine: unicorn", "engine: none").replace("name: f746zg", "name: nothing"))
    with pytest.raises(TinygenError, match="nothing: nothing emulates it, so nothing can be counted"):
        bench([], ["models"], BenchOptions(board=str(path)))


def row_of(toolchain: str, **figures: Any) -> dict[str, Any]:
    return {
        "suite": "boards",
        "case": "digits@x",
        "board_title": "X",
        "core": "y",
        "clock_hz": 0,
        "model": "digits",
        "toolchain": toolchain,
        "error": None,
        "flash_bytes": 12345,
        "ram_bytes": 678,
        **figures,
    }


def test_markdown_with_two_compilers_and_what_is_unknown() -> None:
    rows = [row_of("gcc", error="does not fit"), row_of("zig", milliseconds_predicted=1234.5)]
    assert boards.boards_markdown(rows).splitlines() == [
        "| Board | Core | Model | Flash, B (clang / gcc) | RAM, B (clang / gcc) | ms, predicted | µJ, predicted |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
        "| X | y | digits | 12,345 / failed | 678 / failed | 1,234 / failed | – / failed |",
    ]
    assert boards.boards_markdown([row_of("zig") | {"suite": "models"}]) == ""


def test_the_command_prints_markdown(monkeypatch: pytest.MonkeyPatch, report: BenchReport) -> None:
    monkeypatch.setattr("tinygen.bench.run.bench", lambda *args, **named: report)
    result = CliRunner().invoke(app, ["bench", "--suite", "boards"], terminal_width=40)
    assert result.exit_code == 0
    assert boards.boards_markdown(report.rows) in "\n".join(line.rstrip() for line in result.stdout.splitlines())
