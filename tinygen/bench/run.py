"""`tinygen bench`: models with each kernel family and compiler, in the emulated board, side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinygen.bench.boards import NOT_EMULATED
from tinygen.bench.break_even import break_evens
from tinygen.bench.case import Case, Skipped, case_of
from tinygen.bench.measure import FOREIGN, Job, Row, measure
from tinygen.bench.published import published, sources, verdict
from tinygen.bench.ratios import add_ratios, choose_baseline, summarize
from tinygen.bench.registry import find_suites
from tinygen.bench.suites import SuiteOptions, complete
from tinygen.builds.predicted import CYCLES_SOURCE, error_text
from tinygen.errors import TinygenError
from tinygen.lowering.select import CMSIS_NN, ESP_NN, FAMILIES
from tinygen.processes import in_processes
from tinygen.targets.bare_cores import BARE, board_or_core
from tinygen.targets.board import Board
from tinygen.targets.emulator.cpus import need_emulator
from tinygen.targets.toolchain import find_toolchain
from tinygen.targets.vendors import VENDORS, find_checkout
from tinygen.version import VERSION

Progress = Callable[[str, int, int], None]
OWN = "own"
"""What stands as `suite` in the rows of the user's own models."""


@dataclass(frozen=True)
class BenchOptions:
    """What to compare.

    Attributes:
        board: name or YAML file, or a core without a board (`bare_cores`).
        more_boards: where the same is measured as well.
        kernels: families, see `FAMILIES`.
        toolchains: compilers; empty for the one the board prefers.
        baseline: the family the others are divided by; None chooses (see `choose_baseline`).
        models: folders with models, for suite `models`.
        only: patterns of case names (`conv_*`); empty for all.
        jobs: processes.
        cmsis_nn, esp_nn: folders of the libraries, see `BuildOptions`.
    """

    board: str = "f746zg"
    more_boards: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ("tinygen", "reference")
    toolchains: tuple[str, ...] = ()
    baseline: str | None = None
    models: tuple[Path, ...] = ()
    only: tuple[str, ...] = ()
    jobs: int = 2
    cmsis_nn: Path | None = None
    esp_nn: Path | None = None

    @property
    def boards(self) -> tuple[str, ...]:
        return self.board, *self.more_boards


@dataclass(frozen=True)
class BenchReport:
    """What a benchmark found.

    Attributes:
        rows: one per case, family and compiler; see `measure`, plus `published`, `baseline` and `ratios`.
        skipped: models that were found and left out.
        break_even: of layers measured at several sparsities, see `break_evens`.
    """

    board: Board
    baseline: str | None
    rows: list[Row]
    skipped: tuple[Skipped, ...]
    break_even: Sequence[Row] = ()

    @property
    def errors(self) -> int:
        return sum(row["error"] is not None for row in self.rows)

    def _boards(self) -> dict[str, Board]:
        """Those of the rows."""
        return {name: board_or_core(name) for name in dict.fromkeys(row["board"] for row in self.rows)}

    def as_json(self) -> dict[str, Any]:
        """Everything, as it stands in DIR/bench.json."""
        several = len({row["board"] for row in self.rows}) > 1
        rows = [_named(row) for row in self.rows] if several else self.rows
        return {
            "version": VERSION,
            "board": "several" if several else self.board.name,
            "board_title": "several boards" if several else self.board.title,
            "core": "several" if several else self.board.core,
            "clock_hz": None if several else self.board.core_hz,
            "cycles_source": f"{CYCLES_SOURCE} by a model of the core",
            "cycles_error": {name: error_text(board) for name, board in self._boards().items()},
            "baseline": self.baseline,
            "rows": rows,
            "summary": summarize(rows),
            "break_even": list(self.break_even),
            "skipped": [{"model": entry.name, "reason": entry.reason} for entry in self.skipped],
            "sources": sources(self.rows),
        }


def _named(row: Row) -> Row:
    """A row among those of other boards: tables call it after its board too, as suite `boards` does."""
    return row if "@" in row["case"] else row | {"case": f"{row['case']}@{row['board']}"}


def bench(
    models: Sequence[Path], suites: Sequence[str], options: BenchOptions, *, progress: Progress | None = None
) -> BenchReport:
    """Measures own models and suites.

    Args:
        models: model files.
        suites: names, see `all_suites`, or Python files, see `find_suites`.
        options: what to compare on which board.
        progress: called with (what, done, of).

    Raises:
        TinygenError: nothing to measure, or an unknown name; what goes wrong with a single case stands in its row.
    """
    boards = {name: board_or_core(name) for name in options.boards}
    toolchains: dict[str, Sequence[str]] = {}
    for name, board in boards.items():
        _check(board, options)
        toolchains[name] = options.toolchains or (find_toolchain(None, board).name,)
        for toolchain in toolchains[name]:
            find_toolchain(toolchain, board)
    step = progress or (lambda what, done, total: None)
    cases, skipped = _cases(models, suites, options, step)
    if any(case.runs for case in cases):
        need_emulator()
    jobs = [job for case in cases for job in _jobs_of(case, toolchains, options)]
    rows = []
    step("measuring", 0, len(jobs))
    for job, row in zip(jobs, in_processes(measure, jobs, options.jobs), strict=True):
        rows.append(row | {"published": _published(job, row)})
        step("measuring", len(rows), len(jobs))
    baseline = options.baseline or choose_baseline(options.kernels)
    add_ratios(rows, baseline)
    complete(rows)
    first = boards[options.board]
    return BenchReport(first, baseline, rows, skipped, break_evens(rows, cases, first) if len(boards) == 1 else ())


