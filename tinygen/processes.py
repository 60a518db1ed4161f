"""Work in several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import TypeVar

from tinygen.errors import ToolchainError
from tinygen.files import cleaned_when_ended, uninterrupted

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


def in_processes(
    work: Callable[[_Job], _Result], jobs: Sequence[_Job], processes: int, *, as_they_come: bool = False
) -> Generator[_Result, None, None]:
    """Results in the order of the jobs. Where the caller stops early, so do the processes.

    Args:
        work: a function of a module (or a partial of one), since it is sent to the processes.
        processes: with less than two, or a single job, all is done in this one.
        as_they_come: give results in the order in which they are finished.

    Raises:
        ToolchainError: a process was killed.
    """
    if processes < 2 or len(jobs) < 2:
        yield from map(work, jobs)
        return
    try:
        with _pool(min(processes, len(jobs))) as pool:
            with _without_ctrl_c():  # which processes that start now inherit
                waiting = [pool.submit(_cleaned, work, job) for job in jobs]
            for done in as_completed(waiting) if as_they_come else waiting:
                yield done.result()
    except BrokenProcessPool as error:
        raise ToolchainError("a process was killed", fix="Perhaps memory ran out: try again with --jobs 1.") from error


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes that end with this block, at once where it ends with an error."""
    others = set(multiprocessing.active_children())
    # Not forked: a thread may be drawing progress bars meanwhile, and would be copied with its locks held.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_prepare)
    try:
        yield pool
    except BaseException:
        # Else the pool would wait for jobs that nobody waits for any more.
        with uninterrupted():
            pool.shutdown(wait=False, cancel_futures=True)
            _end(set(multiprocessing.active_children()) - others)
        raise
    finally:
        pool.shutdown()


def _end(workers: Iterable[BaseProcess]) -> None:
    """Gives them a while to clean up."""
    for worker in workers:
        worker.terminate()
    end = time.monotonic() + _END_SECONDS
    for worker in workers:
        worker.join(max(0.0, end - time.monotonic()))
        worker.kill()


_END_SECONDS = 5.0


def _cleaned(work: Callable[[_Job], _Result], job: _Job) -> _Result:
    """A job that removes its temporary folders where its process is ended meanwhile."""
    with cleaned_when_ended():
        return work(job)


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Ctrl-C waits for the end of this block."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
    """Each has a core, and threads for no more than it; see also `serve_parent`."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    serve_parent()


def serve_parent() -> None:
    """Ctrl-C is the main process's business, which ends this one; where that was killed, this process ends itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_END_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
