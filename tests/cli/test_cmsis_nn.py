"""--cmsis-nn on the command line, without the library."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.command import tinygen
from tinygen.demo import MODEL, load_test_digits
from tinygen.targets.cmsis_nn import VARIABLE
from tinygen.verbs.doctor import examine


@pytest.mark.parametrize("verb", ["build", "verify"])
def test_wrong_path(tmp_path: Path, verb: str) -> None:
    rest = ["--out", tmp_path / "out"] if verb == "build" else ["--inputs", _inputs(tmp_path)]
    done = tinygen(verb, MODEL, "--kernels", "cmsis-nn", "--cmsis-nn", tmp_path, *rest, "--json")
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert error["where"] == str(tmp_path) and error["what"].startswith("is not CMSIS-NN")
    assert "git clone" in error["fix"]


def _inputs(folder: Path) -> Path:
    path = folder / "x.npz"
    np.savez(path, x=load_test_digits()[0][:1])
    return path


def said_of_it() -> dict:
    return next(entry for entry in examine() if entry["what"] == "CMSIS-NN")


def test_doctor_looks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    entry = said_of_it()
    assert not entry["found"] and VARIABLE in entry["get"]
    (tmp_path / "Include").mkdir()
    (tmp_path / "Source").mkdir()
    (tmp_path / "Include/arm_nnfunctions.h").touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert said_of_it()["found"] and said_of_it()["version"] == str(tmp_path)
