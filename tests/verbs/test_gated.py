"""Gated networks from file to board: codes and lists are those of the semantics, and a wrong winner is named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.command_line import call
from tests.support.gated import GAMMA, Maker
from tests.support.integer_layers import INT8, affine
from tinygen.bench.gated_networks import ConvLayer, Method, gated_network
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.tg import save_tg
from tinygen.ir.encodings import ChannelList
from tinygen.ir.epilogue import Rescale
from tinygen.ir.firing import firings
from tinygen.ir.gated import executed_macs, gated_macs
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate_all
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.channel_statistic import ChannelStatistic, Statistic
from tinygen.ir.ops.gather_channels import GatherChannels
from tinygen.ir.ops.top_k import TopK
from tinygen.verbs.build import BuildOptions
from tinygen.verbs.verify import verify

LAYERS = (ConvLayer(9), ConvLayer(8, stride=2), ConvLayer(6))
IMAGE = (8, 6, 3)


def _images(count: int) -> np.ndarray:
    """Each brighter in other colours, so that gates choose differently."""
    rng = np.random.default_rng(4)
    bright = rng.integers(-120, 128, (count, 1, 1, 1, IMAGE[2]))
    return rng.integers(-128, bright, (count, 1, *IMAGE)).astype(np.int8)


def network(experts: int = 3) -> Graph:
    return gated_network("gates", LAYERS, IMAGE, Method(Fraction(1, 2), experts))


def test_gates_choose_by_the_input() -> None:
    graph = network()
    found = [evaluate_all(graph, [image]) for image in _images(8)]
    assert len({values[f"conv{i}_live"].tobytes() for values in found for i in range(3)}) > 4


SIGNATURES = {"fixed": Method(Fraction(1, 2), predictor=True), "dynamic": Method(predictor=True)}


@pytest.mark.parametrize(
    ("method", "board", "gates"),
    [
        pytest.param(Method(Fraction(1, 2), 3), "f746zg", "auto", id="mixed-f746zg", marks=pytest.mark.long),
        pytest.param(Method(Fraction(1, 2), 3), "esp32c3", "auto", id="mixed-esp32c3", marks=pytest.mark.long),
        pytest.param(Method(Fraction(1, 2)), "f746zg", "always", id="boosted-f746zg", marks=pytest.mark.long),
        pytest.param(Method(Fraction(1, 2)), "f746zg", "never", id="boosted-f746zg-all", marks=pytest.mark.long),
        pytest.param(Method(Fraction(1, 2)), "esp32c3", "never", id="boosted-esp32c3-all", marks=pytest.mark.long),
        pytest.param(SIGNATURES["fixed"], "f746zg", "auto", id="fixed-f746zg", marks=pytest.mark.long),
        pytest.param(SIGNATURES["dynamic"], "esp32c3", "auto", id="dynamic-esp32c3"),
        pytest.param(SIGNATURES["dynamic"], "l4r5zi", "never", id="dynamic-l4r5zi-all", marks=pytest.mark.long),
    ],
)
def test_boards_give_codes_and_lists(method: Method, board: str, gates: str) -> None:
    """Lists, too, whether live channels or all are computed."""
    graph = gated_network("gates", LAYERS, IMAGE, method)
    report = verify(MemoryModel(graph, "gates"), _images(3), BuildOptions(board=board, gates=gates))
    assert report.identical and len(report.comparisons) == 2
    if gates != "auto":
        assert {one.computes for one in report.gated_layers} == {"all" if gates == "never" else "live"}


def _decisions(path: Path, *options: str | Path) -> list[dict[str, Any]]:
    found = json.loads(call("inspect", path, "--board", "host", "--json", *options).stdout)["gated_layers"]
    assert [one["name"] for one in found] == ["conv0", "conv1", "conv2"]
    return list(found)


def test_what_decides_is_said(tmp_path: Path) -> None:
    """By every command the same: of counted lists with a data set, which fixed ones do not take."""
    np.save(tmp_path / "x.npy", _images(4))
    profile = ("--profile", tmp_path / "x.npy")
    some, every = tmp_path / "some.tg", tmp_path / "every.tg"
    graph = gated_network("gates", LAYERS, IMAGE, SIGNATURES["dynamic"])
    save_tg(graph, some)
    known = _decisions(some, *profile)
    mean = np.mean([evaluate_all(graph, [image])["conv1_live"].flat[0] for image in _images(4)])
    assert known[1]["live"] == pytest.approx(mean) and known[1]["dynamic"] and mean < 8
    save_tg(gated_network("gates", LAYERS, IMAGE, Method(predictor=True, firing=Fraction(1))), every)
    assert [(one["computes"], one["live"]) for one in _decisions(every)] == [("live", None)] * 3
    known = _decisions(every, *profile)
    assert [(one["computes"], one["live"]) for one in known] == [("all", 9), ("all", 8), ("all", 6)]
    assert all(one["live_cycles"] > one["all_cycles"] for one in known)
    built = json.loads(call("build", every, "--board", "host", "--json", *profile, "--out", tmp_path / "out").stdout)
    assert built["gated_layers"] == known
    assert sum("--gates always computes them alone" in note for note in built["warnings"]) == 3
    assert [layer["kernel"] for layer in built["layers"]].count("mask_channels") == 3
    said = call("inspect", some, "--board", "host", "--gates", "never").stdout
    assert "gate of conv1: up to 8 of 8 channels live, all are computed" in said
    save_tg(network(), tmp_path / "fixed.tg")
    refused = call("inspect", tmp_path / "fixed.tg", "--board", "host", *profile)
    assert refused.returncode and "Leave --profile out" in refused.text


def test_dynamic_signatures_cost_what_the_input_asks_for() -> None:
    graph = gated_network("gates", LAYERS, IMAGE, SIGNATURES["dynamic"])
    worst, counts = gated_macs(graph), set()
    assert worst.convolutions == worst.whole
    for image in _images(6):
        macs, values = executed_macs(graph, [image]), evaluate_all(graph, [image])
        live = [3, *(int(values[f"conv{i}_live"].flat[0]) for i in range(3))]
        pixels = (48, 12, 12)
        assert macs.convolutions == sum(9 * p * a * b for p, a, b in zip(pixels, live, live[1:], strict=False))
        counts.add(macs.executed)
    assert len(counts) > 1 and max(counts) < worst.executed


def _tied() -> Graph:
    """A sum over live channels whose answer is the same whichever of equal channels live."""
    build = Maker("tied")
    x = build.input("x", (1, 2, 2, 4), affine(-128))
    scores = build.input("scores", (1, 4), GAMMA)
    _, live = build.add(TopK, [scores], GAMMA, ChannelList(4), k=2, by_position=True)
    (kept,) = build.add(GatherChannels, [x, live], affine(-128))
    ending = Rescale((1 << 10,), (0,), (12,), -128, 127)
    return build.graph(*build.add(ChannelStatistic, [kept], INT8, statistic=Statistic.SUM, epilogue=ending))


def test_a_wrong_winner_is_found_behind_a_right_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    right = TopK.evaluate

    def last(self: TopK, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Of equal scores the last ones win."""
        codes, positions = right(self, node, [np.flip(values[0], -1)])
        return [np.flip(codes, -1), np.flip(values[0].size - 1 - positions, -1).astype(positions.dtype)]

    monkeypatch.setattr(TopK, "evaluate", last)
    feeds = {"x": np.full((1, 1, 2, 2, 4), 7, np.int8), "scores": np.array([[[3, 3, 3, 3]]], np.uint8)}
    report = verify(MemoryModel(_tied(), "tied"), feeds, BuildOptions(board="host"))
    (comparison,) = report.comparisons
    assert comparison.mismatches == 1 and comparison.max_abs_diff == 0
    assert comparison.where is not None
    assert (comparison.where.layer, comparison.where.tensor) == ("top_k_0", "top_k_0.1")


