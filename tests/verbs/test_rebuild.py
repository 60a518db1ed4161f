"""A build over an earlier one: what `tinygen hil` found of that is kept, and told from what belongs to the new."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.streaming_models import SMALL
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.hil import HilOptions, hil


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(SMALL["accumulator"]())
    return path


def report_in(folder: Path) -> str:
    return str(json.loads((folder / "hil-report.json").read_text())["build_id"])


def test_reports_of_other_builds_step_aside(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = build(model, out, BuildOptions(board="host"), profile=False).as_json()["build_id"]
    report = hil(out, HilOptions(limit=2))
    report.write(out / "hil")
    (out / "hil-notes").mkdir()
    build(model, out, BuildOptions(board="host"), profile=False)
    assert report_in(out / "hil") == first and (out / "hil-notes").is_dir()
    model.write_bytes(SMALL["delay_line"]())
    second = build(model, out, BuildOptions(board="host"), profile=False).as_json()["build_id"]
    assert second != first and not (out / "hil").exists() and report_in(out / f"hil-{first}") == first
    hil(out, HilOptions(limit=2)).write(out / "hil")
    model.write_bytes(SMALL["accumulator"]())
    build(model, out, BuildOptions(board="host"), profile=False)
    assert report_in(out / "hil") == first and report_in(out / f"hil-{second}") == second
