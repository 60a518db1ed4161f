"""Benchmarks: figures, checks, errors, and what is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygen.lowering.network as lowering
from tests.support.vendor_library import needs_cmsis_nn, needs_esp_nn
from tinygen.bench import layers, measure, ratios
from tinygen.bench.case import case_of
from tinygen.bench.figures import rounds_otherwise
from tinygen.bench.html import render_bench
from tinygen.bench.layers import Window
from tinygen.bench.measure import Job
from tinygen.bench.output import check_output, write_output
from tinygen.bench.run import BenchOptions, BenchReport, bench
from tinygen.builds.library import LibrarySemantics
from tinygen.errors import TinygenError
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.encodings import Float32
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.tensor import Tensor

SCHEMA = {
    "suite": str,
    "case": str,
    "shape": str,
    "encoding": str,
    "kernels": str,
    "toolchain": str,
    "board": str,
    "instructions": int,
    "cycles_predicted": int,
    "macs": int,
    "flash_bytes": int,
    "ram_bytes": int,
}
SMALL = BenchOptions(only=("fc_64_12", "softmax_12"), toolchains=("zig",), jobs=1)


@pytest.fixture(scope="module")
def report() -> BenchReport:
    return bench([], ["int8-kernels"], SMALL)


def test_rows(report: BenchReport) -> None:
    assert [(row["case"], row["kernels"]) for row in report.rows] == [
        (case, kernels) for case in ("fc_64_12", "softmax_12") for kernels in ("tinygen", "reference")
    ]
    for row in report.rows:
        for key, kind in SCHEMA.items():
            assert isinstance(row[key], kind), key
        assert row["error"] is None and row["max_abs_diff"] == 0 and row["samples"] == 2
        assert row["instructions"] > 100
        assert row["cycles_predicted"] > 0
        assert 0 < row["flash_without_weights_bytes"] <= row["flash_bytes"] < 20_000
        assert 0 < row["arena_bytes"] < row["ram_bytes"]
        assert 0 < sum(layer["instructions"] for layer in row["layers"]) <= row["instructions"]
    dense = report.rows[0]
    assert (dense["macs"], dense["published"]["instructions"]) == (768, 2173)
    assert dense["flash_bytes"] - dense["flash_without_weights_bytes"] >= 768
    json.dumps(report.as_json())


def test_ratios_of_rows(report: BenchReport) -> None:
    ours, theirs = report.rows[:2]
    assert report.baseline == theirs["kernels"] == "reference"
    assert ours["ratios"]["instructions"] == ours["instructions"] / theirs["instructions"] < 1
    assert theirs["ratios"]["arena_bytes"] == 1
    summary = {entry["kernels"]: entry for entry in report.as_json()["summary"]}
    wanted = np.sqrt(ours["ratios"]["instructions"] * report.rows[2]["ratios"]["instructions"])
    assert summary["tinygen"]["ratios"]["instructions"] == pytest.approx(wanted)
    assert summary["tinygen"]["published_cases"] == 2


@pytest.mark.long
def test_processes_give_the_same_rows(report: BenchReport) -> None:
    again = bench([], ["int8-kernels"], replace(SMALL, jobs=2))
    assert json.dumps(again.as_json()) == json.dumps(report.as_json())


def test_layers_have_ratios() -> None:
    def row(kernels: str, layers: dict[str, int]) -> dict[str, Any]:
        entries = [{"name": name, "instructions": count} for name, count in layers.items()]
        return {"suite": "s", "case": "c", "toolchain": "zig", "board": "b", "kernels": kernels, "layers": entries}

    ours, base = row("tinygen", {"conv": 10, "joined": 5}), row("reference", {"conv": 40, "add": 9})
    ratios.add_ratios([ours, base], "reference")
    assert [layer["ratios"] for layer in ours["layers"]] == [{"instructions": 0.25}, {}]
    assert [layer["ratios"] for layer in base["layers"]] == [{"instructions": 1}, {"instructions": 1}]


def test_baseline() -> None:
    assert ratios.choose_baseline(["tinygen", "cmsis-nn", "reference"]) == "cmsis-nn"
    assert ratios.choose_baseline(["reference", "tinygen"]) == "reference"
    assert ratios.choose_baseline(["tinygen"]) is None


def test_ratios_leave_out_what_is_missing() -> None:
    row = {"suite": "s", "case": "c", "toolchain": "zig", "board": "b", "kernels": "tinygen", "instructions": 10}
    base = row | {"kernels": "reference", "instructions": 40, "flash_bytes": 100}
    failed = row | {"case": "d", "instructions": None}
    ratios.add_ratios(rows := [row, base, failed], "reference")
    assert [entry["ratios"] for entry in rows] == [{"instructions": 0.25}, {"instructions": 1, "flash_bytes": 1}, {}]
    assert [entry["baseline"] for entry in rows] == ["reference", "reference", None]
    assert ratios.geometric_mean([2, 8]) == pytest.approx(4)
    assert ratios.geometric_mean([]) is None


@pytest.fixture
def wrong_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """C that computes something else than the model says: the first channel's bias is wrong."""
    lower = lowering.lower

    def wrong(graph: Graph, **options: Any) -> Any:
        bias = graph.tensors["bias"]
        assert bias.data is not None
        data = bias.data.copy()
        data[0] += 40_000
        return lower(replace(graph, tensors={**graph.tensors, "bias": replace(bias, data=data)}), **options)

    monkeypatch.setattr(lowering, "lower", wrong)


