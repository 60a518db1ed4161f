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
from tinygen.emit.model import emit_model
from tinygen.errors import ModelError, TinygenError
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.tg import save_tg
from tinygen.hil.device import Measured, open_device
from tinygen.hil.page import render_hil
from tinygen.ir.branch import Branch
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate, evaluate_all
from tinygen.ir.network import Network, Switch
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.reduce import ArgMax
from tinygen.ir.paths import path_of
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.hil import HilOptions, hil
from tinygen.verbs.inspect import inspect_model
from tinygen.verbs.run import RunOptions, run
from tinygen.verbs.verify import VerifyOptions, verify


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


@pytest.mark.parametrize("board", ["f746zg", pytest.param("esp32c3", marks=pytest.mark.long)])
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


@pytest.mark.parametrize(
    ("board", "ports"), [("f746zg", "caller"), pytest.param("esp32c3", "arena", marks=pytest.mark.long)]
)
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


@pytest.mark.long
def test_in_every_switch(tmp_path: Path, images: Path) -> None:
    """Operators of equal names choose among other branches."""
    graphs = gated(), gated(bodies=("conv", "deep", "sum"))
    network = Network("net", tuple(Switch(name, graph) for name, graph in zip("ab", graphs, strict=True)))
    model, options = MemoryModel(network, "net"), BuildOptions(board="f746zg", profile=images)
    assert verify(model, images, options).identical
    manifest = build(model, tmp_path / "out", options).manifest
    result = run(tmp_path / "out", images, RunOptions(switch="b"))
    rows = [[row] for row in np.load(images)["x"][:, None]]
    assert [tuple(row.path.items()) for row in result.rows] == [path_of(graphs[1], row) for row in rows]
    worst = [one.costs.worst.cycles for one in manifest.switches if one.costs is not None]
    assert len(set(worst)) == 2 and manifest.costs == manifest.switches[0].costs
    header = (tmp_path / "out" / "model" / "net_cycles.h").read_text()
    assert f"NET_WORST_CYCLES {max(worst)}U" in header


@pytest.mark.long
def test_within_a_limit_of_flash(model: Path, tmp_path: Path) -> None:
    """The operator is one layer with one kernel: the others' are chosen around it."""
    usual = build(model, tmp_path / "usual", BuildOptions(board="f746zg"), profile=False).manifest
    assert usual.flash_bytes is not None
    limit = usual.flash_bytes - 300
    options = BuildOptions(board="f746zg", flash_bytes=limit)
    limited = build(model, tmp_path / "limited", options, profile=False).manifest
    assert limited.flash_bytes is not None and limited.flash_bytes <= limit
    assert limited.layers[-1].kernel == "branch"


@pytest.fixture
def gates(tmp_path: Path) -> tuple[Path, Path]:
    """A model with two thresholds, and inputs that take every path."""
    save_tg(exits(), tmp_path / "exits.tg")
    np.savez(tmp_path / "x.npz", x=np.stack([row[0] for row in images_of_exits(6)]))
    return tmp_path / "exits.tg", tmp_path / "x.npz"


@pytest.mark.parametrize("board", ["host", *(pytest.param(b, marks=pytest.mark.long) for b in ("f746zg", "esp32c3"))])
def test_thresholds_on_boards(gates: tuple[Path, Path], board: str) -> None:
    """Semantics, host and board move together."""
    model, inputs = gates
    build(model, model.parent / "out", BuildOptions(board=board), profile=False)
    found = []
    for thresholds in ({}, {"EXIT_1": 127, "exit_2": 127}):
        assert verify(model, inputs, BuildOptions(board=board), VerifyOptions(thresholds=thresholds)).identical
        result = run(model.parent / "out", inputs, RunOptions(thresholds=thresholds))
        found.append({tuple(row.path.items()) for row in result.rows})
    assert len(found[0]) == 3 and found[1] == {(("first", 0), ("first/0/second", 0))}


def switchable_exits() -> Network:
    """Their thresholds have the same names, and lie apart."""
    graphs = exits(), exits(codes=(-90, -100))
    return Network("net", tuple(Switch(name, graph) for name, graph in zip("ab", graphs, strict=True)))


def test_thresholds_of_switches(gates: tuple[Path, Path]) -> None:
    """Each switch has its own, which stay while another runs, and when the arena is painted."""
    inputs, out = gates[1], gates[1].parent / "out"
    save_tg(switchable_exits(), inputs.parent / "net.tg")
    model, options = inputs.parent / "net.tg", BuildOptions(board="f746zg")
    given = VerifyOptions(thresholds={"exit_2": 127, "B_EXIT_1": 127, "EXIT_1": 5})
    assert verify(model, inputs, options, given).identical
    build(model, out, options, profile=False)
    header = (out / "model" / "net.h").read_text()
    assert "NET_B_EXIT_2 = 3, /* int8 scale" in header and "#define NET_B_EXIT_2_DEFAULT (-100)" in header
    report = hil(out, HilOptions(inputs=inputs, thresholds={"B_EXIT_1": -128}))
    assert report.passed
    paths = [[tuple(path["branches"].items()) for path in part["paths"]] for part in report.content["switches"]]
    assert len(paths[0]) == 3 and paths[1] == [(("first", 1),)]
    sample = [np.load(inputs)["x"][0]]
    with open_device(out) as device:
        device.set_thresholds({"A_EXIT_1": 3, "B_EXIT_2": 4})
        device.select("b")
        device.client.paint()
        device.select("a")
        device.step(sample)
        assert device.check().thresholds == {"A_EXIT_1": 3, "A_EXIT_2": -110, "B_EXIT_1": -90, "B_EXIT_2": 4}


