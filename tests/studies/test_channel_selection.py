"""Suite `channel-selection`: what is counted and said; and a seed of it on few digits."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from tests.support.torch_models import need

for _name in ("torch", "mlxtend"):
    need(_name)

import torch  # noqa: E402
from torch import nn  # noqa: E402

from examples.studies.channel_selection import plans, suite, training  # noqa: E402
from examples.studies.channel_selection.comparisons import Costs, Cycles, against_narrow, compared  # noqa: E402
from tinygen.apps.digits.lowbit import Digits  # noqa: E402
from tinygen.bench.measure import Job, measure  # noqa: E402
from tinygen.bench.suites import SuiteOptions  # noqa: E402
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
    assert suite.executed(network).tolist() == [gated_macs(graph).executed]


@pytest.mark.parametrize("prediction", ["softmax", "maxima"])
def test_executed_of_masks(prediction: str) -> None:
    network, image = _ready(training.masked(0.5, prediction=prediction))
    codes = network.codes.codes(image)[0].transpose(0, 2, 3, 1)
    assert suite.executed(network).tolist() == [executed_macs(export(network, image), [codes]).executed]


def test_executed_without_predictors() -> None:
    assert suite.executed(_ready(training.plain)[0]).tolist() == [337_280]
    half, others = Fraction(1, 2), 160  # inputs of the dense layer that are zero
    narrow = suite.executed(_ready(training.plain, half)[0])
    chance, image = _ready(training.masked(density=half, prediction="random"))
    chance(image.expand(3, -1, -1, -1))
    assert suite.executed(chance).tolist() == [float(narrow) + others] * 3


def test_scores() -> None:
    labels = torch.tensor([0, 1, 2, 3])
    sure = 50.0 * nn.functional.one_hot(labels, 10).float()
    assert suite.brier(sure, labels) == pytest.approx(0, abs=1e-6)
    assert suite.brier(torch.zeros(4, 10), labels) == pytest.approx(0.9)
    classes = torch.arange(10).repeat(3)
    assert suite.told_apart(classes[:, None].float().expand(-1, 2), classes) == pytest.approx(1)
    assert suite.told_apart(torch.arange(30)[:, None].float() // 10, classes) == pytest.approx(0)
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


def _narrow() -> tuple[list[dict[str, Any]], Costs]:
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


def test_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dynamic networks for each seed, on digits of which the last has most MAC; others once."""
    digits = Digits(np.zeros((30, 1, 14, 14), np.float32), np.arange(30))
    networks = {"dense": _ready(training.plain)[0], "ftwt-0.8": _ready(training.masked(0.8))[0]}

    def rows_of(seed: int, *_: object) -> Iterator[tuple[dict[str, Any], nn.Module]]:
        yield from ((_row(name, seed, 90.0 + seed) | {"dearest": 25}, network) for name, network in networks.items())

    monkeypatch.setattr(suite, "rows_of", rows_of)
    monkeypatch.setattr(suite, "SEEDS", (0, 1))
    monkeypatch.setattr(training, "small_digits", lambda: (digits, digits))
    found = suite.cases(SuiteOptions(only=("dense", "ftwt-0.8", "ftwt-0.8-seed*"))).cases
    assert [case.name for case in found] == ["dense", "ftwt-0.8", "ftwt-0.8-seed1"]
    assert [case.trained.labels for case in found if case.trained][1:] == [[*range(20), 25]] * 2
    cycles = [[100, 100], [100] * 20 + [160], [200] * 20 + [220]]
    rows = [
        {"board": "f746zg", "toolchain": "gcc", "error": None, "sample_cycles": taken} | case.trained.figures
        for case, taken in zip(found, cycles, strict=True)
        if case.trained
    ]
    assert suite.costs_of(rows)["ftwt-0.8"] == {0: Cycles(100, 160), 1: Cycles(200, 220)}
    assert suite.costs_of([rows[0] | {"error": "wrong"}]) == {}
    assert [(row["name"], row["seed"]) for row in suite._networks(rows)] == [
        (name, seed) for name in ("dense", "ftwt-0.8") for seed in (0, 1)
    ]


@pytest.mark.long
def test_cycles_depend_on_the_digit() -> None:
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
    macs = suite.executed(network)
    chosen = [int(macs.argmin()), int(macs.argmax())]
    assert macs.max() > 1.1 * macs.min()
    few = Digits(images.numpy()[chosen], np.zeros(2, np.int64))
    case = suite.for_board(_row("dense", 0, 90.0), network, few).case("masks", [])
    row = measure(Job(case, "tinygen", "gcc", "f746zg"))
    low, high = row["sample_cycles"]
    assert row["error"] is None and high > 1.01 * low


@pytest.mark.long
def test_a_seed_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """On 100 digits for an epoch."""
    train, test = training.small_digits()
    few = Digits(train.images[::20], train.labels[::20]), Digits(test.images[:50], test.labels[:50])
    monkeypatch.setattr(training, "small_digits", lambda: few)
    monkeypatch.setattr(training, "EPOCHS", 1)
    monkeypatch.setattr(suite, "SEEDS", (0,))
    found = suite.cases(SuiteOptions()).cases
    assert [case.name for case in found] == list(plans.NAMES)
    place = {"board": "f746zg", "toolchain": "gcc", "error": None}
    rows = [place | {"sample_cycles": [at + 1]} | case.trained.figures for at, case in enumerate(found) if case.trained]
    (section,) = suite.sections(rows)
    (table,) = section.tables
    assert "| ftwt-fixed-50 |" in table and "too few seeds" in table and "| routers |" in table
    assert [one.name for one in suite.cases(SuiteOptions(only=("narrow-*", "dense"))).cases] == [
        *plans.NARROW,
        "narrow-condconv-25",
        "dense",
    ]
