"""Suite `gated-networks`: from digits to graphs, and what the rows say."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from examples.studies.channel_gating.suite import GATED, PLANS, STATIC, Plan, comparisons, networks_markdown, outcome_of
from tests.support.torch_models import need
from tinygen.bench.suites import SuiteOptions

for _name in ("torch", "mlxtend"):
    need(_name)

import torch  # noqa: E402

from examples.studies.channel_gating.suite import trained_cases  # noqa: E402  (needs torch)
from tinygen.apps.digits.gated import gated_from  # noqa: E402
from tinygen.apps.digits.lowbit import DIGITS, Digits, load_digits  # noqa: E402


@pytest.fixture(scope="module")
def few() -> tuple[Digits, Digits]:
    """400 digits of all classes to train with, 100 to test with."""
    train, test = load_digits()
    return Digits(train.images[::10], train.labels[::10]), Digits(test.images[:100], test.labels[:100])


@pytest.mark.long
def test_a_gated_network_learns(few: tuple[Digits, Digits]) -> None:
    found = outcome_of(Plan(GATED, Fraction(1, 2)), *few, seed=0, epochs=8)
    assert found.accuracy >= 60 and found.equal >= 0.97
    kinds = [op.KIND for op in found.graph.ops]
    assert kinds.count("gather_conv_2d") == 3 and kinds.count("scatter_channels") == 1


def test_gates_begin_with_a_float_network() -> None:
    """With all channels, and heads that look at no input, it is the float network but for quantization."""
    start = DIGITS.network(0)
    for number in (1, 2, 3):
        torch.nn.init.uniform_(start.get_submodule(f"bn{number}").weight, 0.5, 1.5)
        torch.nn.init.uniform_(start.get_submodule(f"bn{number}").bias, -0.5, 0.5)
    network = gated_from(start, Fraction(1), 0)
    for number in (1, 2, 3):
        torch.nn.init.zeros_(network.get_submodule(f"conv{number}.head").weight)
    images = torch.rand(4, 1, 28, 28)
    wanted, found = start(images), network(images)
    assert (wanted - found).abs().max() < 0.05 * wanted.abs().max()


def _row(name: str, kind: str, accuracy: float, cycles: int) -> dict[str, Any]:
    figures = {"suite": "gated-networks", "case": name, "kind": kind, "board": "f746zg", "toolchain": "gcc"}
    costs = {"microjoules_predicted": 2.0, "flash_bytes": 30_000, "arena_bytes": 5_000, "cycles_predicted": cycles}
    return figures | costs | {"accuracy": accuracy, "accuracy_spread": 0.5, "seeds": [0, 1, 2, 3], "error": None}


def test_comparisons() -> None:
    static = [_row("static-100", STATIC, 97.0, 1000), _row("static-50", STATIC, 95.0, 500)]
    rows = [*static, *(_row(f"fbs-{cycles}", GATED, 96.5, cycles) for cycles in (600, 850, 2000))]
    better, tie = comparisons(rows)
    assert better == "fbs-600 against static networks of the same cycles: +1.10 ± 0.35, better."
    assert "+0.10 ± 0.35, a tie" in tie
    text = networks_markdown(rows)
    assert "| static-50 | 95.00 ± 0.50 | 500 | 2 | 30,000 | 5,000 |" in text and better in text
    assert networks_markdown([rows[0] | {"suite": "pairs"}]) == ""


@pytest.mark.long
def test_cases(few: tuple[Digits, Digits]) -> None:
    wanted = [plan for plan in PLANS if plan.share == Fraction(1, 4)]
    found = trained_cases(wanted, *few, seeds=(0,), options=SuiteOptions())
    assert [case.name for case in found] == ["static-25", "fbs-25"]
    assert all(case.trained is not None and case.trained.figures["seeds"] == [0] for case in found)
