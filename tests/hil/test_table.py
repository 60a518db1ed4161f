"""One table of many runs of the acceptance suite."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path

import pytest

from hil.report import write_reports
from hil.table import COLUMNS, main
from tinygen.targets.first_light import KERNEL, FirstLight, Point

ROOT = Path(__file__).parents[2]
GAP = "no energy was measured"


def run(board: str, place: str, *checks: tuple[str, str, str], created: str = "2026-11-23") -> FirstLight:
    listed = tuple({"name": name, "status": status, "message": message} for name, status, message in checks)
    gaps = (*(message for _, status, message in checks if status == "skipped"), "no layer: a, b, c, d, e, f")
    return FirstLight(board, place, "predicted", created, "0.1", "zig", checks=listed, gaps=gaps)


GOOD = replace(
    run(
        "f746zg",
        "emulated by tinygen",
        ("it runs at full speed", "passed", ""),
        ("its cycle counter keeps time", "passed", ""),
        *((f"kernels[kernels {n}]", "passed", "") for n in range(3)),
        ("energy", "skipped", GAP),
    ),
    points=(Point(KERNEL, "k0", "conv", 9, 9), Point(KERNEL, "k1", "conv", 9, 9)),
)
FOREIGN = run(
    "netduinoplus2",
    "qemu",
    ("it runs at full speed", "passed", ""),
    ("its cycle counter keeps time", "skipped", "no time"),
    ("its line runs at its rate", "skipped", "no time"),
    ("kernels[kernels 0]", "passed", ""),
    ("kernels[kernels 1]", "skipped", "no ssat"),
    ("kernels[kernels 2]", "failed", "AssertionError: wrong: add"),
    ("energy", "skipped", GAP),
    ("what is new", "passed", ""),
)


def test_gaps_and_failures_of_many_runs_are_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_reports(replace(FOREIGN, created="2026-11-22", checks=()), tmp_path / "yesterday")
    for found in (GOOD, FOREIGN):
        write_reports(found, tmp_path / "a" / found.place)
    assert main([str(tmp_path), "--markdown"]) == 1, "a check failed"
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    head, _, *rows = [row for row in rows if row]
    table = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    good, foreign = table["f746zg"], table["netduinoplus2"]
    wanted = {"where": "emulated", "clock": "passed", "line": "–", "kernels": "3/3", "energy": "gap", "layers": "2"}
    assert wanted.items() <= good.items() and good["what is new"] == "–"
    wanted = {"where": "qemu", "clock": "1/2 gap", "kernels": "1/3 failed", "what is new": "passed", "layers": "0"}
    assert wanted.items() <= foreign.items()

    assert main([str(tmp_path)]) == 1
    aligned, _, below = capsys.readouterr().out.partition("\n\n")
    first, second, _ = aligned.splitlines()
    assert first.index("energy") == second.index("gap")
    assert below.splitlines() == [
        "kernels, failed: AssertionError: wrong: add (qemu: netduinoplus2)",
        f"energy, gap: {GAP} (everywhere)",
        "kernels, gap: no layer: a, b, c, d and 2 more (everywhere)",
        "clock, line, gap: no time (qemu: netduinoplus2)",
        "kernels, gap: no ssat (qemu: netduinoplus2)",
    ]

    assert main([str(tmp_path / "a" / GOOD.place / "first-light-f746zg.json"), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["runs"][0]["checks"]["kernels"] == {"result": "passed", "passed": 3, "gaps": 0, "failed": 0}
    assert [note["message"] for note in content["notes"]] == [GAP, "no layer: a, b, c, d, e, f"]


def test_boards_of_a_place_that_all_have_a_gap_are_not_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for found in (GOOD, replace(GOOD, board="f767zi", gaps=(*GOOD.gaps, "no flag")), replace(FOREIGN, gaps=())):
        write_reports(found, tmp_path)
    main([str(tmp_path)])
    below = capsys.readouterr().out.splitlines()
    assert "kernels, gap: no layer: a, b, c, d and 2 more (emulated)" in below
    assert "kernels, gap: no flag (emulated: f767zi)" in below


@pytest.mark.parametrize("name", ["truncated", "foreign", "empty", "missing"])
def test_what_cannot_be_in_the_table_is_named(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "first-light-f746zg.json"
    if name == "truncated":
        write_reports(GOOD, tmp_path)
        path.write_text(path.read_text()[:-40])
    elif name == "foreign":
        path.write_text('{"schema": "tinygen hil", "schema_version": 1}')
    elif name == "missing":
        tmp_path = path
    assert main([str(tmp_path)]) == 1
    said = capsys.readouterr()
    wanted = "has no first-light-BOARD.json" if name == "empty" else f"{path}: is no first light"
    assert wanted in said.err and not said.out


def test_every_check_of_the_suite_has_a_column() -> None:
    names = [
        node.name.removeprefix("test_").replace("_", " ")
        for path in sorted((ROOT / "hil").glob("test_*.py"))
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert names == list(COLUMNS)
