"""The experiments on gates: what is counted and said; and a seed of them on few digits."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.torch_models import need

for _name in ("torch", "mlxtend"):
    need(_name)

import torch  # noqa: E402
from torch import nn  # noqa: E402

from examples.studies.channel_selection import (  # noqa: E402
    cycles,
    experiments,
    plans,
    training,
)
from examples.studies.channel_selection.comparisons import against_narrow, compared  # noqa: E402
from examples.studies.channel_selection.cycles import Cycles, Networks, Place, costs_of, measured  # noqa: E402
from tinygen.apps.digits.lowbit import Digits  # noqa: E402
from tinygen.frontends.tg import save_tg  # noqa: E402
from tinygen.frontends.torch import export  # noqa: E402
from tinygen.ir.gated import executed_macs, gated_macs  # noqa: E402


def _ready(layer: training.Layer, share: Fraction = Fraction(1)) -> tuple[nn.Sequential, torch.Tensor]:
    network, images = training.network(layer, 0, share), torch.rand(4, 1, 14, 14)
    network(images)
    network.eval()(images[:1])
    return network, images[:1]


@pytest.mark.parametrize("experts", [0, training.EXPERTS])
def test_executed_is_what_the_graph_says(experts: int) -> None:
    network, image = _ready(training.gated(Fraction(1, 2), experts))
    graph = export(network, image)
    assert experiments.executed(network).tolist() == [gated_macs(graph).executed]


@pytest.mark.parametrize("prediction", ["softmax", "maxima"])
def test_executed_of_masks(prediction: str) -> None:
    network, image = _ready(training.masked(0.5, prediction=prediction))
    codes = network.codes.codes(image)[0].transpose(0, 2, 3, 1)
    assert experiments.executed(network).tolist() == [executed_macs(export(network, image), [codes]).executed]


def test_executed_without_predictors() -> None:
    assert experiments.executed(_ready(training.plain)[0]).tolist() == [337_280]
    half, others = Fraction(1, 2), 160  # inputs of the dense layer that are zero
    narrow = experiments.executed(_ready(training.plain, half)[0])
    chance, image = _ready(training.masked(density=half, prediction="random"))
    chance(image.expand(3, -1, -1, -1))
    assert experiments.executed(chance).tolist() == [float(narrow) + others] * 3


def test_scores() -> None:
    labels = torch.tensor([0, 1, 2, 3])
    sure = 50.0 * nn.functional.one_hot(labels, 10).float()
    assert experiments.brier(sure, labels) == pytest.approx(0, abs=1e-6)
    assert experiments.brier(torch.zeros(4, 10), labels) == pytest.approx(0.9)
    classes = torch.arange(10).repeat(3)
    assert experiments.told_apart(classes[:, None].float().expand(-1, 2), classes) == pytest.approx(1)
    assert experiments.told_apart(torch.arange(30)[:, None].float() // 10, classes) == pytest.approx(0)
    white = torch.ones(1, 1, 14, 14)
    assert torch.allclose(training.blurred(white, 1.0), white)
    dot = training.blurred(nn.functional.pad(torch.ones(1, 1, 1, 1), (7, 6, 7, 6)), 0.7)
    assert dot.sum() == pytest.approx(1) and dot[0, 0, 7, 7] > dot[0, 0, 7, 8] == dot[0, 0, 8, 7] > 0


def _row(name: str, seed: int, accuracy: float) -> dict[str, Any]:
    return {"name": name, "seed": seed, "accuracy": accuracy}


def test_compared() -> None:
    rows = [_row(name, seed, 90.0 + seed + gap) for name, gap in (("a", 1.0), ("b", 0.0)) for seed in range(3)]
    assert compared(rows, "a", "b") == "a - b: +1.00 ± 0.00, more (3 seeds)"
    rows[0]["accuracy"] += 6.0
    assert compared(rows, "a", "b") == "a - b: +3.00 ± 8.61, a tie (3 seeds)"
    assert compared(rows[:2], "a", "b") == "a - b: too few seeds"


_WIDTHS = {"dense": 1600.0, "narrow-75": 900.0, "narrow-50": 400.0, "narrow-38": 225.0, "narrow-25": 100.0}


def _narrow() -> tuple[list[dict[str, Any]], cycles.Costs]:
    """Two seeds; a hundred cycles are a point, which seed 1 has one more of."""
    rows = [_row(name, seed, 90.0 + seed + cycles / 100) for name, cycles in _WIDTHS.items() for seed in (0, 1)]
    return rows, {name: {0: Cycles(cycles, cycles)} for name, cycles in _WIDTHS.items()}


def test_against_narrow() -> None:
    rows, costs = _narrow()
    rows += [_row("fbs-50", seed, 97.0 + 2 * seed) for seed in (0, 1)]
    found = against_narrow(rows, {**costs, "fbs-50": {0: Cycles(500.0, 500.0)}})
    assert found == ["fbs-50 - narrow networks of its cycles: +2.50 ± 6.35, a tie (2 seeds)"]


def test_cycles_of_each_seed_count() -> None:
    rows, costs = _narrow()
    rows += [_row("ftwt-0.8", seed, 98.0 + seed) for seed in (0, 1)]
    own = {0: Cycles(600.0, 900.0), 1: Cycles(700.0, 900.0)}
    found = against_narrow(rows, {**costs, "ftwt-0.8": own})
    assert found == ["ftwt-0.8 - narrow networks of its cycles: +1.50 ± 6.35, a tie (2 seeds)"]
    found = against_narrow(rows, {**costs, "ftwt-0.8": {0: Cycles(1700.0, 1700.0)}})
    assert found == ["ftwt-0.8 - the dense network, of fewer cycles: -8.00 ± 0.00, less (2 seeds)"]
    assert against_narrow(rows, {**costs, "ftwt-0.8": {0: Cycles(50.0, 50.0)}})[0].endswith("too few seeds")


def test_what_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dynamic networks for each seed, others once; what is known is not measured again, elsewhere it is."""
    digits = Digits(np.zeros((30, 1, 14, 14), np.float32), np.arange(30))
    asked: list[tuple[str, list[int]]] = []

    def cycles_of(model: Path, chosen: Digits, place: Place) -> list[int]:
        asked.append((model.name, chosen.labels.tolist()))
        return [100] * (len(chosen.labels) - 1) + [160]

    monkeypatch.setattr(cycles, "cycles_of", cycles_of)
    rows = [_row(name, seed, 90.0) | {"dearest": 25} for seed in (0, 1) for name in ("dense", "ftwt-0.8")]
    place, networks = Place("f746zg", "gcc"), Networks(tmp_path, digits)
    found = list(measured(rows, [], networks, place))
    assert [name for name, _ in asked] == ["dense-0.tg", "ftwt-0.8-0.tg", "ftwt-0.8-1.tg"]
    assert asked[1][1] == [*range(20), 25]
    assert costs_of(found, place)["ftwt-0.8"] == {0: Cycles(100, 160), 1: Cycles(100, 160)}
    assert list(measured(rows, found, networks, place)) == []
    assert len(list(measured(rows, found, networks, Place("f746zg", "zig")))) == 3
    assert len(list(measured(rows, found, networks, Place("f746zg", "gcc", "never")))) == 3
    assert costs_of(found, Place("l4r5zi", "gcc")) == {}


