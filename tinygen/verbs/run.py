"""`tinygen run`: inferences on a device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.errors import TinygenError
from tinygen.ir.encodings import Affine, Encoding, Float32, Plain
from tinygen.ir.tensor import Tensor
from tinygen.targets.board import Board
from tinygen.targets.emulator import Profile
from tinygen.verbs.arrays import load_samples
from tinygen.verbs.device import Measured, open_device
from tinygen.verbs.manifest import read_manifest, section
from tinygen.verbs.predicted import median_profile, profile_json

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class RunResult:
    """Inferences that were run.

    Attributes:
        device: the runtime's name.
        engine: what ran it.
        layers: names of the model's layers.
        rows: one per inference.
        stack_used: deepest stack in bytes, where it can be seen.
        board: the board, for time and energy.
        switch: by which the model was run, when one was named.
    """

    device: str
    engine: str
    layers: tuple[str, ...]
    rows: tuple[Measured, ...]
    stack_used: int | None
    board: Board
    switch: str | None = None

    def as_json(self) -> dict[str, Any]:
        counted = [row.profile for row in self.rows if row.profile is not None]
        return {
            "device": self.device,
            "engine": self.engine,
            **({"switch": self.switch} if self.switch else {}),
            "inferences": len(self.rows),
            **self._median(counted),
            "stack_used_bytes": self.stack_used,
            "rows": [self._row(row) for row in self.rows],
        }

    def _median(self, counted: list[Profile]) -> dict[str, Any]:
        """Of the inferences, layer by layer."""
        if not counted:
            return {"instructions": None, "cycles_predicted": None, "cycles_source": None, "layers": []}
        return profile_json(median_profile(counted), list(self.layers), self.board)

    def _row(self, row: Measured) -> dict[str, Any]:
        entry: dict[str, Any] = {"device_cycles": row.cycles}
        if row.profile is not None:
            entry = profile_json(row.profile, list(self.layers), self.board) | entry
            del entry["cycles_source"]
        return entry


def run(
    folder: Path,
    inputs: Path,
    *,
    outputs: Path | None = None,
    port: str | None = None,
    switch: str | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Runs one inference per row of `inputs`; of a model that keeps something between them, a step of a stream.

    Args:
        folder: written by `tinygen build`.
        inputs: .npy or .npz, see `load_samples`.
        outputs: where to write the outputs: .npy for a model with one output, .npz (y0, y1, ...) for more.
        port: serial port of a real board; else the board's emulator.
        switch: of a switchable network; None takes the first.
        progress: called with (what, done, of).

    Raises:
        TinygenError: bad inputs, a missing device, or firmware that fails.
    """
    manifest = read_manifest(folder)
    chosen = section(manifest, switch)
    samples = load_samples(inputs, tuple(_tensor(entry) for entry in chosen["inputs"]))
    rows = []
    with open_device(folder, port=port, count=True) as device:
        if switch is not None:
            device.select(switch)
        for index in range(len(samples)):
            if samples.begins(index):
                device.reset()
            rows.append(device.measure(samples.sample(index), keep=True))
            if progress:
                progress(device.name, index + 1, len(samples))
        stack = device.stack_used
    if outputs is not None:
        _write_outputs(outputs, rows)
    names = tuple(layer["name"] for layer in chosen["layers"])
    return RunResult(device.name, device.engine, names, tuple(rows), stack, device.board, switch)


def _tensor(entry: dict[str, Any]) -> Tensor:
    encoding: Encoding = Plain(entry["dtype"])
    if entry["dtype"] == "float32":
        encoding = Float32()
    elif "scale" in entry:
        encoding = Affine(entry["dtype"], (entry["scale"],), (entry["zero_point"],))
    return Tensor(entry["name"], tuple(entry["shape"]), encoding)


def _write_outputs(path: Path, rows: list[Measured]) -> None:
    stacked = [np.stack(arrays) for arrays in zip(*(row.outputs for row in rows), strict=True)]
    try:
        if len(stacked) == 1 and path.suffix != ".npz":
            with path.open("wb") as file:
                np.save(file, stacked[0])
        else:
            named: dict[str, Any] = {f"y{i}": array for i, array in enumerate(stacked)}
            with path.open("wb") as file:
                np.savez(file, **named)
    except OSError as error:
        raise TinygenError(f"cannot be written ({error.strerror})", where=str(path)) from error
