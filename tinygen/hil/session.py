"""A session: runs inputs on a device, one after the other, until each has a result or the device fails.

Errors are handled by kind:

- the line is bad, or the device was reset or does not answer in time: the client (hil/client.py) checks the device and
  its switch, and repeats the input; the session only records it;
- its outputs differ from the model's: the input is repeated, too. If the second result differs from the first, the
  board is faulty, and the report says so; only a result that occurs twice counts as the firmware's;
- the line is closed, nothing answers after several attempts, another firmware answers, or the emulated board stops: the
  session ends with the results so far.

So every row is the device's result for the input of that number. The inputs of a model with states are one stream or
several (`Samples.resets`): each input is a step that continues from the previous one. To repeat a step, all steps
before it are repeated. Only the first wrong step of a stream is repeated: later ones may be wrong because of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tinygen.builds.arrays import Samples
from tinygen.builds.compare import Mismatch, differing
from tinygen.errors import BoardError, DeviceError, TinygenError
from tinygen.hil.device import Device
from tinygen.hil.semantics import Semantics

Done = Callable[[int], None]
ATTEMPTS = 3
TIMED_BESIDE = 3
"""Inferences of the emulated twin, for an engine that counts nothing."""


@dataclass(frozen=True, eq=False)
class Row:
    """One input's result.

    Attributes:
        sample: number of the input.
        outputs: codes per model output.
        matches: whether they are those of the semantics, and the same branches ran.
        stable: False when the device had given other outputs before.
        cycles: by the device's own counter; None where it has none.
        attempts: how often the input was run; more than once where the first result was not the semantics'.
        path: the branches that the semantics runs, by operator.
    """

    sample: int
    outputs: tuple[np.ndarray, ...]
    matches: bool
    stable: bool
    cycles: int | None
    attempts: int
    path: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Incident:
    """Something that went wrong with an input, and was tried again."""

    sample: int
    what: str


@dataclass
class Collected:
    """The results of a session so far.

    Attributes:
        rows: in the order of the inputs.
        incidents: in the order in which they happened.
        stopped: why the session ended early; "" when it did not.
        interrupted: whether the user ended it.
        first_mismatch: where the first wrong output comes from.
        cycles_source: of the rows' cycles, see `Device.cycles_source`; "" where there are none.
        beside: cycles of the emulated twin, predicted, where the device itself counts none.
        layers: cycles of each layer in one inference; empty where they are not known.
        instructions: of each layer in that inference, where they are counted.
        stack_used, arena_used: high-water marks in bytes, where they can be seen.
    """

    rows: list[Row] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)
    stopped: str = ""
    interrupted: bool = False
    first_mismatch: Mismatch | None = None
    cycles_source: str = ""
    beside: list[int] = field(default_factory=list)
    layers: list[int] = field(default_factory=list)
    instructions: list[int] = field(default_factory=list)
    stack_used: int | None = None
    arena_used: int | None = None

    def add(self, other: Collected) -> None:
        """Adds the results of another session with the same firmware on other inputs."""
        self.rows = sorted([*self.rows, *other.rows], key=lambda row: row.sample)
        self.incidents += other.incidents
        self.stopped, self.interrupted = self.stopped or other.stopped, self.interrupted or other.interrupted
        found = [one for one in (self.first_mismatch, other.first_mismatch) if one is not None]
        self.first_mismatch = min(found, key=lambda one: one.sample, default=None)
        self.cycles_source = self.cycles_source or other.cycles_source
        self.beside = self.beside or other.beside
        if not self.layers:
            self.layers, self.instructions = other.layers, other.instructions
        self.stack_used = _higher(self.stack_used, other.stack_used)
        self.arena_used = _higher(self.arena_used, other.arena_used)


def _higher(a: int | None, b: int | None) -> int | None:
    return max((n for n in (a, b) if n is not None), default=None)


def _nothing(count: int) -> None:
    pass


class Session:
    """Runs inputs on one device, with its selected switch.

    Args:
        device: open.
        semantics: what it should answer.
        samples: the inputs.
        first: number of the first of them, where they are part of more.
    """

    def __init__(self, device: Device, semantics: Semantics, samples: Samples, first: int = 0) -> None:
        self.device, self.semantics, self.samples, self.first = device, semantics, samples, first
        self.found = Collected(cycles_source=device.cycles_source)
        self._astray = False  # whether a step of this stream has given something else than the model

    def collect(self, done: Done = _nothing, *, layers: bool = True) -> Collected:
        """Runs the inputs, the first of which begins a stream; it once more before all, so that each is timed with
        warm caches.

        Nothing is raised for a device that fails: `Collected.stopped` says why there are fewer rows.

        Args:
            done: called with the number of inputs that have a result.
            layers: time one inference layer by layer, too.
        """
        index = self.first
        try:
            self.device.client.paint()
            self._run(index)
            self.found.first_mismatch = None
            for index in range(self.first, self.first + len(self.samples)):
                self.found.rows.append(self._run(index))
                done(len(self.found.rows))
        except (DeviceError, BoardError) as error:
            self.found.stopped = f"at input {index}: {_sentence(error)}"
        except KeyboardInterrupt:
            self.found.stopped, self.found.interrupted = f"at input {index}: interrupted", True
        else:
            self._examine(layers)
        return self.found

    def _sample(self, index: int) -> list[np.ndarray]:
        return self.samples.sample(index - self.first)

    def _run(self, index: int) -> Row:
        """Runs one input until its result is certain.

        Raises:
            DeviceError, BoardError: there will be none.
        """
        if self.samples.begins(index - self.first):
            self._begin_stream(index)
        sample = self._sample(index)
        wanted, path = self.semantics.outputs(sample), self.semantics.path
        before: list[list[np.ndarray]] = []
        while True:
            try:
                outputs, cycles = self.device.timed(sample, keep=True)
            finally:
                self._note_troubles(index)
            matches = same(outputs, wanted) and self._ran(sample, path)
            again = any(same(outputs, other) for other in before)
            attempts = len(before) + 1
            if matches or again or attempts == ATTEMPTS or self._astray:
                if not matches and self.device.keeps:
                    self._astray = True
                    found = self.semantics.first_output(index, wanted, outputs)
                    self.found.first_mismatch = self.found.first_mismatch or found
                stable = all(same(outputs, other) for other in before)
                counted = cycles if self.found.cycles_source else None
                return Row(index, tuple(outputs), matches, stable, counted, attempts, path)
            before.append(outputs)
            self.found.incidents.append(Incident(index, "gave other outputs than the model"))
            self.device.check()
            self.device.take_back()

    def _ran(self, sample: list[np.ndarray], path: Mapping[str, int]) -> bool:
        """Whether the device runs these branches: another inference says so, as timed ones only give outputs.

        A stream's next inference would be another one: its outputs have to do.
        """
        if not self.device.has_branches or self.device.keeps:
            return True
        self.device.step(sample)
        return all(path.get(operator) == number for operator, number in self.device.path.items())

    def _begin_stream(self, index: int) -> None:
        self.semantics.reset()
        self._astray = False
        try:
            self.device.reset()
        finally:
            self._note_troubles(index)

    def _note_troubles(self, index: int) -> None:
        troubles = self.device.client.troubles
        self.found.incidents += [Incident(index, what) for what in troubles]
        troubles.clear()

    def _examine(self, layers: bool) -> None:
        """Collects additional figures; a session does not fail if they are missing."""
        found, last = self.found, self.first + len(self.samples) - 1
        wrong = next((row.sample for row in found.rows if not row.matches), None)
        try:
            if wrong is not None and not self.device.keeps:
                tensors = self.device.intermediate(self._sample(wrong))
                found.first_mismatch = self.semantics.first_difference(wrong, self._sample(wrong), tensors)
            if layers:
                self._time_layers()
            self._read_marks()
        except (DeviceError, BoardError) as error:
            found.incidents.append(Incident(last, f"after the last input: {_sentence(error)}"))
        except KeyboardInterrupt:
            found.stopped, found.interrupted = f"after input {last}: interrupted", True

    def _read_marks(self) -> None:
        """High-water marks of arena and stack from the firmware; else the stack as the emulated board observes it."""
        found, marks = self.found, self.device.client.marks()
        found.arena_used = marks.arena[0] if marks.arena else None
        found.stack_used = marks.stack[0] if marks.stack else self.device.stack_used

    def _time_layers(self) -> None:
        timer, sample = self.device.timer, self._sample(self.first)
        if timer is None:
            return
        if timer is not self.device:
            timer.timed(sample)
            indices = range(min(TIMED_BESIDE, len(self.samples)))
            self.found.beside = [timer.timed(self.samples.sample(index), keep=True)[1] for index in indices]
        self.found.layers, self.found.instructions = timer.measure_layers(sample)


def same(a: Iterable[np.ndarray], b: Iterable[np.ndarray]) -> bool:
    """Whether outputs agree: bit for bit, or for floats within the tolerance of `tinygen verify`."""
    return all(differing(x, y) is None for x, y in zip(a, b, strict=True))


def _sentence(error: TinygenError) -> str:
    return f"{error.where}: {error.what}" if error.where else error.what
