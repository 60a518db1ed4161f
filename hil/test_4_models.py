"""Whole models, by every switch that they have: outputs, accuracy, cycles, and energy where there is an instrument."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hil.models import DIGITS, Whole
from hil.place import Place
from hil.record import Record
from tinygen.builds.manifest import read_manifest
from tinygen.demo import load_test_digits
from tinygen.hil.checks import Limits
from tinygen.hil.output import HilReport
from tinygen.hil.ports import LABWIRED
from tinygen.targets.first_light import MODEL, PREDICTED, Point
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.hil import HilOptions, hil, open_instrument

_TWIN_INPUTS = 2


def test_models(place: Place, model: Whole, folder: Path, record: Record, pytestconfig: pytest.Config) -> None:
    options = BuildOptions(
        board=str(place.board.path), toolchain=place.toolchain, kernels=place.kernels, **model.options
    )
    build(model.model, folder, options, profile=False)
    manifest = read_manifest(folder)
    record.ran(layer.kernel for one in (manifest, *manifest.switches) for layer in one.layers)
    place.put(folder)
    count = pytestconfig.getoption("--inputs")
    inputs, limits = None, Limits()
    if model.name == DIGITS:
        images, labels = load_test_digits()
        inputs = folder / "digits.npz"
        np.savez(inputs, x=images[:count], y=labels[:count])
        limits = Limits(min_accuracy=0.9)
    report = hil(folder, HilOptions(port=place.port, inputs=inputs, limit=count, limits=limits))
    twin = hil(folder, HilOptions(inputs=inputs, limit=_TWIN_INPUTS)) if place.is_real or place.is_foreign else report
    record.points += _points(model.name, report, twin)
    # A clock that is not at full speed is the first check's: on labwired, a gap.
    failed = [check for check in report.content["checks"] if check["status"] == "failed"]
    assert not [c["message"] for c in failed if not (c["name"] == "clock" and place.port == LABWIRED)]


def _points(name: str, report: HilReport, twin: HilReport) -> list[Point]:
    points = []
    for found, predicted in zip(report.content["switches"], twin.content["switches"], strict=True):
        latency = found["latency"]
        # What QEMU's twin predicts is nothing that QEMU counted.
        counted = latency and not (latency["source"] == PREDICTED and report is not twin)
        points.append(
            Point(
                MODEL,
                f"{name} {found['switch']}" if found["switch"] else name,
                cycles=round(latency["cycles"]["median"]) if counted else None,
                predicted=round(predicted["latency"]["cycles"]["median"]),
                instructions=sum(layer["instructions"] or 0 for layer in predicted["layers"]),
            )
        )
    return points


def test_energy(place: Place, folder: Path, record: Record, pytestconfig: pytest.Config) -> None:
    power = pytestconfig.getoption("--power")
    if power is None:
        pytest.skip("no energy was measured: no instrument was named (--power)")
    from tinygen.demo import MODEL as DIGITS_MODEL

    build(DIGITS_MODEL, folder, BuildOptions(board=str(place.board.path), toolchain=place.toolchain), profile=False)
    monitor = open_instrument(folder, power, place.port)
    assert monitor is not None, f"{power} measures nothing"
    try:
        place.put(folder)
        report = hil(folder, HilOptions(port=place.port, limit=5), monitor=monitor)
    finally:
        monitor.close()
    energies = report.content["switches"][0]["energy"]
    record.energy["digits"] = next(one for one in energies if one["source"] != PREDICTED)
    assert report.passed, report.content["checks"]
