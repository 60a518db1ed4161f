"""`tinygen inspect` of several models: which can be read, and what stops the others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from tests.support.command_line import call as tinygen
from tests.support.onnx_models import OnnxNet
from tinygen.api import survey
from tinygen.demo import MODEL
from tinygen.errors import TinygenError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One model that can be read, two that are damaged alike, one of another cause, one file that is no model."""
    (tmp_path / "sub").mkdir()
    content = MODEL.read_bytes()
    (tmp_path / "good.tflite").write_bytes(content)
    (tmp_path / "sub/first.tflite").write_bytes(b"none of the marks")
    (tmp_path / "sub/second.TFLITE").write_bytes(b"none of the marks, too")
    (tmp_path / "sub/third.tflite").write_bytes(content[: len(content) // 2])
    (tmp_path / "notes.txt").write_text("no model")
    return tmp_path


def test_a_folder(folder: Path) -> None:
    found = survey([folder])
    good, first, second, third = found.models
    assert [Path(model.file).name for model in found.models] == [
        "good.tflite", "first.tflite", "second.TFLITE", "third.tflite"
    ]  # fmt: skip
    assert good.enters and good.macs > 0 and good.layers > 0 and good.constant_bytes > 0 and good.arena_bytes is None
    assert not (first.enters or second.enters or third.enters) and third.fix
    assert [cause.models for cause in found.causes] == [2, 1]
    assert found.entering == 1


def test_float_models_are_calibrated_with_noise(tmp_path: Path) -> None:
    """To see whether they can be quantized: an image, and a sequence of positions in a table."""
    for name, kind in (("reads", "Sigmoid"), ("does_not", "Tan")):
        net = OnnxNet()
        x = net.input("batch", 3, 5, 4)
        (tmp_path / f"{name}.onnx").write_bytes(net.content(net.node(kind, x)))
    net = OnnxNet()
    x = net.input(1, 6, dtype=TensorProto.INT64)
    (tmp_path / "table.onnx").write_bytes(net.content(net.node("Gather", net.constant(np.eye(7, 4)), x)))
    no, yes, table = survey([tmp_path], board="f746zg").models
    assert not no.enters and "nothing quantizes" in no.what
    assert yes.enters and table.enters
    assert (yes.layers, table.layers) == (1, 1) and table.arena_bytes


def test_on_a_board_kernels_are_chosen(folder: Path) -> None:
    (good,) = survey([folder / "good.tflite"], board="f746zg").models
    assert good.arena_bytes
    (refused,) = survey([folder / "good.tflite"], board="f746zg", kernels="cmsis-nn").models
    assert not refused.enters and "library" in refused.what


def test_as_a_command(folder: Path) -> None:
    twice = [str(folder / "good.tflite"), str(folder)]
    shown = tinygen("inspect", *twice)
    assert shown.returncode == 0 and "1 of 4 models can be read." in shown.stdout
    assert "good.tflite" in shown.stdout and "   2  is not a TensorFlow Lite model" in shown.stdout
    content = json.loads(tinygen("inspect", *twice, "--json").stdout)
    assert (content["count"], content["entering"]) == (4, 1)


def test_what_cannot_be_surveyed(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(TinygenError, match="has no models"):
        survey([folder / "empty"])
    with pytest.raises(TinygenError, match="no such file"):
        survey([folder / "missing"])
    done = tinygen("inspect", folder, "--inputs", "x.npz")
    assert done.returncode == 1 and "--inputs must be of one model" in done.stderr
