"""Running tests on a copy of the checkout: which one notices a mutant."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutant import FOLDER, Mutant, StaleError
from tests.mutants.tree import broken, copy_tree, environment

KILLED, SURVIVED, STALE, TIMED_OUT, ERROR = "killed", "SURVIVED", "STALE", "TIMED OUT", "ERROR"
WHOLE = "the whole default run"
_PASSED, _FAILED, _INTERRUPTED = 0, 1, 2
_QUIET = "ignore::pytest.PytestAssertRewriteWarning"
_FAILURE = re.compile(r"^(?:FAILED|ERROR) (\S+?\.py(?:::.*?)?)(?: - (.*))?$", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant.

    Attributes:
        verdict: KILLED, SURVIVED, STALE, TIMED_OUT or ERROR.
        by: the test that noticed it; of other verdicts, what is to be said.
        expected: whether that is one of the mutant's own tests.
        seconds: of all its tests together.
        output: of the last run.
    """

    mutant: Mutant
    verdict: str
    by: str
    expected: bool
    seconds: float
    output: str = ""


@dataclass(frozen=True)
class Run:
    """One run of pytest: its exit status (None: it took too long), its output, the first test that failed."""

    status: int | None
    output: str
    seconds: float

    @property
    def failed(self) -> str:
        found = _FAILURE.search(self.output)
        return found.group(1) if found else ""


class Workplace:
    """A copy of the checkout, and the process that runs its tests.

    Args:
        to: an empty folder; copy and process live until `close`.
    """

    def __init__(self, to: Path) -> None:
        self.copy = copy_tree(to)
        # Threads do not live on in a fork.
        alone = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._zygote = subprocess.Popen(
            [sys.executable, str(FOLDER / "zygote.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=alone,
        )

    def close(self) -> None:
        assert self._zygote.stdin is not None
        self._zygote.stdin.close()
        self._zygote.wait()

    def run(
        self, tests: Sequence[str], *, seconds: float, jobs: int = 0, first: bool = True, caches: bool = False
    ) -> Run:
        """The default tests among `tests`; all of them where none are named.

        Args:
            seconds: after which they are stopped.
            jobs: processes; 0: in the one.
            first: stop at the first that fails.
            caches: keep compiled modules for the next runs.

        Raises:
            RuntimeError: the process that runs tests has ended.
        """
        arguments = ["-q", "-p", "no:cacheprovider", "--tb=short", "-rfE", "-n", str(jobs), "-W", _QUIET]
        arguments += (["-x"] if first else []) + (["--dist", "worksteal"] if jobs else [])
        # The test that every mutant applies would notice each of them.
        arguments += list(tests) or ["--ignore", "tests/mutants"]
        wanted = {
            "copy": str(self.copy),
            "arguments": arguments,
            "environment": environment(self.copy, caches=caches),
            "seconds": seconds,
        }
        assert self._zygote.stdin is not None and self._zygote.stdout is not None
        start = time.monotonic()
        self._zygote.stdin.write(json.dumps(wanted) + "\n")
        self._zygote.stdin.flush()
        answer = self._zygote.stdout.readline()
        if not answer:
            raise RuntimeError("the process that runs tests has ended")
        found = json.loads(answer)
        return Run(found["status"], found["output"], time.monotonic() - start)


def try_mutant(place: Workplace, mutant: Mutant, *, seconds: float, whole: float, jobs: int) -> Outcome:
    """The mutant's own tests on a broken copy, then all others.

    Args:
        seconds: that its own tests may take.
        whole: that all default tests may take; 0: they are not tried.
        jobs: processes for all tests.
    """
    try:
        mutant.check(place.copy)
        with broken(place.copy, mutant):
            own = place.run(mutant.tests, seconds=seconds)
            if own.status != _PASSED or not whole:
                return _outcome(mutant, own, expected=True, before=0.0)
            every = place.run((), seconds=whole, jobs=jobs)
            return _outcome(mutant, every, expected=False, before=own.seconds)
    except StaleError as error:
        return Outcome(mutant, STALE, str(error), False, 0.0)


def _outcome(mutant: Mutant, run: Run, *, expected: bool, before: float) -> Outcome:
    taken = before + run.seconds
    if run.status is None:
        return Outcome(mutant, TIMED_OUT, f"after {run.seconds:.0f} s", expected, taken, run.output)
    if run.status == _PASSED:
        where = "its own tests" if expected else WHOLE
        return Outcome(mutant, SURVIVED, where, expected, taken, run.output)
    if run.status in (_FAILED, _INTERRUPTED) and run.failed:
        return Outcome(mutant, KILLED, run.failed, expected, taken, run.output)
    last = run.output.strip().splitlines()[-1:] or ["no output"]
    return Outcome(mutant, ERROR, f"pytest ends with {run.status}: {last[0]}", expected, taken, run.output)
