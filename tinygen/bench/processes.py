"""Work in several processes."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from tinygen.errors import ToolchainError

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


def in_processes(
    work: Callable[[_Job], _Result], jobs: Sequence[_Job], processes: int
) -> Generator[_Result, None, None]:
    """Results in the order of the jobs.

    Args:
        work: a function of a module (or a partial of one), since it is sent to the processes.
        processes: with less than two, or a single job, all is done in this one.

    Raises:
        ToolchainError: a process was killed.
    """
    if processes < 2 or len(jobs) < 2:
        yield from map(work, jobs)
        return
    # Not forked: a thread may be drawing progress bars meanwhile, and would be copied with its locks held.
    context = multiprocessing.get_context("spawn")
    workers = min(processes, len(jobs))
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_interrupts) as pool:
        try:
            yield from pool.map(work, jobs)
        except BrokenProcessPool as error:
            raise ToolchainError(
                "a process was killed", fix="Perhaps memory ran out: try again with --jobs 1."
            ) from error


def of_seeds(
    work: Callable[[int], _Result], seeds: Sequence[int], processes: int,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[_Result]:  # fmt: skip
    """What is trained from each seed; `progress` is called with ("training", done, of)."""
    report = progress or (lambda what, done, total: None)
    report("training", 0, len(seeds))
    found: list[_Result] = []
    for result in in_processes(work, seeds, processes):
        found.append(result)
        report("training", len(found), len(seeds))
    return found


def _leave_interrupts() -> None:
    """Ctrl-C is the main process's business; it stops the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