def job(kernels: str) -> Job:
    model = layers.conv_2d("wrong", (5, 5, 3), 4, Window((3, 3)))
    return Job(case_of("test", "wrong", model), kernels, "zig", "f746zg")


@pytest.mark.usefixtures("wrong_kernels")
def test_a_wrong_kernel_is_noticed() -> None:
    row = measure.measure(job("reference"))
    assert "output 0 is wrong" in row["error"] and "codes differ" in row["error"]
    assert row["max_abs_diff"] > 0
    assert row["instructions"] is row["flash_bytes"] is row["cycles_predicted"] is None
    assert set(SCHEMA) <= set(row)


@pytest.mark.usefixtures("wrong_kernels")
def test_a_librarys_own_rounding_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kernel documents as its arithmetic is no error; how far it is from the semantics stands in the row."""

    def wrong_bias(node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        bias = values[2].copy()
        bias[0] += 40_000
        return node.op.evaluate(node, [*values[:2], bias])

    def semantics(graph: Graph, program: Any) -> LibrarySemantics:
        return LibrarySemantics(graph, {"conv_2d": (program.layers[0].kernel, wrong_bias)})

    monkeypatch.setattr(measure, "library_semantics", semantics)
    row = measure.measure(job("reference"))
    assert row["error"] is None
    assert row["max_abs_diff"] > 0
    assert row["instructions"] > 0


@needs_cmsis_nn
def test_cmsis_nn() -> None:
    options = replace(SMALL, kernels=("tinygen", "cmsis-nn"), only=("fc_256_128", "dw_3x3_19*"))
    report = bench([], ["int8-kernels"], options)
    assert report.baseline == "cmsis-nn"
    assert report.errors == 0
    differences = {(row["case"].split("_")[0], row["kernels"]): row["max_abs_diff"] for row in report.rows}
    assert differences == {("fc", "tinygen"): 0, ("fc", "cmsis-nn"): 1, ("dw", "tinygen"): 0, ("dw", "cmsis-nn"): 0}


@needs_esp_nn
def test_esp_nn() -> None:
    options = replace(SMALL, board="esp32c3", kernels=("tinygen", "esp-nn"), only=("fc_256_128", "dw_3x3_19*"))
    report = bench([], ["int8-kernels"], options)
    assert (report.baseline, report.errors) == ("esp-nn", 0)
    differences = {(row["case"].split("_")[0], row["kernels"]): row["max_abs_diff"] for row in report.rows}
    assert differences == {("fc", "tinygen"): 0, ("fc", "esp-nn"): 1, ("dw", "tinygen"): 0, ("dw", "esp-nn"): 0}


def test_a_defect_costs_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("no such luck")

    monkeypatch.setattr(lowering, "lower", fail)
    row = measure.measure(job("reference"))
    assert row["error"] == "internal error: AssertionError: no such luck"
    assert "in fail" in row["traceback"]
    assert row["instructions"] is None


def test_floats() -> None:
    """Compared within a bound, so that the last bit is no finding."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((7, 40)).astype(np.float32)
    real = Float32()
    tensors = [Tensor("x", (1, 40), real), Tensor("w", (7, 40), real, weights), Tensor("y", (1, 7), real)]
    op = FullyConnected(name="fc", inputs=("x", "w"), outputs=("y",))
    graph = Graph("dense", {tensor.name: tensor for tensor in tensors}, (op,), ("x",), ("y",))
    case = case_of("test", "float", MemoryModel(graph, "dense"))
    row = measure.measure(Job(case, "tinygen", "zig", "f746zg"))
    assert row["encoding"] == "float32"
    assert row["error"] is None
    assert row["max_abs_diff"] < 1e-4
    assert not rounds_otherwise(row) and rounds_otherwise(row | {"encoding": "int8", "max_abs_diff": 1})