def test_inspect_counts_what_gates_choose(tmp_path: Path) -> None:
    graph = gated_network("gates", LAYERS, IMAGE, SIGNATURES["dynamic"])
    save_tg(graph, tmp_path / "gates.tg")
    np.save(tmp_path / "x.npy", _images(5))
    found = json.loads(call("inspect", tmp_path / "gates.tg", "--inputs", tmp_path / "x.npy", "--json").stdout)[
        "firing"
    ]
    lists = [evaluate_all(graph, [image])["conv2_live"][0] for image in _images(5)]
    sets = [{int(c) for c in one[1 : 1 + one[0]]} for one in lists]
    gate = found["gates"][2]
    assert gate["list"] == "conv2_live" and gate["counts"] == [sum(c in one for one in sets) for c in range(6)]
    assert gate["live"]["most"] == max(map(len, sets)) and gate["clusters"] == len({frozenset(one) for one in sets})
    assert gate["never"] == 6 - len(set.union(*sets)) and gate["core"] == len(set.intersection(*sets))
    executed = [executed_macs(graph, [image]).executed for image in _images(5)]
    assert found["macs"] == {"least": min(executed), "mean": sum(executed) / 5, "most": max(executed)}
    said = call("inspect", tmp_path / "gates.tg", "--inputs", tmp_path / "x.npy").stdout
    assert f"5 inputs: {min(executed):,} to {max(executed):,} MAC" in said and "conv2_live" in said


def test_fixed_gates_have_one_cost_and_others_no_firing(tmp_path: Path) -> None:
    found = firings(network(), [[image] for image in _images(4)])
    assert len({one.executed for one in found.macs}) == 1
    assert [set(gate.live.tolist()) for gate in found.gates] == [{5}, {4}, {3}]
    save_tg(gated_network("plain", LAYERS, IMAGE, Method()), tmp_path / "plain.tg")
    refused = call("inspect", tmp_path / "plain.tg", "--inputs", tmp_path / "plain.tg")
    assert refused.returncode and "no gates" in refused.text


def test_inspect_says_what_gates_leave(tmp_path: Path) -> None:
    save_tg(network(), tmp_path / "gates.tg")
    found = call("inspect", str(tmp_path / "gates.tg"))
    assert "gated convolutions: 9,936 of 24,624 MAC (40.4 %); gates 207, mixing 1,269" in found.stdout
