"""`tinygen hil`: runs a build on its board, compares it with the model and writes one report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.builds.arrays import AS_IT_IS, Inputs, Reading, Samples, load_samples, name_of, random_samples
from tinygen.builds.compare import class_count
from tinygen.builds.manifest import read_manifest
from tinygen.errors import BoardError, DeviceError, TinygenError, WrongBuildError
from tinygen.hil.checks import FAILED, SKIPPED, Check, Limits, check, switch_checks
from tinygen.hil.device import INFER_SECONDS, Device, open_device
from tinygen.hil.measured import describe_energy, measure_on
from tinygen.hil.output import HilReport
from tinygen.hil.ports import EMULATED, STAND_INS
from tinygen.hil.power import EnergyOptions, PowerMonitor, PredictedSource, open_monitor, supply_warning
from tinygen.hil.report import SCHEMA, SCHEMA_VERSION, describe_switch
from tinygen.hil.semantics import Semantics, semantics_of
from tinygen.hil.session import Collected, Session
from tinygen.hil.transports import Transport
from tinygen.hil.twins import Turn, collect_on_twins
from tinygen.targets.boards import load_board
from tinygen.version import VERSION

Progress = Callable[[str, int, int], None]
RANDOM_INPUTS = 20
NO_LIMITS = Limits()


@dataclass(frozen=True)
class HilOptions:
    """What to run, and the limits to check.

    Attributes:
        port: see `open_device`.
        inputs: see `load_samples`; None draws random ones.
        reading: how images lie in the inputs, and what becomes of values beyond an input's range.
        limit: use only the first inputs; of random ones, how many (20).
        seed: of random inputs.
        switch: of a switchable network; None takes all of them, one after the other.
        limits: what the results are checked against beside the model's semantics.
        jobs: number of emulated boards that run at the same time, each in its own process.
        infer_seconds: how long an inference may take.
        thresholds: codes of thresholds, by name; the others have their defaults.
    """

    port: str | None = EMULATED
    inputs: Inputs | None = None
    limit: int | None = None
    seed: int = 0
    switch: str | None = None
    limits: Limits = NO_LIMITS
    jobs: int = 1
    infer_seconds: float = INFER_SECONDS
    reading: Reading = AS_IT_IS
    thresholds: Mapping[str, int] = field(default_factory=dict)


def open_instrument(folder: Path, name: str, port: str | None) -> PowerMonitor | None:
    """The instrument of that name, see `tinygen.hil.power.factory`; None for "predicted", which every report has.

    Raises:
        TinygenError: there is none, or it does not answer; or what is at `port` is emulated, and the instrument is left
            alone.
    """
    if name != "predicted":
        _require_board(folder, name, port)
    monitor = open_monitor(name, load_board(read_manifest(folder).board))
    return None if isinstance(monitor, PredictedSource) else monitor


def supply_warning_of(folder: Path, name: str) -> tuple[str, ...]:
    """What is wrong with an instrument's supply and the line to the board of a build; see `supply_warning`.

    Raises:
        TinygenError: there is no such instrument.
    """
    warning = supply_warning(name, load_board(read_manifest(folder).board))
    return (warning,) if warning else ()


def hil(
    folder: Path,
    options: HilOptions | None = None,
    *,
    transport: Transport | None = None,
    monitor: PowerMonitor | None = None,
    energy: EnergyOptions | None = None,
    progress: Progress | None = None,
) -> HilReport:
    """Runs inputs on the device of a build directory and compares its outputs with the model's integer semantics.

    A failing device raises no exception: the report has the results until then, and the reason why it ends there.

    Args:
        folder: written by `tinygen build`.
        options: device, inputs and limits.
        transport: a line to a board that is open already, instead of `options.port`.
        monitor: an instrument that watches the board; it supplies it already, where it does.
        energy: how to measure with it.
        progress: called with (what, done, of).

    Raises:
        TinygenError: the directory, the inputs or the options are at fault, or there is no device to open.
    """
    options = options or HilOptions()
    if monitor is not None and transport is None:
        _require_board(folder, monitor.name, options.port)
    run = _Run(folder, options, transport, progress or (lambda what, done, total: None))
    run.monitor, run.energy = monitor, energy
    return run.report()


def _require_board(folder: Path, instrument: str, port: str | None) -> None:
    if port in (None, *STAND_INS):
        raise TinygenError(
            f"{instrument} has no board to watch: what runs is emulated", where=str(folder), fix="Name a real port."
        )


class _Run:
    """One call of `hil`."""

    def __init__(self, folder: Path, options: HilOptions, transport: Transport | None, progress: Progress) -> None:
        self.folder, self.options, self.transport, self.progress = folder, options, transport, progress
        self.begun, self.created = time.monotonic(), datetime.now(UTC)
        self.manifest = read_manifest(folder)
        names: list[str | None] = [*self.manifest.switch_names] or [None]
        if options.switch is not None:
            self.manifest.switch_index(options.switch)
            names = [options.switch]
        self.semantics: dict[str | None, Semantics] = {
            name: semantics_of(folder, name, options.thresholds) for name in names
        }
        self.samples = self._read_samples(self.semantics[names[0]])
        self.found = {name: Collected(stopped="before the first input") for name in names}
        self.checks: list[Check] = []
        self.measured: dict[str | None, dict[str, Any]] = {}
        self.monitor: PowerMonitor | None = None
        self.energy: EnergyOptions | None = None
        self.device: Device

    def _read_samples(self, semantics: Semantics) -> Samples:
        options = self.options
        graph = semantics.graph
        tensors = [graph.tensors[name] for name in graph.inputs]
        options.reading.check(options.inputs)
        if options.inputs is None:
            samples = random_samples(tensors, options.limit or RANDOM_INPUTS, options.seed)
        else:
            samples = load_samples(options.inputs, tensors, options.reading, classes=class_count(graph))
            samples = samples if options.limit is None else samples.head(options.limit)
        if samples.labels is None and options.limits.min_accuracy is not None:
            where = "random inputs" if options.inputs is None else name_of(options.inputs)
            raise TinygenError(
                "has no labels (y), so there is no accuracy to check",
                where=where,
                fix="Leave --min-accuracy out, or give --inputs an .npz with x and y.",
            )
        return samples

    def report(self) -> HilReport:
        options = self.options
        self.device = open_device(
            self.folder, port=options.port, count=True, transport=self.transport, infer_seconds=options.infer_seconds
        )
        try:
            self._run(self.device)
        except WrongBuildError as error:
            self.checks += [check("boot", True, "the device answers"), check("build-id", False, _text(error))]
        except (DeviceError, BoardError) as error:
            self.checks += [check("boot", False, _text(error)), Check("build-id", SKIPPED, "nothing answers")]
        except KeyboardInterrupt:
            # Between inputs, as when energy is measured: the results until then are worth a report.
            if not any(found.rows for found in self.found.values()):
                raise
            self.checks.append(check("finished", False, "interrupted"))
        parts = [self._part(name) for name in self.semantics]
        for part in parts:
            self.checks += switch_checks(part, self.options.limits)
        return HilReport(self._content(parts), self._outputs())

    def _run(self, device: Device) -> None:
        with device:
            self._check_start(device)
            device.set_thresholds(self.options.thresholds)
            if device.engine == "serial":
                for name, semantics in self.semantics.items():
                    self.found[name] = self._collect_here(device, name, semantics)
                    if self.found[name].stopped:
                        break
                    self._measure(device, name, semantics)
        for name in self.semantics if device.engine != "serial" else ():
            turn = Turn(
                self.folder,
                self.options.port,
                self.options.infer_seconds,
                name,
                self.samples,
                thresholds=self.options.thresholds,
            )
            self.found[name] = collect_on_twins(turn, self.options.jobs, self._done(device, name))
            if self.found[name].interrupted:
                break

    def _check_start(self, device: Device) -> None:
        info, wanted = device.info, self.manifest.clock_hz
        assert info is not None
        self.checks += [
            check("boot", True, f"{info.name} answers on {device.port or device.name}"),
            check("build-id", True, f"runs build {info.build}"),
        ]
        if wanted:
            text = f"the core runs at {info.clock_hz / 1e6:g} MHz, the board file says {wanted / 1e6:g}"
            self.checks.append(check("clock", info.clock_hz == wanted, text))

    def _measure(self, device: Device, name: str | None, semantics: Semantics) -> None:
        if self.monitor is None:
            return
        try:
            result = measure_on(device, semantics.graph, self.samples, self.monitor, self.energy)
        except TinygenError as error:
            self.checks.append(check("energy", False, _text(error), name))
            return
        self.measured[name] = describe_energy(result)
        self.checks.append(check("energy", True, f"measured with {result.instrument}", name))

    def _collect_here(self, device: Device, name: str | None, semantics: Semantics) -> Collected:
        if name is not None:
            try:
                device.select(name)
            except DeviceError as error:
                return Collected(stopped=f"before the first input: {_text(error)}")
        return Session(device, semantics, self.samples).collect(self._done(device, name))

    def _done(self, device: Device, name: str | None) -> Callable[[int], None]:
        label = f"{name} {device.name}" if name else device.name
        return partial(_tell, self.progress, label, len(self.samples))

    def _part(self, name: str | None) -> dict[str, Any]:
        part = describe_switch(
            self.found[name],
            name,
            semantics=self.semantics[name],
            samples=self.samples,
            manifest=self.manifest,
            device=self.device,
        )
        if name in self.measured:
            part["energy"].append(self.measured[name])
        return part

    def _content(self, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
        device, manifest, inputs = self.device, self.manifest, self.options.inputs
        drawn = f"random, seed {self.options.seed}"
        return {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "tinygen": VERSION,
            "created": self.created.isoformat(timespec="seconds"),
            "passed": all(one.status != FAILED for one in self.checks),
            "checks": [one.as_json() for one in self.checks],
            "model": manifest.model,
            "build_id": manifest.build_id,
            "board": manifest.board,
            "board_title": manifest.board_title,
            "toolchain": manifest.toolchain,
            "kernels": manifest.kernels.value,
            "device": {
                "name": device.name,
                "engine": device.engine,
                "port": device.port or None,
                "clock_hz": device.info.clock_hz if device.info else None,
            },
            "inputs": {
                "source": drawn if inputs is None else name_of(inputs),
                "count": len(self.samples),
                "labels": self.samples.labels is not None,
            },
            "limits": asdict(self.options.limits),
            **({"thresholds": dict(self.options.thresholds)} if self.options.thresholds else {}),
            "seconds": round(time.monotonic() - self.begun, 3),
            "switches": list(parts),
        }

    def _outputs(self) -> dict[str, np.ndarray]:
        arrays: dict[str, np.ndarray] = {}
        for name, found in self.found.items():
            prefix = f"{name}/" if name else ""
            arrays[f"{prefix}sample"] = np.array([row.sample for row in found.rows], np.int64)
            for index, codes in enumerate(zip(*(row.outputs for row in found.rows), strict=True)):
                arrays[f"{prefix}y{index}"] = np.stack(codes)
        return arrays


def _tell(progress: Progress, label: str, total: int, count: int) -> None:
    progress(label, count, total)


def _text(error: TinygenError) -> str:
    what = f"{error.where}: {error.what}" if error.where else error.what
    return f"{what}. {error.fix}" if error.fix else what
