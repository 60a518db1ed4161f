"""Several boards at once: inputs shared among boards of one build, or each board with inputs and a build of its own.

Each board has a thread and a line of its own. If a board fails, its error is recorded and its current input is retried
on another board; the others continue. Results are joined by input number. Inputs that depend on earlier ones through
the model's states form a stream, which one board runs from its start.
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
"""Bytes of each model input, for one inference."""
Done = Callable[[int], None]


@dataclass(frozen=True)
class Target:
    """A board to run on.

    Attributes:
        name: for the table; unique.
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
    """The result of one board.

    Attributes:
        name: of its target.
        device: its description of itself; None if it never answered.
        samples: numbers of the inputs that it ran, in this order.
        cycles: of each of these, as counted by the board.
        troubles: descriptions of errors that were recovered from.
        error: why it stopped early, possibly at the user's request; "" if it did not.
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
    """The results of all boards together.

    Attributes:
        inferences: by input number; None if no board was left to run the input.
        boards: in the order of the targets.
    """

    inferences: tuple[Inference | None, ...]
    boards: tuple[BoardResult, ...]

    @property
    def missing(self) -> tuple[int, ...]:
        """Numbers of the inputs without a result."""
        return tuple(i for i, inference in enumerate(self.inferences) if inference is None)


def run_shared(
    targets: Sequence[Target],
    inputs: Sequence[Input],
    done: Done = lambda count: None,
    streams: Sequence[range] | None = None,
) -> FarmResult:
    """Runs each input once, on any free board.

    Args:
        targets: boards of one build.
        inputs: of the model.
        done: called with the number of finished inputs, by one thread at a time.
        streams: input numbers of each stream, for a model with states; every input is in exactly one stream. One board
            runs a whole stream; if it fails, another board restarts that stream. None: inputs are independent, and
            states are reset before each.

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
    """Pending inputs, and results. Methods are thread-safe."""

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
        """Returns the input numbers of a stream; None if nothing is left. Waits while a board may still fail and return
        one.
        """
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
        """Stores a result; False if a board that failed later had already stored one, which is kept."""
        with self._changed:
            if self.results[index] is not None:
                return False
            self.results[index] = inference
            self._done(sum(result is not None for result in self.results))
            return True

    def finish(self) -> None:
        """Marks the stream from `take` as finished."""
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
    """Runs one board until no inputs are left, or it fails."""
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