def test_thresholds_of_switches_that_cannot_be(gates: tuple[Path, Path]) -> None:
    for given, what in (({"C_EXIT_1": 1}, "no threshold 'C_EXIT_1'"), ({"B_EXIT_1": 128}, "B_EXIT_1 cannot be 128")):
        with pytest.raises(TinygenError, match=what):
            verify(MemoryModel(switchable_exits(), "n"), gates[1], BuildOptions(), VerifyOptions(thresholds=given))


def test_hil_sets_thresholds(gates: tuple[Path, Path]) -> None:
    """Its session paints the arena, where they lie; and on the host it is a stream of commands as on boards."""
    model, inputs = gates
    out = model.parent / "out"
    build(model, out, BuildOptions(board="f746zg"))
    cycles = []
    for code in (-128, 127):
        report = hil(out, HilOptions(inputs=inputs, thresholds={"EXIT_1": code, "EXIT_2": code}))
        assert report.passed and report.content["thresholds"] == {"EXIT_1": code, "EXIT_2": code}
        part = report.content["switches"][0]
        cycles.append(part["latency"]["cycles"]["median"])
        page = render_hil(report.content)
        assert "<h3>Which branches ran</h3>" in page and f"{cycles[-1]:,.0f} cycles</div>" in page
        assert 'style="width:100.0%;background:var(--ink)"' in page and "100.0 % of inputs" in page
        assert [(path["share"], path["cycles"]["median"]) for path in part["paths"]] == [(1.0, cycles[-1])]
    assert cycles[0] < cycles[1]


def test_hil_finds_a_wrong_gate_with_the_right_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = gated()
    *before, op = graph.ops
    assert isinstance(op, Branch)
    same = replace(graph, ops=(*before, replace(op, branches=(op.branches[2],) * 3)))
    build(MemoryModel(same, "same"), tmp_path / "out", BuildOptions(board="host"))
    right = Branch.number
    monkeypatch.setattr(Branch, "number", lambda self, index: (right(self, index) + 1) % 3)
    report = hil(tmp_path / "out", HilOptions(limit=2))
    assert not report.passed and report.content["switches"][0]["mismatches"] == 2


def test_a_device_keeps_thresholds_over_paint(gates: tuple[Path, Path]) -> None:
    model, inputs = gates
    out = model.parent / "out"
    build(model, out, BuildOptions(board="host"))
    sample = [np.load(inputs)["x"][0]]
    with open_device(out) as device:
        device.step(sample)
        before = dict(device.path)
        device.set_thresholds({"EXIT_1": 127, "EXIT_2": 127})
        device.step(sample)
        moved = dict(device.path)
        device.client.paint()
        device.step(sample)
        assert device.path == moved != before
        assert device.client.info().thresholds == {"EXIT_1": 127, "EXIT_2": 127}
        assert device.check().thresholds == {"EXIT_1": 127, "EXIT_2": 127}


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (["EXIT_3=1"], "there is no threshold 'EXIT_3'"),
        (["EXIT_1=128"], "threshold EXIT_1 cannot be 128: its codes are -128 to 127"),
        (["EXIT_1"], "'EXIT_1' sets no threshold"),
        (["EXIT_1=1.5"], "sets no threshold"),
        (["EXIT_1=1", "exit_1=2"], "sets no threshold"),
    ],
)
def test_thresholds_that_cannot_be(built_exits: Path, gates: tuple[Path, Path], given: list[str], what: str) -> None:
    options = [word for text in given for word in ("--threshold", text)]
    done = call("run", built_exits, "-i", gates[1], *options)
    assert done.returncode == 1 and what in done.text


@pytest.fixture(scope="module")
def built_exits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exits") / "out"
    build(MemoryModel(exits(), "exits"), out, BuildOptions(board="host"))
    return out


def test_a_threshold_in_the_header(built_exits: Path) -> None:
    header = (built_exits / "model" / "exits.h").read_text()
    assert "EXITS_EXIT_2 = 1, /* int8 scale" in header and "#define EXITS_EXIT_1_DEFAULT (-95)" in header
    assert "exits_reset" not in header


def test_thresholds_that_c_has_names_for() -> None:
    graph = exits()
    states = (replace(graph.states[0], threshold="layers"), *graph.states[1:])
    with pytest.raises(ModelError, match="EXITS_LAYERS"):
        emit_model(lower(simplify(replace(graph, states=states))), "x")
