"""`tinygen run`: inferences on a device."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.builds.arrays import AS_IT_IS, Inputs, Reading, load_samples
from tinygen.builds.kept_model import read_kept_model
from tinygen.builds.manifest import read_manifest
from tinygen.builds.predicted import median_profile, profile_json
from tinygen.files import check_new_file, write_file
from tinygen.frontends.layouts import Layout
from tinygen.hil.device import Measured, open_device
from tinygen.targets.board import Board
from tinygen.targets.emulator import Profile

Progress = Callable[[str, int, int], None]
_IMAGES = 5
"""Dimensions of stacked outputs that are images: samples, batch, height, width, channels."""


@dataclass(frozen=True)
class RunResult:
    """The results of inferences.

    Attributes:
        device: the runtime's name.
        engine: what runs the firmware, see `Device`.
        layers: names of the model's layers.
        rows: one per inference.
        stack_used: deepest stack in bytes; None if it cannot be observed.
        board: the board, for time and energy.
        switch: by which the model was run, when one was named.
        macs: of each layer; of models with branches only.
    """

    device: str
    engine: str
    layers: tuple[str, ...]
    rows: tuple[Measured, ...]
    stack_used: int | None
    board: Board
    switch: str | None = None
    macs: tuple[int, ...] = ()

    @property
    def outputs(self) -> tuple[np.ndarray, ...]:
        """Codes of each output of the model, [inferences, *shape]."""
        return tuple(np.stack(codes) for codes in zip(*(row.outputs for row in self.rows), strict=True))

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
        """Median over the inferences, layer by layer."""
        if not counted:
            return {"instructions": None, "cycles_predicted": None, "cycles_source": None, "layers": []}
        return profile_json(median_profile(counted), list(self.layers), self.board)

    def _row(self, row: Measured) -> dict[str, Any]:
        entry: dict[str, Any] = {"device_cycles": row.cycles}
        if row.profile is not None:
            entry = profile_json(row.profile, list(self.layers), self.board) | entry
            del entry["cycles_source"], entry["cycles_interval_source"]
        if self.macs:
            entry |= {"branches": dict(row.path), "macs": sum(self.macs[layer] for layer in row.ran)}
        return entry


@dataclass(frozen=True)
class RunOptions:
    """How inferences are run.

    Attributes:
        reading: how images lie in the inputs, and in `outputs`; what becomes of values beyond an input's range.
        outputs: where to write the outputs, a new file: .npy for a model with one output, .npz (y0, y1, ...) for more.
        port: serial port of a real board; else the board's emulator.
        switch: of a switchable network; None takes the first.
        force: replace a file that is there at `outputs`.
        thresholds: codes of thresholds, by name; the others have their defaults.
    """

    reading: Reading = AS_IT_IS
    outputs: Path | None = None
    port: str | None = None
    switch: str | None = None
    force: bool = False
    thresholds: Mapping[str, int] = field(default_factory=dict)


_USUAL = RunOptions()


def run(folder: Path, inputs: Inputs, how: RunOptions = _USUAL, *, progress: Progress | None = None) -> RunResult:
    """Runs one inference per row of `inputs`; for a model with states, one step of a stream per row.

    Args:
        folder: written by `tinygen build`.
        inputs: see `load_samples`.
        how: switch, port and all else.
        progress: called with (what, done, of).

    Raises:
        TinygenError: bad inputs, a missing device, or firmware that fails; the outputs cannot be written.
    """
    outputs, switch = how.outputs, how.switch
    if outputs is not None:
        check_new_file(outputs, force=how.force)
    manifest = read_manifest(folder)
    chosen = manifest.section(switch)
    network = read_kept_model(folder, manifest)
    graph = network.first if switch is None else network.switch(switch).graph
    samples = load_samples(inputs, [graph.tensors[name] for name in graph.inputs], how.reading)
    rows = []
    with open_device(folder, port=how.port, count=True) as device:
        if switch is not None:
            device.select(switch)
        device.set_thresholds(how.thresholds)
        for index in range(len(samples)):
            if samples.begins(index):
                device.reset()
            rows.append(device.measure(samples.sample(index), keep=True))
            if progress:
                progress(device.name, index + 1, len(samples))
        stack = device.stack_used
    if outputs is not None:
        _write_outputs(outputs, rows, how.reading.layout)
    names = tuple(layer.name for layer in chosen.layers)
    macs = tuple(layer.macs for layer in chosen.layers) if chosen.has_branches else ()
    return RunResult(device.name, device.engine, names, tuple(rows), stack, device.board, switch, macs)


def _write_outputs(path: Path, rows: list[Measured], layout: Layout | None) -> None:
    stacked = [np.stack(arrays) for arrays in zip(*(row.outputs for row in rows), strict=True)]
    if layout is Layout.NCHW:
        stacked = [np.moveaxis(array, -1, 2) if array.ndim == _IMAGES else array for array in stacked]
    content = io.BytesIO()
    if len(stacked) == 1 and path.suffix != ".npz":
        np.save(content, stacked[0])
    else:
        named: dict[str, Any] = {f"y{i}": array for i, array in enumerate(stacked)}
        np.savez(content, **named)
    write_file(path, content.getvalue())
