"""`tinygen run`: inferences on a device."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.errors import TinygenError
from tinygen.ir.encodings import Affine, Encoding, Float32, Plain
from tinygen.ir.tensor import Tensor
from tinygen.verbs.arrays import load_samples
from tinygen.verbs.build import CYCLES_SOURCE, profile_json
from tinygen.verbs.device import Measured, open_device
from tinygen.verbs.manifest import read_manifest

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
    """

    device: str
    engine: str
    layers: tuple[str, ...]
    rows: tuple[Measured, ...]
    stack_used: int | None

    def as_json(self) -> dict[str, Any]:
        counted = [row.profile for row in self.rows if row.profile is not None]
        return {
            "device": self.device,
            "engine": self.engine,
            "inferences": len(self.rows),
            "instructions": round(statistics.median(p.instructions for p in counted)) if counted else None,
            "cycles_predicted": round(statistics.median(p.instructions for p in counted)) if counted else None,
            "cycles_source": CYCLES_SOURCE if counted else None,
            "stack_used_bytes": self.stack_used,
            "layers": self._layers(),
            "rows": [self._row(row) for row in self.rows],
        }

    def _layers(self) -> list[dict[str, Any]]:
        """Median over the inferences, layer by layer."""
        counted = [row.profile for row in self.rows if row.profile is not None]
        if not counted:
            return []
        medians = tuple(
            round(statistics.median(p.layers[i] for p in counted)) for i in range(len(self.layers))
        )
        layers: list[dict[str, Any]] = profile_json(0, medians, list(self.layers))["layers"]
        return layers

    def _row(self, row: Measured) -> dict[str, Any]:
        entry: dict[str, Any] = {"device_cycles": row.cycles}
        if row.profile is not None:
            entry = profile_json(row.profile.instructions, row.profile.layers, list(self.layers)) | entry
            del entry["cycles_source"]
        return entry


def run(
    folder: Path,
    inputs: Path,
    *,
    outputs: Path | None = None,
    port: str | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Runs one inference per row of `inputs`.

    Args:
        folder: written by `tinygen build`.
        inputs: .npy or .npz, see `load_samples`.
        outputs: where to write the outputs: .npy for a model with one output, .npz (y0, y1, ...) for more.
        port: serial port of a real board; else the board's emulator.
        progress: called with (what, done, of).

    Raises:
        TinygenError: bad inputs, a missing device, or firmware that fails.
    """
    manifest = read_manifest(folder)
    samples = load_samples(inputs, tuple(_tensor(entry) for entry in manifest["inputs"]))
    rows = []
    with open_device(folder, port=port, count=True) as device:
        for index in range(len(samples)):
            rows.append(device.measure(samples.sample(index)))
            if progress:
                progress(device.name, index + 1, len(samples))
        stack = device.stack_used
    if outputs is not None:
        _write_outputs(outputs, rows)
    names = tuple(layer["name"] for layer in manifest["layers"])
    return RunResult(device.name, device.engine, names, tuple(rows), stack)


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
