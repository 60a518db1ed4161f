"""What builds of networks with branches say of their cost: predicted path by path, and expected over a data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.branches import gated
from tests.support.command_line import call
from tests.support.gates import exits, images
from tinygen.builds.manifest import read_manifest
from tinygen.errors import TinygenError
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.tg import save_tg
from tinygen.ir.graph import Graph
from tinygen.ir.paths import all_paths, count_paths
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify
from tinygen.verbs.branch_costs import covering_paths
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.run import RunResult, run


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inputs") / "x.npz"
    np.savez(path, x=np.stack([row[0] for row in images()]))
    return path


@pytest.fixture(scope="module", params=["f746zg", pytest.param("esp32c3", marks=pytest.mark.long)])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, inputs: Path) -> Path:
    out: Path = tmp_path_factory.mktemp("exits") / "out"
    build(MemoryModel(exits(), "exits"), out, BuildOptions(board=request.param, profile=inputs))
    return out


@pytest.fixture(scope="module")
def ran(built: Path, inputs: Path) -> RunResult:
    return run(built, inputs)


def test_costs_are_those_of_inferences(built: Path, ran: RunResult) -> None:
    """Each path costs what its inputs take in the emulated board with warm caches."""
    costs = read_manifest(built).costs
    assert costs is not None and costs.source == "predicted" and costs.inputs == len(images())
    counts = count_paths(exits(), images())
    assert {tuple(one.branches.items()): round(one.share * costs.inputs) for one in costs.paths} == counts
    cycles = {tuple(row.path.items()): row.profile.cycles for row in ran.rows if row.profile is not None}
    for path in costs.paths:
        assert path.cycles == pytest.approx(cycles[tuple(path.branches.items())], rel=0.05)
    assert costs.expected is not None
    mean = sum(one.share * one.cycles for one in costs.paths)
    assert costs.expected.cycles == pytest.approx(mean, abs=2)


def test_the_worst_is_none_too_small(built: Path, ran: RunResult) -> None:
    costs = read_manifest(built).costs
    assert costs is not None
    cycles = [row.profile.cycles for row in ran.rows if row.profile is not None]
    assert costs.worst.cycles >= 0.99 * max(cycles) and costs.best.cycles < costs.worst.cycles
    assert costs.worst.macs == sum(node.op.macs(node) for node in exits().nodes())
    assert costs.best.macs == min(one.macs for one in costs.paths)


def test_without_a_data_set_every_branch_is_run_all_the_same(tmp_path: Path) -> None:
    """Zeros take one path, the others are forced: they cost what inputs that take them do."""
    built = build(MemoryModel(gated(), "gated"), tmp_path / "out", BuildOptions(board="f746zg"))
    costs, profile = built.manifest.costs, built.manifest.profile
    assert costs is not None and profile is not None and costs.expected is None and costs.paths == ()
    assert costs.source == "predicted" and costs.best.cycles < profile.cycles_predicted <= costs.worst.cycles
    rng = np.random.default_rng(3)
    np.savez(
        tmp_path / "x.npz", x=[rng.integers(low, low + 90, (1, 8, 8, 4)).astype(np.int8) for low in range(-128, 0, 8)]
    )
    rows = run(tmp_path / "out", tmp_path / "x.npz").rows
    assert {row.path["experts"] for row in rows} == {0, 1, 2}
    cycles = [row.profile.cycles for row in rows if row.profile is not None]
    assert costs.worst.cycles >= max(cycles) and costs.best.cycles == pytest.approx(min(cycles), rel=0.1)
    header = (tmp_path / "out" / "model" / "gated_cycles.h").read_text()
    assert f"#define GATED_WORST_CYCLES {costs.worst.cycles}U" in header and "Predicted, not measured" in header
    assert "GATED_EXPECTED_CYCLES" not in header


def test_report_and_table(built: Path, inputs: Path, tmp_path: Path) -> None:
    costs = read_manifest(built).costs
    assert costs is not None and costs.expected is not None
    page = (built / "report.html").read_text()
    assert "Which branches run" in page and f"{costs.worst.cycles:,} cycles" not in page.split("Which branches")[0]
    assert all(one.text in page for one in costs.paths)
    save_tg(exits(), tmp_path / "exits.tg")
    done = call("build", tmp_path / "exits.tg", "-o", tmp_path / "host", "--board", "host", "--profile", inputs)
    assert "cycles, estimated, worst" in done.text and "% of inputs" in done.text
    assert not (tmp_path / "host" / "model" / "exits_cycles.h").exists()
    shown = call("inspect", tmp_path / "exits.tg").text
    assert f"{costs.best.macs:,} to {costs.worst.macs:,} MAC" in shown and "threshold EXIT_2: -110" in shown


def test_profiles_do_not_change_the_firmware(tmp_path: Path, inputs: Path) -> None:
    model = MemoryModel(exits(), "exits")
    plain, profiled = (
        build(model, tmp_path / str(n), BuildOptions(board="host", profile=x)) for n, x in enumerate((None, inputs))
    )
    assert plain.manifest.build_id == profiled.manifest.build_id


def test_covering_paths() -> None:
    for graph in (exits(), gated(), two_gates()):
        program = lower(simplify(graph))
        paths, every = covering_paths(program), all_paths(simplify(graph))
        assert {choice for path in paths for choice in path} == {choice for path in every for choice in path}
        assert set(paths) <= set(every) and len(set(paths)) == len(paths)
    assert len(covering_paths(lower(simplify(two_gates())))) == 3


def two_gates() -> Graph:
    """One of three branches, then one of three more."""
    graph = gated()
    last = graph.ops[-1]
    again = replace(last, name="again", inputs=("index", "y", "x", "index"), outputs=("z",))
    tensors = {**graph.tensors, "z": replace(graph.tensors["y"], name="z")}
    return replace(graph, tensors=tensors, ops=(*graph.ops, again), outputs=("z",))


def test_a_network_without_branches_has_no_profile(tmp_path: Path, inputs: Path) -> None:
    graph = gated()
    head = replace(graph, ops=graph.ops[:-2], outputs=graph.ops[-2].inputs)
    with pytest.raises(TinygenError, match="every input costs the same"):
        build(MemoryModel(head, "head"), tmp_path / "out", BuildOptions(board="host", profile=inputs))
