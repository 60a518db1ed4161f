"""Several boards in one benchmark: which jobs there are, and one table of all."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from tinygen.bench import run
from tinygen.bench.across import across_markdown
from tinygen.bench.measure import Job, empty_row
from tinygen.bench.run import BenchOptions, bench
from tinygen.cli.app import app

BOARDS = ("f746zg", "l4r5zi")


def _row(job: Job) -> dict[str, Any]:
    """As if measured: cycles tell family and board."""
    cycles = 1000 * (1 + BOARDS.index(job.board)) + (job.kernels == "reference")
    figures = {"cycles_predicted": cycles, "flash_bytes": 12_345, "microjoules_predicted": 7.6}
    return empty_row(job) | figures | {"instructions": 10}


def test_every_case_on_every_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "measure", _row)
    options = BenchOptions(more_boards=BOARDS[1:], only=("fc_64_12", "softmax_12"), toolchains=("zig",), jobs=1)
    report = bench([], ["int8-kernels"], options)
    assert [(row["case"], row["board"], row["kernels"]) for row in report.rows] == [
        (case, board, kernels)
        for case in ("fc_64_12", "softmax_12")
        for board in BOARDS
        for kernels in ("tinygen", "reference")
    ]
    assert all(row["baseline"] == "reference" for row in report.rows)
    assert [row["ratios"]["cycles_predicted"] for row in report.rows[:4]] == [1000 / 1001, 1, 2000 / 2001, 1]
    content = report.as_json()
    assert content["board_title"] == "several boards"
    assert [row["case"] for row in content["rows"][:3:2]] == ["fc_64_12@f746zg", "fc_64_12@l4r5zi"]
    table = across_markdown(content["rows"]).splitlines()
    assert table[0].count("|") == table[1].count("|") == table[2].count("|")
    assert table[2] == "| fc_64_12 | tinygen | zig | 1,000 | 8 | 12,345 |  |  | 2,000 | 8 | 12,345 |  |  |"
    assert across_markdown(report.rows) == across_markdown(content["rows"]) and len(table) == 6
    assert across_markdown([row for row in report.rows if row["board"] == "f746zg"]) == ""
    failed = [row | {"error": "wrong"} if row["board"] == "l4r5zi" else row for row in report.rows]
    assert across_markdown(failed).count("failed") == 20


def test_boards_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "measure", _row)
    arguments = ["bench", "--suite", "int8-kernels", "--case", "fc_64_12", "--jobs", "1", "--kernels", "tinygen"]
    result = CliRunner().invoke(app, [*arguments, "--board", "f746zg,l4r5zi"])
    assert result.exit_code == 0, result.output
    assert "| fc_64_12 | tinygen | zig | 1,000 |" in result.output and "fc_64_12@l4r5zi" in result.output


def test_boards_of_other_tables_are_left_out() -> None:
    """Rows of the time of generation, and of the suite that has a table of its own."""
    row = {"case": "fc@a", "kernels": "tinygen", "toolchain": "gcc", "suite": "layers", "board": "a", "error": None}
    timed, listed = row | {"seconds": 1.0, "board": "timed"}, row | {"suite": "boards", "board": "listed"}
    assert across_markdown([row, timed, listed]) == ""
    table = across_markdown([row, row | {"board": "b"}, timed, listed])
    assert "a:" in table and "b:" in table and "timed" not in table and "listed" not in table
