"""Suites in Python files outside of tinygen, by the command."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tinygen.bench import suites
from tinygen.bench.registry import all_suites, find_suites
from tinygen.bench.run import default_kernels
from tinygen.cli.app import app
from tinygen.errors import TinygenError

CASES = """
from tinygen.bench.case import case_of
from tinygen.bench.layers import fully_connected
from tinygen.bench.suites import Section, SuiteCases, SuiteOptions, suite

from .sizes import SIZES


def fill(rows):
    for row in rows:
        row["share"] = row["macs"] / sum(one["macs"] for one in rows)


def report(rows):
    table = "| case | share |\\n|---|---|\\n" + "\\n".join(f"| {row['case']} | {row['share']:.2f} |" for row in rows)
    return [Section("Shares", "Of all MAC.", [table], ["They add up."], picture=lambda: "<svg id='mine'></svg>")]


@suite("mine", "dense layers", ("compact",), complete=fill, report=report)
def cases(options: SuiteOptions) -> SuiteCases:
    models = {f"dense_{size}": fully_connected(f"dense_{size}", size, 3) for size in SIZES}
    return SuiteCases([case_of("mine", name, model) for name, model in models.items()])
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A suite in a package, with a module beside it."""
    all_suites()
    monkeypatch.setattr(suites, "_SUITES", dict(suites._SUITES))
    monkeypatch.setattr(sys, "path", [*sys.path])
    package = tmp_path / "my_measurements"
    package.mkdir()
    for name, text in {
        "__init__": "",
        "sizes": "SIZES = (20, 60)",
        "dense": CASES,
        "empty": "",
        "broken": "f(",
    }.items():
        (package / f"{name}.py").write_text(text)
    yield package / "dense.py"
    for name in [name for name in sys.modules if name.startswith("my_measurements")]:
        del sys.modules[name]


def test_a_suite_of_ones_own(file: Path) -> None:
    arguments = ["bench", "--suite", str(file), "--jobs", "1", "--toolchain", "zig"]
    out = file.parent / "out"
    result = CliRunner().invoke(app, [*arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "| dense_60 | 0.75 |" in result.output and "They add up." in result.output
    rows = json.loads((out / "bench.json").read_text())["rows"]
    assert [(row["case"], row["kernels"], row["error"], row["macs"], row["share"]) for row in rows] == [
        ("dense_20", "compact", None, 60, 0.25),
        ("dense_60", "compact", None, 180, 0.75),
    ]
    page = (out / "report.html").read_text()
    assert "<h2>Shares</h2>" in page and "<svg id='mine'></svg>" in page and "| dense_20 | 0.25 |" in page
    assert [suite.name for suite in find_suites(str(file))] == ["mine"] and default_kernels((), [str(file)])


def test_what_is_wrong_with_a_file(file: Path, tmp_path: Path) -> None:
    for name, word in {
        "empty": "registers no suite",
        "broken": "cannot be imported",
        "missing": "no such file",
    }.items():
        with pytest.raises(TinygenError, match=word):
            find_suites(str(file.with_name(f"{name}.py")))
    other = tmp_path / "other" / "json.py"
    other.parent.mkdir()
    other.write_text(CASES)
    with pytest.raises(TinygenError, match="module json is another file"):
        find_suites(str(other))
    twice = tmp_path / "other" / "again_mine.py"
    twice.write_text(CASES.replace("from .sizes import SIZES", "SIZES = ()"))
    find_suites(str(file))
    with pytest.raises(TinygenError, match="there is a suite 'mine' already"):
        find_suites(str(twice))
