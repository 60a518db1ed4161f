"""The suites by name. A suite is a function from options to cases; it registers itself with a decorator."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


Row = dict[str, Any]


@dataclass(frozen=True)
class Section:
    """What a suite says about its rows, printed and in report.html.

    Attributes:
        title: above it.
        note: how to read it; in report.html only.
        tables: in Markdown.
        statements: sentences.
        picture: makes an <svg> for report.html; gives None where matplotlib is not installed.
    """

    title: str
    note: str = ""
    tables: Sequence[str] = ()
    statements: Sequence[str] = ()
    picture: Callable[[], str | None] | None = None


@dataclass(frozen=True)
class Suite:
    """A named list of cases.

    Attributes:
        name: as in `--suite`.
        summary: one line.
        cases: makes the cases.
        kernels: the families it is about; empty for those that are compared by default.
        complete: adds figures to the suite's rows when all are measured.
        report: what is said about the suite's rows, some of which may have failed.
    """

    name: str
    summary: str
    cases: Callable[[SuiteOptions], SuiteCases]
    kernels: tuple[str, ...] = ()
    complete: Callable[[list[Row]], None] | None = None
    report: Callable[[Sequence[Row]], Sequence[Section]] | None = None


_SUITES: dict[str, Suite] = {}


def suite(
    name: str,
    summary: str,
    kernels: tuple[str, ...] = (),
    *,
    complete: Callable[[list[Row]], None] | None = None,
    report: Callable[[Sequence[Row]], Sequence[Section]] | None = None,
) -> Callable[[Callable[[SuiteOptions], SuiteCases]], Callable[..., SuiteCases]]:
    """Registers the decorated function as suite `name`; see `Suite`.

    Raises:
        TinygenError: another module has a suite of this name.
    """

    def register(function: Callable[[SuiteOptions], SuiteCases]) -> Callable[..., SuiteCases]:
        known = _SUITES.get(name)
        if known is not None and known.cases.__module__ != function.__module__:
            raise TinygenError(f"there is a suite '{name}' already", where=function.__module__, fix="Rename it.")
        _SUITES[name] = Suite(name, summary, function, kernels, complete, report)
        return function

    return register


def complete(rows: Sequence[Row]) -> None:
    """Adds what suites add to their rows when all are measured."""
    for known, mine in _by_suite(rows):
        if known.complete is not None:
            known.complete(mine)


def sections(rows: Sequence[Row]) -> list[Section]:
    """What suites say about their rows, in the order of the rows."""
    return [part for known, mine in _by_suite(rows) if known.report is not None for part in known.report(mine)]


def _by_suite(rows: Sequence[Row]) -> list[tuple[Suite, list[Row]]]:
    names = dict.fromkeys(row["suite"] for row in rows)
    return [(_SUITES[name], [row for row in rows if row["suite"] == name]) for name in names if name in _SUITES]


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
