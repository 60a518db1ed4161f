"""Work in several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
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
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare) as pool:
        try:
            yield from pool.map(work, jobs)
        except BrokenProcessPool as error:
            raise ToolchainError(
                "a process was killed", fix="Perhaps memory ran out: try again with --jobs 1."
            ) from error


def as_they_come(
    work: Callable[[_Job], _Result], jobs: Sequence[_Job], processes: int
) -> Generator[_Result, None, None]:
    """Results in the order in which they are finished; as `in_processes` otherwise, for jobs that take minutes.

    Raises:
        ToolchainError: a process was killed.
    """
    if processes < 2 or len(jobs) < 2:
        yield from map(work, jobs)
        return
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(jobs)), mp_context=context, initializer=_prepare) as pool:
        waiting = [pool.submit(work, job) for job in jobs]
        try:
            for done in as_completed(waiting):
                yield done.result()
        except BrokenProcessPool as error:
            raise ToolchainError(
                "a process was killed", fix="Perhaps memory ran out: try again with --jobs 1."
            ) from error
        except BaseException:
            # The pool would wait for jobs that nobody waits for any more.
            for one in waiting:
                one.cancel()
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
            raise


def of_seeds(
    work: Callable[[int], _Result],
    seeds: Sequence[int],
    processes: int,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[_Result]:
    """What is trained from each seed; `progress` is called with ("training", done, of)."""
    report = progress or (lambda what, done, total: None)
    report("training", 0, len(seeds))
    found: list[_Result] = []
    for result in in_processes(work, seeds, processes):
        found.append(result)
        report("training", len(found), len(seeds))
    return found


@dataclass(frozen=True)
class Seeds:
    """From what, and by how much at once, networks are trained.

    Attributes:
        numbers: each trains networks of its own.
        jobs: processes; the networks do not depend on it.
        progress: called with (what, done, of).
    """

    numbers: Sequence[int]
    jobs: int = 1
    progress: Callable[[str, int, int], None] | None = None

    def trained(self, work: Callable[[int], _Result]) -> list[_Result]:
        """What comes of each."""
        return of_seeds(work, self.numbers, self.jobs, self.progress)


def _prepare() -> None:
    """Ctrl-C is the main process's business; it stops the others. Each has a core, and threads for no more than it."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