def test_what_does_not_fit_is_an_error_of_its_row() -> None:
    case = case_of("test", "large", layers.add("large", (300, 300, 4)))
    row = measure.measure(Job(case, "tinygen", "zig", "f746zg"))
    assert "RAM" in row["error"]
    assert row["ram_bytes"] is None


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"board": "host"}, "cannot be counted"),
        ({"board": "f746"}, "f746"),
        ({"kernels": ("magic",)}, "magic"),
        ({"kernels": ()}, "no kernel family"),
        ({"toolchains": ("keil",)}, "keil"),
        ({"kernels": ("cmsis-nn",), "cmsis_nn": Path("nowhere")}, "is not CMSIS-NN"),
        ({"kernels": ("esp-nn",), "esp_nn": Path("nowhere")}, "is not ESP-NN"),
        ({"baseline": "cmsis-nn"}, "not among the kernels"),
        ({"only": ("nothing*",)}, "no case is called nothing"),
    ],
)
def test_errors(change: dict[str, Any], word: str) -> None:
    with pytest.raises(TinygenError, match=word.replace("*", r"\*")):
        bench([], ["int8-kernels"], replace(SMALL, **change))


def test_nothing_to_measure(tmp_path: Path) -> None:
    with pytest.raises(TinygenError, match="nothing to measure"):
        bench([], [], SMALL)
    with pytest.raises(TinygenError, match="no such file"):
        bench([tmp_path / "missing.tflite"], [], SMALL)
    with pytest.raises(TinygenError, match="two of the models"):
        model = Path(measure.__file__).parents[1] / "demo/digits.tflite"
        bench([model, model], [], SMALL)


class _Page(HTMLParser):
    """Collects text, and checks that every element is closed."""

    VOID = {"meta", "rect", "line", "i", "br"}

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.text = ""
        self.bars = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.bars += tag == "rect"
        assert not any(name in ("src", "href") for name, _ in attrs)
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page(report: BenchReport) -> None:
    content = report.as_json()
    failed = content["rows"][3] | {"error": "codes differ <b>", "instructions": None}
    content = content | {"rows": [*content["rows"][:3], failed], "skipped": [{"model": "m.tflite", "reason": "odd"}]}
    page = _Page()
    text = render_bench(content)
    page.feed(text)
    assert not page.stack
    assert "http" not in text
    for words in ("fc_64_12", f"{report.rows[0]['instructions']:,}", "2,173", "codes differ <b>", "m.tflite: odd"):
        assert words in page.text, words
    # Two cases: tinygen twice, reference once (its other row failed); published instructions twice.
    assert page.bars == (3 + 2) + 2 + 3 + 3


def test_page_of_a_model() -> None:
    model = Path(measure.__file__).parents[1] / "demo/digits.tflite"
    options = replace(SMALL, only=())
    report = bench([model], [], options)
    assert all(layer["ratios"]["instructions"] > 0 for row in report.rows for layer in row["layers"])
    page = _Page()
    page.feed(render_bench(report.as_json()))
    assert not page.stack
    for row in report.rows:
        for layer in row["layers"]:
            assert layer["kernel"] in page.text
            assert page.text.count(f"{layer['instructions']:,}") >= 2, "in the plot and in the table"


def test_writes_all_or_nothing(report: BenchReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "deep" / "bench"
    write_output(report.as_json(), out)
    assert {path.name for path in out.iterdir()} == {"bench.json", "report.html"}
    assert json.loads((out / "bench.json").read_text())["rows"] == json.loads(json.dumps(report.rows))
    write_output(report.as_json(), out)

    def fail(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    before = (out / "bench.json").read_bytes()
    for target in (out, tmp_path / "deep" / "new"):
        with pytest.raises(TinygenError, match="No space left"):
            write_output(report.as_json(), target)
    assert [path.name for path in out.parent.iterdir()] == ["bench"]
    assert (out / "bench.json").read_bytes() == before


def test_refuses_foreign_directories(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(TinygenError, match="not an earlier benchmark"):
        check_output(tmp_path)
    with pytest.raises(TinygenError, match="is a file"):
        check_output(tmp_path / "precious.txt")
