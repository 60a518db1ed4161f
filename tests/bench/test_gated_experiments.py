"""The experiments on gates: what is counted and said; and a seed of them on few digits."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.support.torch_models import need

for _name in ("torch", "mlxtend"):
    need(_name)

import torch  # noqa: E402
from torch import nn  # noqa: E402

from tinygen.bench import gated_experiments as experiments  # noqa: E402
from tinygen.bench import train_gated_experiments as training  # noqa: E402
from tinygen.bench.train_digits_lowbit import Digits  # noqa: E402
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


def test_executed_of_masks() -> None:
    network, image = _ready(training.masked(0.5))
    codes = network.codes.codes(image)[0].transpose(0, 2, 3, 1)
    assert experiments.executed(network).tolist() == [executed_macs(export(network, image), [codes]).executed]
    assert experiments.executed(_ready(training.plain)[0]).tolist() == [337_280]


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
    assert experiments.compared(rows, "a", "b") == "a - b: +1.00 ± 0.00, more (3 seeds)"
    rows[0]["accuracy"] += 6.0
    assert experiments.compared(rows, "a", "b") == "a - b: +3.00 ± 8.61, a tie (3 seeds)"
    assert experiments.compared(rows[:2], "a", "b") == "a - b: too few seeds"


def test_against_narrow() -> None:
    widths = {"dense": 1600.0, "narrow-75": 900.0, "narrow-50": 400.0, "narrow-38": 225.0, "narrow-25": 100.0}
    rows = [_row(name, seed, 90.0 + cycles / 100) for name, cycles in widths.items() for seed in (0, 1)]
    rows += [_row("fbs-50", seed, 97.0 + seed) for seed in (0, 1)]
    found = experiments.against_narrow(rows, widths | {"fbs-50": 500.0})
    assert found == ["fbs-50 - narrow networks of its cycles: +2.50 ± 6.35, a tie (2 seeds)"]


@pytest.mark.long
def test_a_seed_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On 100 digits for an epoch; a second run trains nothing again."""
    train, test = training.small_digits()
    few = Digits(train.images[::20], train.labels[::20]), Digits(test.images[:50], test.labels[:50])
    monkeypatch.setattr(training, "small_digits", lambda: few)
    file = tmp_path / "out.jsonl"
    experiments.main(["--out", str(file), "--seeds", "0", "--epochs", "1"])
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["name"] for row in rows] == [*experiments.FROM_SCRATCH, *experiments.TUNED]
    first = capsys.readouterr().out
    assert "| ftwt-fixed-50 |" in first and "too few seeds" in first
    monkeypatch.setattr(training, "train", None)
    experiments.main(["--out", str(file), "--seeds", "0", "--epochs", "1"])
    assert capsys.readouterr().out == first
