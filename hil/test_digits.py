"""The digit classifier on a board: the first things to know of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tinygen.hil.device import MEASURED, open_device
from tinygen.hil.output import HilReport


def test_every_output_is_the_model_s(report: HilReport) -> None:
    content = report.content
    assert content["passed"], content["checks"]


def test_digits_are_recognised(report: HilReport, digits: Path) -> None:
    with np.load(digits) as content:
        labels = content["y"]
    right = report.outputs["y0"].reshape(len(labels), -1).argmax(axis=1) == labels
    assert right.mean() >= 0.9


def test_a_reset_board_answers_the_same(firmware: Path, port: str | None, digits: Path) -> None:
    with np.load(digits) as content:
        image = content["x"][:1]
    answers = []
    for _ in range(2):
        with open_device(firmware, port=port) as device:
            answers.append(device.infer([image])[0])
    assert np.array_equal(*answers)


def test_the_clock_is_near_the_prediction(report: HilReport, firmware: Path) -> None:
    """Within a factor of 1.5: the prediction's own error is smaller, a wrong clock's is not."""
    latency = report.content["switches"][0]["latency"]
    if latency is None or latency["source"] != MEASURED:
        pytest.skip("nothing on this port measures time")
    profile = json.loads((firmware / "manifest.json").read_text(encoding="utf-8"))["profile"]
    ratio = latency["microseconds"]["median"] / (1000 * profile["milliseconds_predicted"])
    assert 1 / 1.5 < ratio < 1.5
