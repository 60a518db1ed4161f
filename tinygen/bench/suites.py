"""The suites by name. A suite is a function from options to cases; it registers itself with a decorator."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tinygen.bench.case import Case, Skipped
from tinygen.errors import TinygenError


@dataclass(frozen=True)
class SuiteOptions:
    """What suites may be told.

    Attributes:
        models: folders with model files, for suites of whole models.
        only: patterns of case names, for suites whose cases take long to make; empty for all.
        progress: called with (what, done, of) by such suites.
        jobs: processes that they may use.
    """

    models: Sequence[Path] = ()
    only: Sequence[str] = ()
    progress: Callable[[str, int, int], None] | None = None
    jobs: int = 1

    def wanted(self, name: str) -> bool:
        """Whether a case of this name will be measured."""
        return not self.only or any(fnmatch.fnmatch(name, pattern) for pattern in self.only)


@dataclass(frozen=True)
class SuiteCases:
    """The cases of a suite, the models it found and leaves out, and cases it did not make as nobody wanted them."""

    cases: Sequence[Case]
    skipped: Sequence[Skipped] = field(default=())
    unwanted: Sequence[str] = field(default=())


@dataclass(frozen=True)
class Suite:
    """A named list of cases.

    Attributes:
        name: as in `--suite`.
        summary: one line.
        cases: makes the cases.
        kernels: the families it is about; empty for those that are compared by default.
    """

    name: str
    summary: str
    cases: Callable[[SuiteOptions], SuiteCases]
    kernels: tuple[str, ...] = ()


_SUITES: dict[str, Suite] = {}


def suite(
    name: str, summary: str, kernels: tuple[str, ...] = ()
) -> Callable[[Callable[[SuiteOptions], SuiteCases]], Callable[..., SuiteCases]]:
    """Registers the decorated function as suite `name`."""

    def register(function: Callable[[SuiteOptions], SuiteCases]) -> Callable[..., SuiteCases]:
        assert name not in _SUITES, name
        _SUITES[name] = Suite(name, summary, function, kernels)
        return function

    return register


def registered() -> tuple[Suite, ...]:
    """The suites so far, in the order of their registration; `tinygen.bench.registry` has them all."""
    return tuple(_SUITES.values())


@contextmanager
def needs_packages(name: str, fix: str) -> Iterator[None]:
    """Around imports of suite `name` that not every user has.

    Raises:
        TinygenError: one of them is not installed; `fix` says how to get it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise TinygenError(f"{error.name} is not installed", where=f"suite {name}", fix=fix) from error
