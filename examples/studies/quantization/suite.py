"""Suite `lowbit-digits`: a small network trained by each recipe of tinygen.nn, and what it costs.

Every recipe is trained from several seeds. Accuracy is that of the integer semantics over all test digits, its mean
and standard deviation over the seeds; the network of the first seed is built and run on the board, with some of the
test digits. Training is deterministic on one machine; another's float arithmetic may give other networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from examples.studies.accuracy import NEEDS, Outcome, accuracy_sections, figures_of, outcome_of, trained_case
from tinygen.bench.case import Case
from tinygen.bench.suites import SuiteCases, SuiteOptions, needs_packages, suite
from tinygen.frontends.names import c_name
from tinygen.processes import of_seeds

if TYPE_CHECKING:
    from torch import nn

    from tinygen.apps.digits.lowbit import Design, Digits

SUITE = "lowbit-digits"
SEEDS = (0, 1, 2)
BOARD_DIGITS = 20
"""Test digits that the board gets."""
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


@suite(
    SUITE,
    "a small network trained on digits by each recipe: accuracy of several seeds (ten minutes; needs torch)",
    report=accuracy_sections,
)
def cases(options: SuiteOptions) -> SuiteCases:
    """
    Raises:
        TinygenError: torch or mlxtend is not installed.
    """
    with needs_packages(SUITE, fix=NEEDS):
        from tinygen.apps.digits.lowbit import DIGITS, REGIMES

        return suite_cases(SUITE, DIGITS, tuple(REGIMES), options)


def suite_cases(name: str, design: Design, recipes: Sequence[str], options: SuiteOptions, layer: int = 1) -> SuiteCases:
    """Of the recipes that are wanted; arguments as of `Training`."""
    from tinygen.apps.digits import lowbit as training

    wanted = [recipe for recipe in recipes if options.wanted(recipe)]
    unwanted = [recipe for recipe in recipes if recipe not in wanted]
    if not wanted:
        return SuiteCases([], unwanted=unwanted)
    job = Training(name, design, wanted, *training.load_digits(), layer=layer)
    return SuiteCases(trained_cases(job, SEEDS, progress=options.progress, jobs=options.jobs), unwanted=unwanted)


@dataclass(frozen=True)
class Training:
    """What is trained from each seed.

    Attributes:
        suite: whose cases they are.
        design: the network.
        recipes: of `REGIMES`.
        train, test: the digits.
        epochs: of every training; None for what `apps.digits.lowbit` says.
        layer: one with weights that has the recipe's encodings.
    """

    suite: str
    design: Design
    recipes: Sequence[str]
    train: Digits
    test: Digits
    epochs: int | None = None
    layer: int = 1


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
    cases = []
    for name in job.recipes:
        outcomes = [of_seed[name] for _, of_seed in found]
        figures = figures_of(outcomes, floats, seeds, THESIS.get(name) if job.suite == SUITE else None)
        cases.append(trained_case(job.suite, name, outcomes, figures, BOARD_DIGITS, job.layer))
    return cases


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
