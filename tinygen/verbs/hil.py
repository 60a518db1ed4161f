"""`tinygen hil`: a build directory on its board, held against the model; one report."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hil.checks import FAILED, SKIPPED, Check, Limits, check, junit_xml, switch_checks
from hil.law import Law, law_of
from hil.page import render_hil
from hil.ports import EMULATED
from hil.report import SCHEMA, SCHEMA_VERSION, describe_switch
from hil.session import Collected, Session
from hil.transports import Transport
from hil.twins import Turn, collect_on_twins
from tinygen.errors import BoardError, DeviceError, TinygenError, WrongBuildError
from tinygen.verbs.arrays import Samples, load_samples, random_samples
from tinygen.verbs.device import INFER_SECONDS, Device, open_device
from tinygen.verbs.manifest import read_manifest, section, switch_index
from tinygen.verbs.output import check_folder, write_folder
from tinygen.version import VERSION

Progress = Callable[[str, int, int], None]
RANDOM_INPUTS = 20
FILES = frozenset(("hil-report.json", "junit.xml", "report.html", "outputs.npz"))
_WHAT = "hil report"
NO_LIMITS = Limits()


@dataclass(frozen=True)
class HilOptions:
    """What to run, and what to ask of it.

    Attributes:
        port: see `open_device`.
        inputs: .npy or .npz, see `load_samples`; None draws random ones.
        limit: use only the first inputs; of random ones, how many (20).
        seed: of random inputs.
        switch: of a switchable network; None takes all of them, one after the other.
        limits: what the results are checked against beside the model's semantics.
        jobs: emulated boards at the same time, each in a process of its own.
        infer_seconds: how long an inference may take.
    """

    port: str | None = EMULATED
    inputs: Path | None = None
    limit: int | None = None
    seed: int = 0
    switch: str | None = None
    limits: Limits = NO_LIMITS
    jobs: int = 1
    infer_seconds: float = INFER_SECONDS


@dataclass(frozen=True)
class HilReport:
    """What a session found.

    Attributes:
        content: see `hil.report`.
        outputs: the device's codes: y0, y1, ... with one row per result, and `sample`, the number of each result's
            input; of a switchable network "w2a4/y0" and so on.
    """

    content: dict[str, Any]
    outputs: Mapping[str, np.ndarray]

    @property
    def passed(self) -> bool:
        return bool(self.content["passed"])

    def as_json(self) -> dict[str, Any]:
        return self.content

    def junit(self) -> str:
        return junit_xml(self.content)

    def write(self, out: Path, junit: Path | None = None) -> None:
        """Writes hil-report.json, junit.xml, report.html and outputs.npz into `out`; and the JUnit XML to `junit`.

        Raises:
            TinygenError: `out` holds something else, or cannot be written; it is then as it was.
        """
        arrays = io.BytesIO()
        named: dict[str, Any] = dict(self.outputs)
        np.savez(arrays, **named)
        files = {
            "hil-report.json": (json.dumps(self.content, indent=2) + "\n").encode(),
            "junit.xml": self.junit().encode(),
            "report.html": render_hil(self.content).encode(),
            "outputs.npz": arrays.getvalue(),
        }
        write_folder(out, files, _WHAT)
        if junit is not None:
            try:
                junit.write_bytes(files["junit.xml"])
            except OSError as error:
                raise TinygenError(f"cannot be written ({error.strerror})", where=str(junit)) from error


def check_junit(junit: Path | None) -> None:
    """
    Raises:
        TinygenError: there can be no file of that name.
    """
    if junit is not None and (junit.is_dir() or not junit.parent.is_dir()):
        what = "is a directory" if junit.is_dir() else "its directory does not exist"
        raise TinygenError(what, where=str(junit), fix="Name a file for --junit.")


def check_output(out: Path) -> None:
    """
    Raises:
        TinygenError: `out` is a file, or holds what is not from an earlier session.
    """
    check_folder(out, FILES, _WHAT)


def hil(
    folder: Path,
    options: HilOptions | None = None,
    *,
    transport: Transport | None = None,
    progress: Progress | None = None,
) -> HilReport:
    """Runs inputs on the device of a build directory, and holds what it gives against the model's integer semantics.

    A device that fails is no exception: the report has what there is until then, and says why there is no more.

    Args:
        folder: written by `tinygen build`.
        options: device, inputs and limits.
        transport: a line to a board that is open already, instead of `options.port`.
        progress: called with (what, done, of).

    Raises:
        TinygenError: the directory, the inputs or the options are at fault, or there is no device to open.
    """
    return _Run(folder, options or HilOptions(), transport, progress or (lambda what, done, total: None)).report()


class _Run:
    """One call of `hil`."""

    def __init__(self, folder: Path, options: HilOptions, transport: Transport | None, progress: Progress) -> None:
        self.folder, self.options, self.transport, self.progress = folder, options, transport, progress
        self.begun, self.created = time.monotonic(), datetime.now(UTC)
        self.manifest = read_manifest(folder)
        names = [entry["name"] for entry in self.manifest["switches"]] or [None]
        if options.switch is not None:
            switch_index(self.manifest, options.switch)
            names = [options.switch]
        self.laws: dict[str | None, Law] = {name: law_of(folder, name) for name in names}
        self.samples = self._read_samples(self.laws[names[0]])
        self.found = {name: Collected(stopped="before the first input") for name in names}
        self.checks: list[Check] = []
        self.device: Device

    def _read_samples(self, law: Law) -> Samples:
        options = self.options
        tensors = tuple(law.graph.tensors[name] for name in law.graph.inputs)
        if options.inputs is None:
            samples = random_samples(tensors, options.limit or RANDOM_INPUTS, options.seed)
        else:
            samples = load_samples(options.inputs, tensors)
            samples = samples if options.limit is None else samples.head(options.limit)
        if samples.labels is None and options.limits.min_accuracy is not None:
            raise TinygenError(
                "has no labels (y), so there is no accuracy to check", where=str(options.inputs or "random inputs"),
                fix="Leave --min-accuracy out, or give --inputs an .npz with x and y.",
            )  # fmt: skip
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
        parts = [self._part(name) for name in self.laws]
        for part in parts:
            self.checks += switch_checks(part, self.options.limits)
        return HilReport(self._content(parts), self._outputs())

    def _run(self, device: Device) -> None:
        with device:
            self._check_start(device)
            if device.engine == "serial":
                for name, law in self.laws.items():
                    self.found[name] = self._collect_here(device, name, law)
                    if self.found[name].stopped:
                        break
        for name in self.laws if device.engine != "serial" else ():
            turn = Turn(self.folder, self.options.port, self.options.infer_seconds, name, self.samples)
            self.found[name] = collect_on_twins(turn, self.options.jobs, self._done(device, name))
            if self.found[name].interrupted:
                break

    def _check_start(self, device: Device) -> None:
        info, wanted = device.info, self.manifest["clock_hz"]
        assert info is not None
        self.checks += [
            check("boot", True, f"{info.name} answers on {device.port or device.name}"),
            check("build-id", True, f"runs build {info.build}"),
        ]
        if wanted:
            text = f"the core runs at {info.clock_hz / 1e6:g} MHz, the board file says {wanted / 1e6:g}"
            self.checks.append(check("clock", info.clock_hz == wanted, text))

    def _collect_here(self, device: Device, name: str | None, law: Law) -> Collected:
        if name is not None:
            try:
                device.select(name)
            except DeviceError as error:
                return Collected(stopped=f"before the first input: {_text(error)}")
        return Session(device, law, self.samples).collect(self._done(device, name))

    def _done(self, device: Device, name: str | None) -> Callable[[int], None]:
        label = f"{name} {device.name}" if name else device.name
        return partial(_tell, self.progress, label, len(self.samples))

    def _part(self, name: str | None) -> dict[str, Any]:
        return describe_switch(
            self.found[name], name=name, planned=len(self.samples), law=self.laws[name],
            labels=self.samples.labels, section={**self.manifest, **section(self.manifest, name)},
            device=self.device,
        )  # fmt: skip

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
            **{key: manifest[key] for key in ("model", "build_id", "board", "board_title", "toolchain", "kernels")},
            "device": {
                "name": device.name,
                "engine": device.engine,
                "port": device.port or None,
                "clock_hz": device.info.clock_hz if device.info else None,
            },
            "inputs": {
                "source": str(inputs) if inputs else drawn,
                "count": len(self.samples),
                "labels": self.samples.labels is not None,
            },
            "limits": asdict(self.options.limits),
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
