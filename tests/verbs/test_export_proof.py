"""`tinygen export --proof`: Frama-C's Eva finds nothing in the reference kernels, and finds what is wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.models import KWS, needs_models
from tests.targets.tools import requires_tool
from tinygen import api
from tinygen.demo import MODEL
from tinygen.errors import TinygenError
from tinygen.verbs.build import BuildOptions

_REFERENCE = BuildOptions(kernels="reference")


def _eva(folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(folder / "proof/eva.sh")]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)


@pytest.mark.parametrize(
    ("form", "options", "says"),
    [
        ("cmake", _REFERENCE, "proof is for form c"),
        ("c", BuildOptions(kernels="cmsis-nn"), "proof is for tinygen's own kernels"),
    ],
)
def test_what_it_is_not_for(form: str, options: BuildOptions, says: str, tmp_path: Path) -> None:
    with pytest.raises(TinygenError, match=says):
        api.export(MODEL, tmp_path / "out", form, options, proof=True)


@pytest.mark.long
@requires_tool("frama-c")
@pytest.mark.parametrize(
    ("model", "options"),
    [(MODEL, _REFERENCE), pytest.param(KWS, _REFERENCE, marks=needs_models), (MODEL, BuildOptions())],
    ids=["digits", "kws", "digits, tuned"],
)
def test_no_alarm(model: Path, options: BuildOptions, tmp_path: Path) -> None:
    api.export(model, tmp_path / "out", "c", options, proof=True)
    done = _eva(tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 alarms generated" in done.stdout


@pytest.mark.long
@requires_tool("frama-c")
def test_an_index_too_far_is_an_alarm(tmp_path: Path) -> None:
    api.export(MODEL, tmp_path / "out", "c", _REFERENCE, proof=True)
    kernels = tmp_path / "out/src/digits_kernels.c"
    right = kernels.read_text()
    wrong = right.replace("oy < 14", "oy < 15")
    assert wrong != right
    kernels.write_text(wrong)
    done = _eva(tmp_path / "out")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "invalid memory access" in done.stdout
