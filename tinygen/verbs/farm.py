"""`tinygen farm`: runs a build on several boards at once, which share the inputs, and compares the outputs with the
model's.

The boards are real ones, places of a labgrid farm, or emulated. If a board fails, its input goes to another board, and
the report says why it stopped. See `tinygen.hil.farm`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.builds.arrays import AS_IT_IS, Inputs, Reading, Samples, load_samples, random_samples
from tinygen.builds.codes import from_memory, in_memory
from tinygen.builds.compare import class_count
from tinygen.builds.folder import Folder, Record
from tinygen.builds.manifest import Manifest, TensorEntry, read_manifest
from tinygen.errors import TinygenError
from tinygen.hil.answers import Inference
from tinygen.hil.client import DeviceClient
from tinygen.hil.device import INFER_SECONDS, Device
from tinygen.hil.farm import BoardResult, FarmResult, Target, run_shared
from tinygen.hil.ports import STAND_INS
from tinygen.hil.semantics import Semantics, semantics_of
from tinygen.hil.session import same

Progress = Callable[[str, int, int], None]
RANDOM_INPUTS = 20
RECORD = Record("farm-report.json", "farm report")


@dataclass(frozen=True)
class FarmOptions:
    """What to run.

    Attributes:
        inputs: see `load_samples`; None draws random ones.
        limit: use only the first inputs; of random ones, how many (20).
        seed: of random inputs.
        switch: of a switchable network; None takes the first.
        infer_seconds: how long an inference may take.
        reading: layout of images in the inputs, and the handling of values out of range.
    """

    inputs: Inputs | None = None
    limit: int | None = None
    seed: int = 0
    switch: str | None = None
    infer_seconds: float = INFER_SECONDS
    reading: Reading = AS_IT_IS


@dataclass(frozen=True, eq=False)
class FarmReport:
    """The results of all boards together.

    Attributes:
        boards: the result of each.
        outputs: codes by output, one row per result.
        samples: number of each row's input, in ascending order.
        planned: number of inputs.
        wrong: numbers of the inputs whose outputs differ from the model's.
        correct: number of answers equal to the label; None without labels.
    """

    boards: tuple[BoardResult, ...]
    outputs: tuple[np.ndarray, ...]
    samples: tuple[int, ...]
    planned: int
    wrong: tuple[int, ...]
    correct: int | None

    @property
    def passed(self) -> bool:
        """Whether every input has a correct result and no board failed."""
        return not self.wrong and len(self.samples) == self.planned and not any(b.error for b in self.boards)

    def as_json(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "inputs": self.planned,
            "results": len(self.samples),
            "wrong": list(self.wrong),
            "correct": self.correct,
            "boards": [
                {
                    "name": board.name,
                    "build_id": board.device.build if board.device else None,
                    "clock_hz": board.device.clock_hz if board.device else None,
                    "samples": board.samples,
                    "cycles": board.cycles,
                    "troubles": board.troubles,
                    "error": board.error or None,
                    "seconds": round(board.seconds, 3),
                }
                for board in self.boards
            ],
        }

    def write(self, out: Path, *, force: bool = False) -> None:
        """Writes farm-report.json and outputs.npz (y0, y1, ... and `sample`) into a folder.

        An earlier report is replaced; forced, also one that was changed.

        Raises:
            TinygenError: `out` holds something else, or cannot be written; it is then as it was.
        """
        arrays = io.BytesIO()
        named: dict[str, Any] = {f"y{i}": codes for i, codes in enumerate(self.outputs)}
        np.savez(arrays, sample=np.array(self.samples, np.int64), **named)
        Folder(out, RECORD, force=force).write(self.as_json(), {"outputs.npz": arrays.getvalue()})


def check_output(out: Path, *, force: bool = False) -> None:
    """
    Raises:
        TinygenError: `out` is a file, or holds what is not from an earlier farm.
    """
    Folder(out, RECORD, force=force).check()


def farm(
    folder: Path, ports: Sequence[str], options: FarmOptions | None = None, *, progress: Progress | None = None
) -> FarmReport:
    """Runs inputs on the boards at `ports`, each input once, on whichever board is free; streams, of a model that keeps
    something from one inference to the next, as a whole.

    Args:
        folder: written by `tinygen build`.
        ports: see `open_device`; "emulated" may come several times.
        options: inputs and switch.
        progress: called with (what, done, of).

    Raises:
        TinygenError: the directory, the inputs or the options are at fault, or a port is named twice.
    """
    options = options or FarmOptions()
    manifest = read_manifest(folder)
    semantics, samples = semantics_of(folder, options.switch), _samples(folder, options)
    part = manifest.section(options.switch)
    targets = _targets(folder, ports, manifest, options)
    inputs = [
        [in_memory(x, t) for x, t in zip(samples.sample(i), part.inputs, strict=True)] for i in range(len(samples))
    ]
    tell = progress or (lambda what, done, total: None)
    streams = samples.streams() if manifest.keeps_states else None
    found = run_shared(targets, inputs, lambda count: tell(manifest.model, count, len(samples)), streams)
    return _report(found, samples, semantics, part.outputs)


def _samples(folder: Path, options: FarmOptions) -> Samples:
    graph = semantics_of(folder, options.switch).graph
    tensors = [graph.tensors[name] for name in graph.inputs]
    options.reading.check(options.inputs)
    if options.inputs is None:
        return random_samples(tensors, options.limit or RANDOM_INPUTS, options.seed)
    samples = load_samples(options.inputs, tensors, options.reading, classes=class_count(graph))
    return samples if options.limit is None else samples.head(options.limit)


def _targets(folder: Path, ports: Sequence[str], manifest: Manifest, options: FarmOptions) -> list[Target]:
    if not ports:
        raise TinygenError("no board is named", where=str(folder), fix="Give --port for each.")
    switch = manifest.switch_index(options.switch) if options.switch is not None else 0

    def connect(port: str) -> DeviceClient:
        device = Device(folder, port=port, count=True, infer_seconds=options.infer_seconds)
        return device.__enter__().client

    build = manifest.build_id
    return [
        Target(name, partial(connect, port), build, switch) for name, port in zip(_names(ports), ports, strict=True)
    ]


def _names(ports: Sequence[str]) -> list[str]:
    """Names of the targets: an emulator may be given several times and is a board of its own each time."""
    twice = [port for i, port in enumerate(ports) if port in ports[:i] and port not in STAND_INS]
    if twice:
        raise TinygenError("this port is named twice", where=twice[0], fix="Each board has a port of its own.")
    return [f"{port} {ports[:i].count(port) + 1}" if port in STAND_INS else port for i, port in enumerate(ports)]


def _report(found: FarmResult, samples: Samples, semantics: Semantics, tensors: Sequence[TensorEntry]) -> FarmReport:
    done = [i for i, inference in enumerate(found.inferences) if inference is not None]
    rows = [_arrays(inference, tensors) for inference in found.inferences if inference is not None]
    expected = _expected(semantics, samples, max(done, default=-1) + 1)
    wrong = [i for i, row in zip(done, rows, strict=True) if not same(row, expected[i])]
    correct = None
    if samples.labels is not None:
        correct = sum(semantics.is_right(row, int(samples.labels[i])) for i, row in zip(done, rows, strict=True))
    outputs = tuple(np.stack(codes) for codes in zip(*rows, strict=True))
    return FarmReport(found.boards, outputs, tuple(done), len(samples), tuple(wrong), correct)


def _expected(semantics: Semantics, samples: Samples, count: int) -> list[list[np.ndarray]]:
    """The model's outputs for the first `count` inputs."""
    found = []
    for index in range(count):
        if samples.begins(index):
            semantics.reset()
        found.append(semantics.outputs(samples.sample(index)))
    return found


def _arrays(inference: Inference, tensors: Sequence[TensorEntry]) -> list[np.ndarray]:
    return [from_memory(data, tensor) for data, tensor in zip(inference.outputs, tensors, strict=True)]
