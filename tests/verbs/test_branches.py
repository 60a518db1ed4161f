"""Networks with branches from file to firmware: what commands say of them, and that a wrong choice is found."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.support.branches import gated
from tests.support.command_line import call
from tests.support.gates import exits
from tests.support.gates import images as images_of_exits
from tinygen.builds.report import plain_text
from tinygen.cli.tables import verify_tables
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.tg import save_tg
from tinygen.hil.device import Measured
from tinygen.ir.branch import Branch
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate, evaluate_all
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.reduce import ArgMax
from tinygen.ir.paths import path_of
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.inspect import inspect_model
from tinygen.verbs.run import run
from tinygen.verbs.verify import verify


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_tg(gated(), tmp_path / "gated.tg")
    return tmp_path / "gated.tg"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """They take all three branches."""
    rng = np.random.default_rng(3)
    rows = [rng.integers(low, low + 90, (8, 8, 4)).astype(np.int8) for low in range(-128, 40, 8)]
    assert {int(evaluate_all(gated(), [row[None]])["index"][0]) for row in rows} == {0, 1, 2}
    np.savez(tmp_path / "x.npz", x=np.stack(rows))
    return tmp_path / "x.npz"


@pytest.mark.parametrize("board", ["f746zg", "esp32c3"])
def test_on_emulated_boards(model: Path, images: Path, board: str) -> None:
    report = verify(model, images, BuildOptions(board=board))
    assert report.identical
    assert [c.as_json()["pair"] for c in report.comparisons] == ["semantics/host", f"semantics/{board}-emulated"]


def test_a_wrong_gate_is_found(model: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The semantics takes the next branch: the index differs, and that is what is named."""
    right = ArgMax.evaluate

    def wrong(self: ArgMax, node, values):  # type: ignore[no-untyped-def]
        return [(right(self, node, values)[0] + 1) % 3]

    monkeypatch.setattr(ArgMax, "evaluate", wrong)
    report = verify(model, images, BuildOptions(board="host"))
    (comparison,) = report.comparisons
    assert not report.identical and comparison.where is not None
    assert (comparison.where.layer, comparison.where.tensor) == ("choose", "index")


def test_a_wrong_gate_with_the_right_answer_is_found(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All branches give the same: only which one ran is wrong."""
    graph = gated()
    *before, op = graph.ops
    assert isinstance(op, Branch)
    model = MemoryModel(replace(graph, ops=(*before, replace(op, branches=(op.branches[2],) * 3))), "same")
    assert verify(model, images, BuildOptions(board="host")).identical
    right = Branch.number
    monkeypatch.setattr(Branch, "number", lambda self, index: (right(self, index) + 1) % 3)
    report = verify(model, images, BuildOptions(board="host"))
    (comparison,) = report.comparisons
    assert comparison.mismatches == comparison.samples and comparison.max_abs_diff == 0
    assert comparison.where is not None and (comparison.where.layer, comparison.where.tensor) == ("experts", "")
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(verify_tables(report))
    assert "experts took branch" in console.export_text()


def test_layers_in_branches_are_compared(model: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them computes something else: it is named, and not what follows."""
    right = DepthwiseConv2D.evaluate

    def wrong(self: DepthwiseConv2D, node, values):  # type: ignore[no-untyped-def]
        return [np.bitwise_xor(right(self, node, values)[0], 1)]

    monkeypatch.setattr(DepthwiseConv2D, "evaluate", wrong)
    (comparison,) = verify(model, images, BuildOptions(board="host")).comparisons
    assert comparison.where is not None and comparison.where.layer == "experts/0/depthwise_conv_2d_1"
    assert comparison.where.tensor.startswith("experts/0/")


@pytest.mark.parametrize(("board", "ports"), [("f746zg", "caller"), ("esp32c3", "arena")])
def test_runs_say_which_branches_ran(tmp_path: Path, board: str, ports: str) -> None:
    """Of each input: branches, the MAC that were executed, and cycles that add up; as the semantics has them."""
    graph = exits()
    rows = images_of_exits()
    np.savez(tmp_path / "x.npz", x=np.stack([row[0] for row in rows]))
    build(MemoryModel(graph, "exits"), tmp_path / "out", BuildOptions(board=board, io=ports))
    result = run(tmp_path / "out", tmp_path / "x.npz")
    content = json.loads(json.dumps(result.as_json()))
    macs = dict(all_macs(graph))
    assert len({json.dumps(row["branches"]) for row in content["rows"]}) == 3
    for row, said, ran in zip(rows, content["rows"], result.rows, strict=True):
        path = path_of(graph, row)
        assert said["branches"] == dict(path)
        layers = {layer["name"]: layer for layer in said["layers"]}
        assert said["cycles_predicted"] == sum(layer["cycles_predicted"] for layer in said["layers"]) + rest(ran)
        for name, layer in layers.items():
            assert (layer["instructions"] == 0) == skipped(name, path), name
        inner = sum(n for name, n in macs.items() if not skipped(name, path))
        assert said["macs"] == inner
        assert np.array_equal(ran.outputs[0], evaluate(graph, row)[0])
    assert min(row["macs"] for row in content["rows"]) < max(row["macs"] for row in content["rows"])


def all_macs(graph: Graph, prefix: str = "") -> Iterator[tuple[str, int]]:
    for node in graph.nodes():
        if isinstance(node.op, Branch):
            for number, inner in enumerate(node.op.branches):
                yield from all_macs(inner, f"{prefix}{node.op.name}/{number}/")
        else:
            yield f"{prefix}{node.op.name}", node.op.macs(node)


def rest(measured: Measured) -> int:
    """Cycles behind the last layer."""
    assert measured.profile is not None
    return measured.profile.after_cycles


def skipped(name: str, path: tuple[tuple[str, int], ...]) -> bool:
    """Whether a layer lies in a branch that did not run."""
    return any(name.startswith(f"{op}/") and not name.startswith(f"{op}/{number}") for op, number in path)


def test_build_and_inspect(model: Path, tmp_path: Path) -> None:
    built = build(model, tmp_path / "out", BuildOptions(board="f746zg"))
    layers = {layer.name: layer for layer in built.manifest.layers}
    content = json.loads(json.dumps(inspect_model(model)))
    branches = content["operators"][-1]["branches"]
    for number, branch in enumerate(branches):
        own = [layer for name, layer in layers.items() if name.startswith(f"experts/{number}/")]
        assert sum(layer.macs for layer in own) == branch["macs"] and all(layer.weight_bytes for layer in own)
        assert layers[f"experts/{number}"].kernel == "branch" and layers[f"experts/{number}"].macs == 0
    assert built.manifest.macs == content["macs"]
    assert plain_text(built.manifest) == ""
    done = call("inspect", model)
    assert "experts/0/conv_2d_0" in done.text and "experts/2/" in done.text


def test_within_a_limit_of_flash(model: Path, tmp_path: Path) -> None:
    """The operator is one layer with one kernel: the others' are chosen around it."""
    usual = build(model, tmp_path / "usual", BuildOptions(board="f746zg")).manifest
    assert usual.flash_bytes is not None
    limit = usual.flash_bytes - 300
    limited = build(model, tmp_path / "limited", BuildOptions(board="f746zg", flash_bytes=limit)).manifest
    assert limited.flash_bytes is not None and limited.flash_bytes <= limit
    assert limited.layers[-1].kernel == "branch"
