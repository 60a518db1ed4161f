"""Runs many inputs on several emulated boards of one kind, each in its own process."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from tinygen.builds.arrays import Samples
from tinygen.builds.manifest import read_manifest
from tinygen.errors import BoardError, DeviceError
from tinygen.hil.device import open_device
from tinygen.hil.semantics import semantics_of
from tinygen.hil.session import Collected, Done, Session
from tinygen.processes import in_processes

TURN = 50
"""Inputs per emulated board: few enough to show progress, enough to make its start-up time negligible."""


@dataclass(frozen=True, eq=False)
class Turn:
    """The work of one emulated board.

    Attributes:
        folder, port, infer_seconds: see `open_device`.
        switch: name; None where the model has only one.
        samples: the inputs.
        first: number of the first of them, where they are part of more.
        thresholds: that are set before the first.
    """

    folder: Path
    port: str | None
    infer_seconds: float
    switch: str | None
    samples: Samples
    first: int = 0
    thresholds: Mapping[str, int] = field(default_factory=dict)


def collect_on_twins(whole: Turn, jobs: int, done: Done) -> Collected:
    """Runs all inputs in `jobs` processes, up to the first input at which an emulated board stops.

    Emulated boards restart every `TURN` inputs, so that the result does not depend on the number of processes. A stream
    of a model with states is not divided.
    """
    found = Collected()
    keeps = read_manifest(whole.folder).keeps_states
    parts_of = _streams(whole.samples) if keeps else _turns(len(whole.samples))
    turns = [replace(whole, samples=whole.samples.part(part.start, part.stop), first=part.start) for part in parts_of]
    # In this process, progress can be reported after every input.
    alone = jobs < 2 or len(turns) < 2
    work = partial(_collect, done=lambda count: done(len(found.rows) + count)) if alone else _collect
    with closing(in_processes(work, turns, jobs)) as parts:
        try:
            for part in parts:
                found.add(part)
                done(len(found.rows))
                if found.stopped:
                    break
        except KeyboardInterrupt:
            found.stopped, found.interrupted = f"at input {len(found.rows)}: interrupted", True
    return found


def _turns(size: int) -> list[range]:
    return [range(at, min(at + TURN, size)) for at in range(0, size, TURN)]


def _streams(samples: Samples) -> list[range]:
    """Whole streams, together at least `TURN` inputs, but for the last."""
    found: list[range] = []
    for stream in samples.streams():
        if found and len(found[-1]) < TURN:
            stream = range(found.pop().start, stream.stop)
        found.append(stream)
    return found


def _nobody(count: int) -> None:
    pass


def _collect(turn: Turn, done: Done = _nobody) -> Collected:
    try:
        with open_device(turn.folder, port=turn.port, count=True, infer_seconds=turn.infer_seconds) as device:
            if turn.switch is not None:
                device.select(turn.switch)
            device.set_thresholds(turn.thresholds)
            semantics = semantics_of(turn.folder, turn.switch, turn.thresholds)
            session = Session(device, semantics, turn.samples, turn.first)
            return session.collect(done, layers=turn.first == 0)
    except (DeviceError, BoardError) as error:
        return Collected(stopped=f"at input {turn.first}: {error.what}")
