"""What every verb prints: text from outside is only text, and tables fit the width there is without folding a name."""

from __future__ import annotations

import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.text import Text

from tests.support.command_line import Done, Screen, call
from tinygen.builds.compare import Comparison
from tinygen.builds.library import LayerDifference
from tinygen.cli import bench_tables, tables
from tinygen.cli.console import PlainConsole, progress
from tinygen.cli.sheet import Sheet, name, number, prose, tail
from tinygen.demo import MODEL, load_test_digits
from tinygen.verbs.verify import VerifyReport

HOSTILE = ("p[red]", "q[/b]", "[link=file:///x]y", ":smile:", "[[a]]", "\\[b]")
"""Names that are markup to Rich, closing tags that would end in an exception, emoji codes."""


def printed(content: Any, width: int | None = None) -> str:
    file = io.StringIO()
    PlainConsole(file, width=width).print(content)
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build whose folder, model and board have brackets in their names."""
    root = tmp_path_factory.mktemp("text")
    (root / "q[b]").mkdir()
    (root / "q[b]" / "m[red].tflite").write_bytes(MODEL.read_bytes())
    images, labels = load_test_digits()
    np.savez(root / "x[i].npz", x=images[:1], y=labels[:1])
    done = call("build", "q[b]/m[red].tflite", "--out", "p[red]", cwd=root)
    assert done.returncode == 0, done.stderr
    assert "p[red]/firmware.elf" in done.stdout and "p[red]/report.html" in done.stdout
    return root


COMMANDS: tuple[tuple[list[str], int, str], ...] = (
    (["run", "p[red]", "--inputs", "x[i].npz"], 0, "1 inferences on f746zg-emulated"),
    (["run", "p[red]", "--inputs", "y[/b].npz"], 1, "y[/b].npz"),
    (["run", "q[/b]", "--inputs", "x[i].npz"], 1, "q[/b]"),
    (["hil", "p[red]", "--inputs", "x[i].npz"], 0, "p[red]/hil/report.html"),
    (["hil", "p[red]", "--inputs", "x[i].npz", "--switch", "[/b]"], 1, "[/b]"),
    (["farm", "p[red]", "--inputs", "x[i].npz", "--port", "emulated"], 0, "1 of 1 inputs have a result"),
    (["farm", "p[red]", "--port", "auto:[/b]"], 1, "[/b]"),
    (["flash", "p[red]", "--dry-run"], 0, "p[red]/firmware.elf"),
    (["flash", "p[red]", "--method", "[/b]"], 1, "[/b]"),
    (["listen", "p[red]", "--wav", "w[/b].wav"], 1, "p[red]"),
    (["inspect", "q[b]/m[red].tflite"], 0, "q[b]/m[red].tflite: "),
    (["inspect", "q[/b].tflite"], 1, "q[/b].tflite"),
    (["build", "q[b]/m[red].tflite", "--board", "[/b]", "--out", "n"], 1, "[/b]"),
    (["bench", "--suite", "[/b]"], 1, "[/b]"),
    (["demo", "wakeword", "--model", "[/b]"], 1, "[/b]"),
    (["demo", "classify", "i[/b].png", "--choices", "[/b]"], 1, "[/b]"),
    (["inspect", "--[/b]"], 2, "--[/b]"),
)
SLOW: tuple[tuple[list[str], int, str], ...] = (
    (["verify", "q[b]/m[red].tflite", "--inputs", "x[i].npz"], 0, "m[red].tflite on f746zg"),
    (["bench", "q[b]/m[red].tflite", "--kernels", "tinygen", "--out", "o[/b]"], 0, "o[/b]/report.html"),
    (["demo", "--digits", "1", "--out", "d[/b]"], 0, "1 of 1 test digits right"),
)
"""These build and emulate again; their tables are below."""


@pytest.mark.parametrize(
    ("arguments", "status", "words"), [*COMMANDS, *(pytest.param(*one, marks=pytest.mark.long) for one in SLOW)]
)
def test_names_are_printed_as_they_are(folder: Path, arguments: list[str], status: int, words: str) -> None:
    done = call(*arguments, cwd=folder)
    assert done.returncode == status, done.text
    assert words in done.text
    assert "internal error" not in done.text


def operator(tensor: str) -> dict[str, Any]:
    one = {"name": tensor, "dtype": "int8", "shape": [1, 2], "encoding": "int8 scale 1 zero 0", "constant": False}
    return {"name": tensor, "inputs": [one], "outputs": [one], "attributes": {"at": tensor}, "usual": [], "macs": 3}


def views(text: str) -> dict[str, Any]:
    """Tables of each verb, with this text wherever a name or a message stands."""
    board = {
        "name": text,
        "title": text,
        "core": "c",
        "clock_hz": 1,
        "flash_bytes": 1024,
        "ram_bytes": 1024,
        "emulator": "none",
    }
    entry = {"what": text, "found": False, "version": "", "needed_for": text, "get": text}
    same = Comparison("semantics", text, switch=text)
    library = LayerDifference(text, text)
    report = VerifyReport(text, text, 1, (same,), {text: 1}, (library,), same)
    graph = {"source": text, "file_bytes": 1, "macs": 1, "constant_bytes": 1, "operators": [operator(text)]}
    return {
        "boards": tables.board_table([board]),
        "doctor": tables.doctor_table([entry]),
        "inspect": tables.graph_table(graph),
        "verify": tables.verify_tables(report),
        "suites": bench_tables.suite_table([{"name": text, "summary": text}]),
        "failures": bench_tables._failures([{"case": text, "kernels": "k", "toolchain": "t", "error": text}]),
    }


@pytest.mark.parametrize("view", views(""))
@pytest.mark.parametrize("text", HOSTILE)
def test_tables_print_names_as_they_are(view: str, text: str) -> None:
    assert text in printed(views(text)[view])
    assert text in printed(views(text)[view], 80)


def test_doctor_names_the_extra() -> None:
    """Square brackets of `pip install 'tinygen[torch]'` are not a style."""
    entry = {"what": "PyTorch", "found": False, "version": "", "needed_for": "", "get": "pip install 'tinygen[torch]'"}
    assert "pip install 'tinygen[torch]'" in printed(tables.doctor_table([entry]), 80)


def test_control_characters_do_not_reach_the_terminal() -> None:
    """A tensor's name that would clear the screen, ring the bell, or change the window's title."""
    for view in views("a\x1b[2Jb\x07\x9b1mc").values():
        text = printed(view, 80)
        assert "a␛[2Jb" in text
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)


def test_progress_prints_names_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr("tinygen.cli.console.errors", PlainConsole(screen, width=80))
    with progress(False) as update:
        update("q[/b]", 1, 2)
    assert "q[/b]" in screen.getvalue()


# Widths.


def wide_sheet() -> Sheet:
    columns = [name("layer"), name("kernel"), number("MAC", 2), number("cycles, predicted"), number("x", 1)]
    sheet = Sheet("Title", columns)
    sheet.add_row("depthwise_conv_2d_1", "depthwise_conv_2d_s8_dual_rows", "28,224", "51,868", "0.54")
    sheet.add_row("softmax_9", "softmax_s8", "", "770")
    return sheet


def test_columns_are_chosen_by_width() -> None:
    """Headings break first, then columns go by rank; what stays is never broken, and a line says what is missing."""
    everything = printed(wide_sheet()).splitlines()
    assert everything[1].split() == ["layer", "kernel", "MAC", "cycles,", "predicted", "x"]
    assert len(everything) == 4
    for width in range(120, 59, -1):
        lines = printed(wide_sheet(), width).splitlines()
        assert max(map(len, lines)) <= max(width, 62), (width, lines)
        rows = [line for line in lines if line.startswith("depthwise_conv_2d_1  depthwise_conv_2d_s8_dual_rows")]
        assert len(rows) == 1 and "51,868" in rows[0]
        hidden = [word for word in ("28,224", "0.54") if word not in rows[0]]
        assert ("Not shown" in lines[-1]) == bool(hidden)
        assert hidden in ([], ["28,224"], ["28,224", "0.54"])
    assert "Not shown at 66 columns: MAC" in printed(wide_sheet(), 66)


def test_sentences_break_between_words_and_names_do_not() -> None:
    sheet = Sheet("", [name("a"), prose("b"), tail("c")])
    sheet.add_row("n" * 30, "one two three four five six seven eight", "t" * 40)
    lines = printed(sheet, 60).splitlines()
    assert any("n" * 30 in line for line in lines) and any("t" * 40 in line for line in lines)
    words = [word for line in lines[1:] for word in line.split() if set(word) not in ({"n"}, {"t"})]
    assert words == ["one", "two", "three", "four", "five", "six", "seven", "eight"]


def test_fused_names_are_counted_where_they_do_not_fit() -> None:
    """TFLite joins the names of fused operators by semicolons."""
    sheet = Sheet("", [name("a"), tail("tensor")], headings=False)
    sheet.add_row("in", "first/Relu;second/BiasAdd;third/Conv2D")
    assert printed(sheet) == "in  first/Relu;second/BiasAdd;third/Conv2D\n"
    assert printed(sheet, 37) == "in  first/Relu;second/BiasAdd; 1 more\n"
    assert printed(sheet, 30) == "in  first/Relu; 2 more\n"


def test_wide_and_styled_characters_are_counted_in_columns() -> None:
    sheet = Sheet("", [name("a"), number("b")], headings=False)
    sheet.add_row("模型", "1")
    sheet.add_row(Text("model", style="red"), "22")
    assert printed(sheet, 80) == "模型    1\nmodel  22\n"


def test_a_pipe_has_no_width() -> None:
    long = "word " * 60
    assert printed(long.strip()) == long.strip() + "\n"


@pytest.mark.parametrize("width", [80, 120, None])
def test_the_build_of_a_model_fits(folder: Path, width: int | None) -> None:
    from tinygen.builds.manifest import read_manifest
    from tinygen.verbs.inspect import inspect_model

    manifest = read_manifest(folder / "p[red]")
    text = printed(tables.build_summary(manifest), width)
    for layer in manifest.layers:
        assert re.search(rf"^{layer.name}  +{layer.kernel} ", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= (width or 10_000)
    graph = printed(tables.graph_table(inspect_model(MODEL)), width)
    assert "upward_channels" not in graph
    names = {t["name"] for op in inspect_model(MODEL)["operators"] for t in op["inputs"]}
    assert all(one.split(";")[0] in graph for one in names)
    if width is None:
        assert all(one in graph for one in names)


@pytest.mark.parametrize(
    "verb",
    [
        "",
        "build",
        "run",
        "verify",
        "inspect",
        "boards",
        "doctor",
        "bench",
        "flash",
        "hil",
        "farm",
        "listen",
        "demo",
        "demo wakeword",
        "demo classify",
    ],
)
def test_help_fits(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Choices such as tinygen|compact|reference are whole, no summary of a verb ends in dots."""
    monkeypatch.setenv("COLUMNS", "80")
    done: Done = call(*verb.split(), "--help")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not re.search(r"\w\.\.\.$", done.stdout, re.MULTILINE)
    if verb == "build":
        assert "tinygen|compact|reference|cmsis-nn" in done.stdout


def test_rows_of_training_are_named() -> None:
    from tinygen.cli.train_wakeword import _accuracy

    rate = SimpleNamespace(value=0.117, low=0.091, high=0.147)
    point = SimpleNamespace(cutoff=0.67, false_rejects=rate, false_accepts=rate)
    one = SimpleNamespace(name="w8a8", chosen=point, confused=12, near_misses=165, at=lambda allowed: point)
    evaluations: Any = [one]
    for width in (80, 120, None):
        text = printed(_accuracy(evaluations, "'hey [b]': false rejects"), width)
        assert "'hey [b]'" in text
        assert re.search(r"^w8a8 ", text, re.MULTILINE)
        assert max(map(len, text.splitlines())) <= (width or 200)
