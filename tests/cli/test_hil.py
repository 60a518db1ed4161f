"""`tinygen hil` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.hil.faulty import digits_on
from tests.support.command import tinygen
from tinygen.demo import load_test_digits


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    images, labels = load_test_digits()
    np.savez(folder / "digits.npz", x=images[:20], y=labels[:20])
    return digits_on("f746zg", folder)


def test_report(built: Path) -> None:
    inputs = built.parent / "digits.npz"
    done = tinygen("hil", built, "--inputs", inputs, "--limit", "8", "--min-accuracy", "0.5")
    assert done.returncode == 0, done.stderr
    assert "8 of 8 inputs have their result" in done.stdout
    assert "latency, predicted" in done.stdout and "energy, predicted" in done.stdout
    content = json.loads((built / "hil/hil-report.json").read_text())
    assert content["passed"] and content["switches"][0]["accuracy"]["of"] == 8


def test_failed_checks(built: Path, tmp_path: Path) -> None:
    files = ("--out", tmp_path / "out", "--junit", tmp_path / "ci.xml")
    done = tinygen("hil", built, "--limit", "3", "--max-latency-us", "1", *files, "--json")
    assert done.returncode == 1
    content = json.loads(done.stdout)
    assert content["inputs"]["source"] == "random, seed 0"
    assert [one["name"] for one in content["checks"] if one["status"] == "failed"] == ["latency"]
    assert "latency: slowest of 3" in done.stderr
    assert "<failure" in (tmp_path / "ci.xml").read_text()
    assert (tmp_path / "out/report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "not a build directory"),
        (["BUILT", "--port", "/dev/ttyNONE"], "/dev/ttyNONE: the serial port cannot be opened"),
        (
            ["BUILT", "--port", "auto:no-such-number"],
            "no serial port has USB 0483:374b and serial number no-such-number",
        ),
        (["BUILT", "--port", "qemu"], "QEMU has no board like f746zg"),
        (["BUILT", "--switch", "w2a4"], "there is no switch 'w2a4'"),
        (["BUILT", "--inputs", "none.npz"], "none.npz: there is no such file"),
        (["BUILT", "--min-accuracy", "0.9"], "has no labels"),
        (["BUILT", "--max-latency-us", "inf"], "--max-latency-us: inf is no limit"),
        (["BUILT", "--power", "ppk2:/dev/ttyNONE"], "ppk2:/dev/ttyNONE has no board to watch: what runs is emulated"),
        (["BUILT", "--out", "BUILT"], "holds files that are not an earlier hil report"),
        (["BUILT", "--junit", "none/ci.xml"], "its directory does not exist"),
    ],
)
def test_errors(built: Path, tmp_path: Path, arguments: list[str], words: str) -> None:
    """Clean, and nothing is written."""
    given = [str(built) if argument == "BUILT" else argument for argument in arguments]
    out = [] if "--out" in given else ["--out", "out"]
    done = tinygen("hil", *given, *out, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert words in " ".join(done.stderr.split())
    assert not list(tmp_path.iterdir())