def _published(job: Job, row: Row) -> dict[str, Any] | None:
    """See `published`; with the `verdict`."""
    board = board_or_core(job.board)
    figures = published(job.case, board)
    return figures and figures | verdict(row["cycles_predicted"], figures, board)


def _check(board: Board, options: BenchOptions) -> None:
    if board.is_host:
        raise TinygenError(
            "instructions of this computer cannot be counted",
            where=board.name,
            fix="Name a board that is emulated; `tinygen boards` lists them.",
        )
    if board.emulator.engine == NOT_EMULATED:
        raise TinygenError(
            "nothing emulates it, so nothing can be counted",
            where=board.name,
            fix="Name a board that is emulated; `tinygen boards` lists them.",
        )
    if not options.kernels:
        raise TinygenError("no kernel family is named", where="--kernels", fix=f"Families: {', '.join(FAMILIES)}.")
    for name in options.kernels:
        if name not in FAMILIES:
            raise TinygenError(f"there is no kernel family '{name}'", fix=f"Families: {', '.join(FAMILIES)}.")
    paths = {CMSIS_NN: options.cmsis_nn, ESP_NN: options.esp_nn}
    for vendor in (VENDORS[name] for name in options.kernels if name in VENDORS):
        if board.emulator.engine == BARE:
            what, fix = f"{vendor.title} is measured on boards only", f"Leave {vendor.family} out of --kernels."
            raise TinygenError(what, where=board.name, fix=fix)
        find_checkout(vendor, paths[vendor.family])
    if options.baseline is not None and options.baseline not in options.kernels:
        raise TinygenError(
            f"'{options.baseline}' is not among the kernels that are measured",
            where="--baseline",
            fix=f"One of: {', '.join(options.kernels)}.",
        )


def _cases(
    models: Sequence[Path], suites: Sequence[str], options: BenchOptions, progress: Progress
) -> tuple[list[Case], tuple[Skipped, ...]]:
    cases = [case_of(OWN, path.stem, path) for path in models]
    names = [case.name for case in cases]
    for name in names:
        if names.count(name) > 1:
            raise TinygenError(f"two of the models are called '{name}'", fix="Give the files different names.")
    skipped: list[Skipped] = []
    unwanted: list[str] = []
    suite_options = SuiteOptions(options.models, options.only, progress, options.jobs)
    for entry in (entry for name in suites for entry in find_suites(name)):
        found = entry.cases(suite_options)
        cases += found.cases
        skipped += found.skipped
        unwanted += found.unwanted
    if not cases and not unwanted:
        raise TinygenError("there is nothing to measure", fix="Name models, or a suite: tinygen bench --list")
    chosen = [case for case in cases if suite_options.wanted(case.name)]
    if not chosen:
        known = ", ".join([*(case.name for case in cases), *unwanted])
        raise TinygenError(f"no case is called {' or '.join(options.only)}", where="--case", fix=f"Cases: {known}.")
    return chosen, tuple(skipped)


def _jobs_of(case: Case, toolchains: Mapping[str, Sequence[str]], options: BenchOptions) -> list[Job]:
    """On every board, unless the case has one of its own, or nothing runs it."""
    boards = options.boards if case.runs and case.board is None else options.boards[:1]
    return [job for name in boards for job in _jobs(case, toolchains[name], replace(options, board=name))]


def _jobs(case: Case, toolchains: Sequence[str], options: BenchOptions) -> list[Job]:
    if not case.runs:
        return [Job(case, kernels, "", options.board) for kernels in options.kernels if kernels not in FOREIGN]
    if case.board is not None:
        toolchains = [name for name in case.toolchains if name in (options.toolchains or case.toolchains)]
    return [
        Job(case, kernels, name, case.board or options.board, options.cmsis_nn, options.esp_nn)
        for name in toolchains
        for kernels in options.kernels
    ]


def default_kernels(libraries: Sequence[str] = (), suites: Sequence[str] = ()) -> tuple[str, ...]:
    """Families to compare unless the user says: ours, and what it is measured against, or what a suite is about.

    Args:
        libraries: families of the vendors' libraries that are at hand.
        suites: names or files.

    Raises:
        TinygenError: there is no such suite.
    """
    special = {entry.kernels for name in suites for entry in find_suites(name)}
    if len(special) == 1 and () not in special:
        return special.pop()
    return ("tinygen", "reference", *libraries)


def default_jobs() -> int:
    """Two where there are two processors: each process runs a compiler with threads of its own."""
    return min(2, os.cpu_count() or 1)
