"""From a phrase to a firmware; what can go wrong before that."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.support.torch_models import need
from tests.targets.tools import requires_package
from tinygen.apps.wakeword import dataset
from tinygen.apps.wakeword.demonstration import held_out_scenes
from tinygen.apps.wakeword.parts import Part
from tinygen.apps.wakeword.train import Amount, TrainOptions, train_wakeword
from tinygen.apps.wakeword.training import Effort
from tinygen.audio.wav import read_wav
from tinygen.cli.app import app
from tinygen.errors import TinygenError
from tinygen.frontends.load import load_network
from tinygen.project.wakeword_json import wakeword_app_from_json

need("torch")
pytestmark = requires_package("espeakng_loader")

TINY = Amount(
    {
        Part.TRAIN: {"phrases": 4, "near misses": 2, "air": 2},
        Part.VALIDATION: {"phrases": 1, "air": 1},
        Part.HELD_OUT: {"phrases": 2, "near misses": 1, "air": 1},
    },
    Effort(60, 2, 6, 6),
    ("f746zg",),
    ("f746zg",),
)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--train", ""], "the phrase is empty"),
        (["--train", "hey 2"], "only the letters"),
        (["--train", "hey xkcd"], "no vowel"),
        (["--train", "hey computer please open the door for me now"], "network hears"),
        (["--train", "hey computer", "--board", "nothing"], "nothing"),
        (["--train", "hey computer", "--mic"], "a scene of its own"),
        (["--quick"], "for training"),
        (["--recipes", "w2a2"], "recipes is for training"),
        (["--exit"], "exit is for training"),
        (["--train", "hey computer", "--recipes", "w2a2,w9"], "no recipe 'w9'"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing(arguments: list[str], what: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["demo", "wakeword", "--out", str(out), *arguments])
    assert result.exit_code != 0
    assert what in f"{result.exception}"
    assert not out.exists()


@pytest.mark.parametrize("names", [["mine.txt"], ["dataset", "mine.txt"], ["model.json"]])
def test_a_folder_with_other_things_stays_as_it_is(names: list[str], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).mkdir() if name == "dataset" else (tmp_path / name).write_text("x")
    result = CliRunner().invoke(app, ["demo", "wakeword", "--train", "hey computer", "--out", str(tmp_path)])
    assert result.exit_code != 0 and "not an earlier training" in str(result.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.parametrize(
    ("module", "extra"), [("torch", "torch"), ("espeakng_loader", "audio"), ("matplotlib", "plot")]
)
def test_a_missing_package_is_named_with_its_extra(
    module: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["demo", "wakeword", "--train", "hey computer", "--out", str(out)])
    assert not out.exists()
    assert isinstance(result.exception, TinygenError)
    assert module in result.exception.what and f"tinygen[{extra}]" in result.exception.fix


@pytest.mark.long
def test_from_a_phrase_to_a_firmware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "SCENES_PER_FILE", 1)
    monkeypatch.setattr(dataset, "_in_processes", _here)
    trained = train_wakeword(
        "hey computer", tmp_path / "out", TrainOptions(amount=TINY, seed=1, recipes=("xnor",), exits=True)
    )
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [
            "dataset",
            "det.png",
            "exit.json",
            "exit.tg",
            "firmware",
            "held_out.wav",
            "model.json",
            "model.tg",
            "narrow.json",
            "narrow.tg",
            "report.json",
            "switchable.json",
            "switchable.tg",
            "xnor.json",
            "xnor.tg",
        ]
    )
    assert trained.differing == 0  # the board computes what the semantics says
    played = held_out_scenes(trained.phrase, seed=1)
    assert [one.scene.name for one in trained.demo.heard] == [one.name for one in played]
    assert np.array_equal(read_wav(out / "held_out.wav", 16_000), np.concatenate([one.samples for one in played]))
    assert trained.steps == ((sum(one.samples.size for one in played) - 480) // 160 + 1) // 3
    assert [one.name for one in trained.evaluations] == ["int8", "w8a8", "w4a4", "w2a2"]
    assert [one.name for one in trained.recipes] == ["narrow", "xnor"]
    assert [one.evaluation.name for one in trained.exits] == ["exit, 0.5 %", "exit, 2 %", "exit, 5 %", "exit, 10 %"]
    assert [one.code for one in trained.exits] == sorted(one.code for one in trained.exits)
    assert load_network(out / "exit.tg").first.states[-1].initial.item() == trained.exits[1].code
    assert [one.name for one in trained.hours] == ["model", "narrow", *(one.evaluation.name for one in trained.exits)]
    assert all(one.noise <= one.worst and one.front_end > 0 for one in trained.hours)
    for one in (*trained.evaluations, *trained.recipes):
        assert one.chosen.phrases > 5 and one.chosen.hours == pytest.approx(1 / 120)
    assert [(one.board, one.name) for one in trained.sizes] == [
        ("f746zg", name) for name in ("int8", "w8a8", "w4a4", "w2a2")
    ]
    weights = [one.weights for one in trained.sizes[1:]]
    assert weights == sorted(weights, reverse=True)
    listens = wakeword_app_from_json(out / "model.json")
    assert listens.cutoff == trained.evaluations[0].chosen.cutoff and listens.wake_word == "hey computer"
    switchable = wakeword_app_from_json(out / "switchable.json")
    assert switchable.switch_cutoffs == {one.name: one.chosen.cutoff for one in trained.evaluations[1:]}
    assert wakeword_app_from_json(out / "xnor.json").cutoff == trained.recipes[1].chosen.cutoff
    report = json.loads((out / "report.json").read_text())
    assert [one["name"] for one in report["demonstration"]["scenes"]] == [one.name for one in played]
    assert (out / "det.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((out / "dataset").iterdir())) == 14


def _here(jobs: list[dataset.Job]) -> object:
    for job in jobs:
        dataset.write_file(job)
        yield
