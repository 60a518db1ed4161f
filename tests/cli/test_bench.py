"""`tinygen bench` as a user and as another program use it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command import Done, tinygen
from tinygen.demo import MODEL


def bench(*arguments: str | Path, cwd: Path | None = None, **variables: str) -> Done:
    return tinygen("bench", *arguments, cwd=cwd, **variables)


def test_own_model(tmp_path: Path) -> None:
    options = ["--toolchain", "zig", "--kernels", "tinygen,reference", "--layers", "--jobs", "1"]
    done = bench(MODEL, "--out", tmp_path / "o", *options)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "o" / "bench.json").read_text())
    ours, reference = figures["rows"]
    numbers = [f"{ours['instructions']:,}", f"{reference['flash_bytes']:,}", f"{ours['ratios']['instructions']:.2f}"]
    for words in ("digits", *numbers, "depthwise_conv_2d_1", figures["cycles_source"]):
        assert words in done.stdout, done.stdout
    assert (tmp_path / "o" / "report.html").is_file()


def test_json() -> None:
    arguments = ["--suite", "int8-kernels", "--case", "fc_64_*", "--kernels", "tinygen", "--board", "netduinoplus2"]
    done = bench(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["suite"], row["board"], row["kernels"]) == ("int8-kernels", "netduinoplus2", "tinygen")
    assert row["published"]["instructions"] == 2167
    assert row["baseline"] is None


def test_list() -> None:
    done = bench("--list")
    assert done.returncode == 0
    assert "int8-kernels" in done.stdout and "models" in done.stdout
    assert {"name", "summary"} == set(json.loads(bench("--list", "--json").stdout)[0])


def test_failures_are_rows_and_exit_status_1(tmp_path: Path) -> None:
    """A board with too little RAM for a case, its input alone is larger: the row says so, the others stand."""
    from tinygen.targets.boards import load_board

    text = load_board("f746zg").path.read_text()
    small = tmp_path / "small.yaml"
    small.write_text(text.replace("size: 0x10000\n", "size: 0x6000\n"))
    assert small.read_text() != text
    done = bench(
        "--suite",
        "int8-kernels",
        "--case",
        "conv_3x3_3_8_96x96_s2",
        "--case",
        "fc_64_12",
        "--kernels",
        "reference",
        "--toolchain",
        "zig",
        "--board",
        small,
        "--jobs",
        "1",
        "--json",
    )
    rows = json.loads(done.stdout)
    assert done.returncode == 1, rows
    large, dense = sorted(rows, key=lambda row: row["case"])
    assert "RAM" in large["error"] and large["instructions"] is None
    assert dense["error"] is None and dense["instructions"] > 0
    assert "1 of 2" in done.stderr


def test_models_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "broken.tflite").write_bytes(b"no model")
    arguments = ["--suite", "models", "--case", "digits", "--kernels", "tinygen", "--json"]
    done = bench(*arguments, TINYGEN_MODELS=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert [row["case"] for row in json.loads(done.stdout)] == ["digits"]
    assert "broken.tflite" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["nothing to measure", "--list"]),
        (["--suite", "int9"], ["int9", "int8-kernels"]),
        (["missing.tflite"], ["missing.tflite", "no such file"]),
        (["--suite", "models", "--models", "nowhere"], ["nowhere", "not a directory"]),
        (["--suite", "int8-kernels", "--kernels", "magic"], ["magic", "reference"]),
        (["--suite", "int8-kernels", "--toolchain", "keil"], ["keil", "zig"]),
        (["--suite", "int8-kernels", "--board", "f746"], ["f746zg"]),
        (["--suite", "int8-kernels", "--baseline", "magic"], ["magic", "tinygen"]),
        (["--suite", "int8-kernels", "--out", __file__], ["is a file"]),
    ],
)
def test_errors(tmp_path: Path, arguments: list, words: list[str]) -> None:
    out = [] if "--out" in arguments else ["--out", "o"]
    done = bench(*arguments, *out, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())
    as_json = bench(*arguments, *out, "--json", cwd=tmp_path)
    assert json.loads(as_json.stdout)["error"]["what"]
