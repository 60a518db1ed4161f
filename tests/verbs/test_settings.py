"""Settings of thresholds as settings of the governor: what they cost, and that choosing one sets what runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.cases import draws
from tests.support.deciding import feeds_of, random_exits
from tests.support.gates import exits, images
from tests.support.host_batch import SANITIZERS, compile_host
from tinygen.builds.arrays import Samples
from tinygen.builds.compare import correct, decision_threshold
from tinygen.builds.manifest import Manifest, read_manifest
from tinygen.emit.model import emit_model
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.torch_nn import read_quantized
from tinygen.ir.branch import Branch
from tinygen.ir.gates import knobs_of
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.compare import Relation
from tinygen.ir.paths import count_paths, path_of
from tinygen.ir.thresholds import thresholds_of, with_thresholds
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.settings import SHARES, settings_of

INPUTS = [images(24)[7 * n % 24] for n in range(24)]
LABELS = np.array([int(np.argmax(evaluate(exits(), row)[0])) if n % 3 else 0 for n, row in enumerate(INPUTS)])
SAMPLES = Samples((np.stack([row[0] for row in INPUTS]),), LABELS)


def test_settings_are_those_of_inferences() -> None:
    """Counts and accuracy of each, though most inferences of the data set are not computed again for it."""
    graph = exits()
    settings = settings_of(graph, SAMPLES)
    assert len(settings) == len(SHARES)
    for one in settings:
        there = with_thresholds(graph, one.thresholds)
        assert one.counts == count_paths(there, INPUTS)
        answers = [evaluate(there, row)[0] for row in INPUTS]
        right = [correct(y, int(label), decision_threshold(graph)) for y, label in zip(answers, LABELS, strict=True)]
        assert one.accuracy == pytest.approx(np.mean(right))
    assert len({one.accuracy for one in settings}) > 2
    assert settings_of(graph, replace(SAMPLES, labels=None))[0].accuracy is None


def test_shares_of_inputs_leave() -> None:
    """From none to all at the first exit; between, the shares that were asked for, of those that come to a gate."""
    for share, one in zip(SHARES, settings_of(exits(), SAMPLES), strict=True):
        paths = [dict(path) for path, n in one.counts.items() for _ in range(n)]
        stay = [path["first/0/second"] for path in paths if path["first"] == 0]
        assert len(stay) == pytest.approx((1 - share) * len(INPUTS), abs=1)
        assert sum(stay) == pytest.approx(share * len(stay), abs=1)


@pytest.mark.parametrize("relation", [Relation.LESS, Relation.LESS_EQUAL, Relation.GREATER, Relation.GREATER_EQUAL])
@pytest.mark.parametrize("swapped", [False, True])
def test_every_relation(relation: Relation, swapped: bool) -> None:
    """Whichever way a gate turns: the first setting saves nothing, the second most."""
    graph = turned(relation, swapped)
    (knob, _) = knobs_of(graph)
    assert knob.gates[0].cheap != swapped
    cheap = int(not swapped)
    shares = [
        sum(n for path, n in one.counts.items() if dict(path)["first"] == cheap) / len(INPUTS)
        for one in settings_of(graph, SAMPLES)
    ]
    assert shares[:2] == [0, 1] and shares[2:] == pytest.approx(SHARES[2:], abs=0.06)


def turned(relation: Relation, swapped: bool) -> Graph:
    """`exits` with another relation in the first gate, or with its branches in the other order."""
    graph = exits()
    *head, gate, first = graph.ops
    assert isinstance(first, Branch)
    branches = first.branches[::-1] if swapped else first.branches
    return replace(graph, ops=(*head, replace(gate, relation=relation), replace(first, branches=branches)))


def test_thresholds_that_something_else_reads_stay() -> None:
    """Where a relation has no direction, or both branches are as long, there is nothing to turn."""
    graph = exits()
    *head, gate, first = graph.ops
    assert isinstance(first, Branch)
    odd = replace(graph, ops=(*head, replace(gate, relation=Relation.EQUAL), first))
    assert [knob.threshold.name for knob in knobs_of(odd)] == ["EXIT_2"]
    assert all(list(one.thresholds) == ["EXIT_2"] for one in settings_of(odd, SAMPLES))
    same = replace(graph, ops=(*head, gate, replace(first, branches=first.branches[1:] * 2)))
    assert knobs_of(same) == () == settings_of(same, SAMPLES)


def test_exits_and_skipped_blocks() -> None:
    """Random networks of `tinygen.nn`: every threshold is turned, and paths are those of inferences."""
    for draw in draws("settings: exits and skipped blocks", 4):
        network, x = random_exits(draw)
        graph = read_quantized(network, x[:1], "m")
        rows = feeds_of(network, x[:8])
        settings = settings_of(graph, Samples((np.stack([row[0] for row in rows]),)))
        assert len(knobs_of(graph)) == len(thresholds_of(graph)) and len(settings) > 1
        for one in settings:
            assert one.counts == count_paths(with_thresholds(graph, one.thresholds), rows)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("settings")
    np.savez(folder / "x.npz", x=SAMPLES.inputs[0], y=LABELS)
    build(MemoryModel(exits(), "exits"), folder / "out", BuildOptions(board="f746zg", profile=folder / "x.npz"))
    return folder / "out"


def test_ladder_beside_the_firmware(built: Path) -> None:
    """What the C lists is what the manifest says; costs rise, and every path costs what it does alone."""
    costs = read_manifest(built).costs
    assert costs is not None and len(costs.settings) == len(SHARES)
    text = (built / "governor" / "exits_ladder.c").read_text()
    listed = re.findall(r"\{(\d+)U, (\d+)U\}, /\* ([\d,]+) cycles, accuracy ([\d.]+) %", text)
    assert [int(which) for which, *_ in listed] == list(range(len(SHARES)))
    assert [int(cycles.replace(",", "")) for *_, cycles, _ in listed] == [one.expected.cycles for one in costs.settings]
    prices = [int(cost) for _, cost, *_ in listed]
    assert prices == sorted(prices) and len(set(prices)) == len(prices) and "nanojoules" in text
    alone = {tuple(path.branches.items()): path.cycles for path in costs.paths}
    for setting in costs.settings:
        counts = count_paths(with_thresholds(exits(), setting.thresholds), INPUTS)
        mean = sum(alone[path] * n for path, n in counts.items()) / len(INPUTS)
        assert setting.expected.cycles == pytest.approx(mean, abs=2)
        assert max(alone[path] for path in counts) <= setting.worst_cycles <= costs.worst.cycles
        assert setting.text in (built / "report.html").read_text()
    assert costs.settings[0].worst_cycles < costs.settings[-1].worst_cycles


def test_choosing_a_rung_sets_what_runs(built: Path, tmp_path: Path) -> None:
    """The governor in C on this computer: every inference takes the path, and gives the answer, of its setting."""
    costs = read_manifest(built).costs
    assert costs is not None
    for source in (built / "governor").iterdir():
        shutil.copy(source, tmp_path)
    for name, content in emit_model(lower(simplify(exits())), "test").files.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "main.c").write_text(MAIN)
    compile_host(sorted(tmp_path.glob("*.c")), tmp_path / "settings", ("-O0", *SANITIZERS))
    done = subprocess.run([tmp_path / "settings"], input=SAMPLES.inputs[0].tobytes(), capture_output=True, check=True)
    size = 3 * 4 + INPUTS[0][0].size
    rows = [done.stdout[start : start + size] for start in range(0, len(done.stdout), size)]
    assert len(rows) == len(INPUTS)
    taken = set()
    for row, sample in zip(rows, INPUTS, strict=True):
        which, *codes = np.frombuffer(row[:12], np.int32).tolist()
        setting = costs.settings[which]
        assert codes == list(setting.thresholds.values())
        there = with_thresholds(exits(), setting.thresholds)
        assert row[12:] == evaluate(there, sample)[0].tobytes()
        taken.add((which, path_of(there, sample)))
    assert len({which for which, _ in taken}) > 2 and len({path for _, path in taken}) == 3


MAIN = """
#include "governor.h"
#include "exits_ladder.h"
#include <stdio.h>
int main(void)
{
    governor_energy_t governor;
    exits_t *const model = exits_init(NULL, 0U);
    const uint64_t budget = 24U * (uint64_t)(exits_ladder[1].cost + exits_ladder[2].cost) / 2U;
    governor_energy_init(&governor, exits_ladder, EXITS_LADDER_SETTINGS, budget, 24U);
    for (int i = 0; i < 24; i++) {
        if (i == 16) {
            governor_energy_add(&governor, 8U * (uint64_t)exits_ladder[5].cost, 0U);
        }
        const governor_setting_t *const setting = governor_energy_next(&governor);
        int32_t said[3];
        if (setting == NULL || exits_ladder_set(model, EXITS_LADDER_SETTINGS) != EXITS_LADDER_NO_SETTING
            || fread(exits_input(model), 1, EXITS_INPUT_SIZE, stdin) != EXITS_INPUT_SIZE) {
            return 3;
        }
        if (exits_ladder_set(model, setting->which) != 0) {
            return 4;
        }
        exits_invoke(model);
        said[0] = (int32_t)setting->which;
        said[1] = exits_threshold(model, EXITS_EXIT_1);
        said[2] = exits_threshold(model, EXITS_EXIT_2);
        fwrite(said, 1, sizeof said, stdout);
        fwrite(exits_output(model), 1, EXITS_OUTPUT_SIZE, stdout);
    }
    return 0;
}
"""


def test_without_a_data_set_there_is_no_ladder(tmp_path: Path, built: Path) -> None:
    plain = build(MemoryModel(exits(), "exits"), tmp_path / "out", BuildOptions(board="host")).manifest
    assert plain.costs is not None and plain.costs.settings == () and not (tmp_path / "out" / "governor").exists()
    content = json.loads((built / "manifest.json").read_text())
    assert len(content["costs"]["settings"]) == len(SHARES) and Manifest.from_json(content) == read_manifest(built)