@pytest.mark.long
def test_cycles_depend_on_the_digit(tmp_path: Path) -> None:
    """A predictor whose logits are about zero: digits with more of their filters live take more cycles."""
    torch.manual_seed(0)
    network = training.network(training.masked(0.5), 0)
    images = torch.rand(20, 1, 14, 14) * torch.linspace(0.2, 1, 20)[:, None, None, None]
    for _ in range(20):
        network(images)
    for layer in (network.conv2, network.conv3):
        torch.nn.init.normal_(layer.predictor.weight, 0, 8.0)
        torch.nn.init.zeros_(layer.predictor.bias)
    network.eval()(images)
    macs = experiments.executed(network)
    chosen = [int(macs.argmin()), int(macs.argmax())]
    assert macs.max() > 1.1 * macs.min()
    file = tmp_path / "masks.tg"
    save_tg(export(network, images[:1]), file)
    few = Digits(images.numpy()[chosen], np.zeros(2, np.int64))
    low, high = cycles.cycles_of(file, few, Place("f746zg", "gcc"))
    assert high > 1.01 * low


@pytest.mark.long
def test_a_seed_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On 100 digits for an epoch; a second run trains nothing again."""
    train, test = training.small_digits()
    few = Digits(train.images[::20], train.labels[::20]), Digits(test.images[:50], test.labels[:50])
    monkeypatch.setattr(training, "small_digits", lambda: few)
    file = tmp_path / "out.jsonl"
    experiments.main(["--out", str(file), "--seeds", "0", "--epochs", "1"])
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["name"] for row in rows] == list(plans.NAMES)
    first = capsys.readouterr().out
    assert "| ftwt-fixed-50 |" in first and "too few seeds" in first
    monkeypatch.setattr(training, "train", None)
    experiments.main(["--out", str(file), "--seeds", "0", "--epochs", "1"])
    assert capsys.readouterr().out == first
    (tmp_path / "out.networks" / "fbs-50-0.tg").unlink()
    experiments.main(["--out", str(file), "--seeds", "0", "--case", "narrow-*,dense"])
    with pytest.raises(TypeError):  # trains what is not there
        experiments.main(["--out", str(file), "--seeds", "0", "--epochs", "1"])
