"""Images channels first or last on the command line: no verb reads them as they happen to lie."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.networks import Network
from tinygen.cli import main
from tinygen.frontends.load import load_model
from tinygen.ir.interpreter import evaluate

IMAGES = np.random.default_rng(3).integers(-128, 128, (4, 5, 6, 3), np.int8)
FIRST = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, built for the host, and its inputs in both layouts."""
    folder = tmp_path_factory.mktemp("layouts")
    network = Network(1)
    network.conv(network.input(5, 6, 3), 4, 3)
    (folder / "net.tflite").write_bytes(network.model())
    labels = [0] * len(IMAGES)
    np.savez(folder / "last.npz", x=IMAGES, y=labels)
    np.savez(folder / "first.npz", x=FIRST, y=labels)
    np.savez(folder / "flat.npz", x=FIRST.reshape(len(FIRST), -1), y=labels)
    np.savez(folder / "real.npz", x=np.full((1, 5, 6, 3), 1e6, np.float32))
    with pytest.MonkeyPatch.context() as patch:
        call(patch, "build", folder / "net.tflite", "--board", "host", "--out", folder / "built")
    return folder


def call(patch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """The exit status of a command."""
    patch.setattr(sys, "argv", ["tinygen", *map(str, arguments)])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


VERBS = {
    "run": ["run", "built"],
    "verify": ["verify", "net.tflite", "--board", "host"],
    "hil": ["hil", "built", "--out", "report"],
    "farm": ["farm", "built", "--port", "emulated"],
    "classify": ["demo", "classify", "--model", "net.tflite", "--board", "host", "--pixels=-1,1", "--out", "out"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_an_array_that_lies_otherwise_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    monkeypatch.chdir(folder)
    for name, option in (("first", "--layout nchw"), ("flat", "--layout nchw")):
        assert call(monkeypatch, *VERBS[verb], "--inputs", f"{name}.npz", "--json") == 1
        error = json.loads(capsys.readouterr().out)["error"]
        assert f"{name}.npz" in error["where"] and option in error["fix"], error
    assert call(monkeypatch, *VERBS[verb], "--inputs", "last.npz", "--layout", "nchw", "--json") == 1
    assert "--layout nhwc" in json.loads(capsys.readouterr().out)["error"]["fix"]
    if verb != "classify":
        assert call(monkeypatch, *VERBS[verb], "--inputs", "real.npz", "--json") == 1
        assert "--clip" in json.loads(capsys.readouterr().out)["error"]["fix"]


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "classify"])
def test_channels_first_are_read_as_such(folder: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.chdir(folder)
    assert call(monkeypatch, *VERBS[verb], "--inputs", "first.npz", "--layout", "nchw", "--json") == 0
    if verb != "verify":
        assert call(monkeypatch, *VERBS[verb], "--inputs", "flat.npz", "--layout", "nchw", "--json") == 0
        assert call(monkeypatch, *VERBS[verb], "--inputs", "real.npz", "--clip", "--json") == 0


def test_outputs_lie_as_the_inputs_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    wanted = np.stack([evaluate(load_model(folder / "net.tflite"), [x[None]])[0][0] for x in IMAGES])
    found = {}
    for name, layout in (("last", "nhwc"), ("first", "nchw")):
        done = call(
            monkeypatch, "run", "built", "--inputs", f"{name}.npz", "--layout", layout, "--outputs", f"{layout}.npy"
        )
        assert done == 0
        found[layout] = np.load(f"{layout}.npy")
    assert found["nhwc"].shape == (4, 1, 5, 6, 4) and found["nchw"].shape == (4, 1, 4, 5, 6)
    np.testing.assert_array_equal(found["nhwc"][:, 0], wanted)
    np.testing.assert_array_equal(found["nchw"][:, 0], wanted.transpose(0, 3, 1, 2))


def test_options_without_inputs_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    for arguments in (
        ["hil", "built", "--layout", "nchw"],
        ["farm", "built", "--port", "emulated", "--clip"],
        ["build", "net.tflite", "--layout", "nchw", "--out", "other"],
        ["inspect", "net.tflite", "--layout", "nchw"],
    ):
        assert call(monkeypatch, *arguments, "--json") == 1
        assert json.loads(capsys.readouterr().out)["error"]["where"] in ("--layout", "--clip")
    assert call(monkeypatch, "run", "built", "--inputs", "last.npz", "--layout", "hwcn") == 2
