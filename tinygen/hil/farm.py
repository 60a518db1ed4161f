"""Several boards at once: inputs shared among boards of one build, or each board with inputs and a build of its own.

Each board has a thread and a line of its own. One that fails says why, and gives back the input that it was at; the
others go on. Results are joined by the number of the input, whoever computed it. Inputs that go on from each other are
one stream, which one board runs from its beginning.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from tinygen.errors import DeviceError, TinygenError, WrongBuildError
from tinygen.hil.answers import DeviceInfo, Inference
from tinygen.hil.client import DeviceClient

Input = Sequence[bytes]
"""The bytes of every input of one inference."""
Done = Callable[[int], None]


@dataclass(frozen=True)
class Target:
    """A board to run on.

    Attributes:
        name: for the table; of its own among all.
        connect: opens the line to it; called in the board's own thread.
        build: id of the build that it must run; "" for any.
        switch: number of the way to run the model.
    """

    name: str
    connect: Callable[[], DeviceClient]
    build: str = ""
    switch: int = 0


@dataclass
class BoardResult:
    """How one board did.

    Attributes:
        name: of its target.
        device: what it said of itself; None when it never answered.
        samples: numbers of the inputs that it ran, in this order.
        cycles: of each of these, as it counted them.
        troubles: what was recovered from, in words.
        error: why it stopped early, which may be the user's wish; "" when it did not.
        seconds: from the first command to the last.
    """

    name: str
    device: DeviceInfo | None = None
    samples: list[int] = field(default_factory=list)
    cycles: list[int] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    error: str = ""
    seconds: float = 0.0

    @property
    def row(self) -> tuple[str, ...]:
        """One line of a table whose head is HEAD."""
        middle = f"{median(self.cycles):,.0f}" if self.cycles else "-"
        rate = f"{len(self.samples) / self.seconds:.1f}" if self.samples and self.seconds else "-"
        return self.name, str(len(self.samples)), middle, rate, str(len(self.troubles))


HEAD = ("board", "inferences", "median cycles", "per second", "recovered")


@dataclass(frozen=True)
class FarmResult:
    """What all boards together have.

    Attributes:
        inferences: by number of the input; None where no board was left to run it.
        boards: in the order of the targets.
    """

    inferences: tuple[Inference | None, ...]
    boards: tuple[BoardResult, ...]

    @property
    def missing(self) -> tuple[int, ...]:
        """Numbers of the inputs that have no result."""
        return tuple(i for i, inference in enumerate(self.inferences) if inference is None)


def run_shared(
    targets: Sequence[Target],
    inputs: Sequence[Input],
    done: Done = lambda count: None,
    streams: Sequence[range] | None = None,
) -> FarmResult:
    """Runs each input once, on whichever board is free.

    Args:
        targets: boards of one build.
        inputs: of the model.
        done: called, by one thread at a time, with how many inputs have their result.
        streams: inputs that go on from each other, in a model that keeps something from one inference to the next; all
            inputs are in one. A board takes a whole stream; where it fails, another begins that stream anew. None: each
            input is for itself, and a model that keeps something begins anew with it.

    Raises:
        DeviceError: two targets have one name, or two boards run different builds: their results cannot be joined.
    """
    work = _Work(inputs, done, streams)
    boards = _run_all([(target, work) for target in targets])
    builds = {board.device.build: board.name for board in boards if board.device}
    if len(builds) > 1:
        names = ", ".join(f"{name} runs {build}" for build, name in builds.items())
        raise WrongBuildError(f"boards run different builds ({names})", fix="Flash the same firmware, or run each.")
    return FarmResult(tuple(work.results), boards)


def run_each(jobs: Sequence[tuple[Target, Sequence[Input]]]) -> tuple[FarmResult, ...]:
    """Runs every job's inputs on its own board, all boards at once; a result for each job, in order.

    Raises:
        DeviceError: two targets have one name.
    """
    work = [_Work(inputs, lambda count: None) for _, inputs in jobs]
    boards = _run_all([(target, each) for (target, _), each in zip(jobs, work, strict=True)])
    return tuple(FarmResult(tuple(each.results), (board,)) for each, board in zip(work, boards, strict=True))


class _Work:
    """Inputs that wait for a board, and results. Its methods may be called by any thread."""

    def __init__(self, inputs: Sequence[Input], done: Done, streams: Sequence[range] | None = None) -> None:
        self.inputs = inputs
        self.keeps = streams is not None
        self.results: list[Inference | None] = [None] * len(inputs)
        self._waiting = deque([range(i, i + 1) for i in range(len(inputs))] if streams is None else streams)
        self._under_way = 0
        self._stopped = False
        self._changed = threading.Condition()
        self._done = done

    def take(self) -> range | None:
        """Numbers of a stream's inputs; None when nothing is left. Waits while a board may give one back."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._under_way or self._stopped)
            if self._stopped or not self._waiting:
                return None
            self._under_way += 1
            return self._waiting.popleft()

    @property
    def is_stopped(self) -> bool:
        return self._stopped

    def keep(self, index: int, inference: Inference) -> bool:
        """A result; False where another board had it before it failed, and that stays."""
        with self._changed:
            if self.results[index] is not None:
                return False
            self.results[index] = inference
            self._done(sum(result is not None for result in self.results))
            return True

    def finish(self) -> None:
        """Of what `take` gave, all have their result."""
        with self._changed:
            self._under_way -= 1
            self._changed.notify_all()

    def give_back(self, stream: range) -> None:
        with self._changed:
            self._waiting.appendleft(stream)
            self._under_way -= 1
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()


def _run_all(jobs: Sequence[tuple[Target, _Work]]) -> tuple[BoardResult, ...]:
    names = [target.name for target, _ in jobs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DeviceError(f"several boards are called '{twice[0]}'", fix="Give each a name of its own.")
    results = [BoardResult(name) for name in names]
    bugs: list[BaseException] = []

    def work(target: Target, work: _Work, result: BoardResult) -> None:
        try:
            _run_board(target, work, result)
        except BaseException as bug:
            bugs.append(bug)
            work.stop()

    interrupted = False
    pairs = zip(jobs, results, strict=True)
    threads = [threading.Thread(target=work, args=(*job, result), daemon=True) for job, result in pairs]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        interrupted = True  # the results until then are kept
    finally:
        # When interrupted: each board ends its inference and lets its line go.
        for _, each in jobs:
            each.stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
    if bugs:
        raise bugs[0]
    for result in results if interrupted else ():
        result.error = result.error or "interrupted"
    return tuple(results)


def _run_board(target: Target, work: _Work, result: BoardResult) -> None:
    """One board until nothing is left, or it fails."""
    client: DeviceClient | None = None
    begun = time.monotonic()
    try:
        client = target.connect()
        result.device = _prepare(client, target)
        while (stream := work.take()) is not None:
            _run_stream(client, work, result, stream)
    except TinygenError as error:
        result.error = str(error).replace("\n", " ")
    finally:
        result.seconds = time.monotonic() - begun
        if client is not None:
            result.troubles = client.troubles
            _close(client, result)


def _prepare(client: DeviceClient, target: Target) -> DeviceInfo:
    device = client.info()
    if target.build and device.build != target.build:
        raise WrongBuildError(
            f"runs build {device.build} of '{device.name}', not {target.build}", fix="Flash the firmware of the build."
        )
    if device.current != target.switch:
        client.set_switch(target.switch)
    return device


def _run_stream(client: DeviceClient, work: _Work, result: BoardResult, stream: range) -> None:
    try:
        if work.keeps:
            client.reset()
        for index in stream:
            inference = client.infer(work.inputs[index], keep=work.keeps)
            if work.keep(index, inference):
                result.samples.append(index)
                result.cycles.append(inference.cycles)
            if work.is_stopped:
                break
    except BaseException:
        work.give_back(stream)
        raise
    work.finish()


def _close(client: DeviceClient, result: BoardResult) -> None:
    try:
        client.close()
    except TinygenError as error:
        result.error = result.error or f"cannot be closed: {error.what}"
