"""What `tinygen` ends with: 0, 1 for errors and failed checks, 2 for wrong usage, 70 for defects, 130 for Ctrl-C."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tinygen import cli
from tinygen.demo import MODEL, load_test_digits
from tinygen.errors import ModelError
from tinygen.ir.ops.conv_2d import Conv2D

Status = Callable[..., int]


@pytest.fixture
def status(monkeypatch: pytest.MonkeyPatch) -> Status:
    def call(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["tinygen", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        return code if isinstance(code, int) else int(code is not None)

    return call


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(ModelError("is broken"), 1), (KeyboardInterrupt(), 130), (RuntimeError("a defect"), 70), (SystemExit(2), 2)],
)
def test_what_ends_a_command(
    raised: BaseException,
    expected: int,
    status: Status,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def app(*arguments: object, **options: object) -> None:
        raise raised

    monkeypatch.setattr(cli, "_command", lambda: app)
    assert status("boards") == expected
    assert "Traceback" not in capsys.readouterr().err
    assert status("boards", "--json") == expected
    if expected in (1, 70):
        assert str(raised) in json.loads(capsys.readouterr().out)["error"]["what"]


def test_wrong_usage_and_what_is_asked_for(status: Status) -> None:
    assert status("biuld") == 2
    assert status("--version") == 0
    assert status("boards", "--json") == 0


def test_verify_fails_where_the_runtimes_differ(
    status: Status, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, _ = load_test_digits()
    np.savez(tmp_path / "x.npz", x=images[:1])
    arguments = ("verify", MODEL, "--inputs", tmp_path / "x.npz", "--board", "host", "--json")
    assert status(*arguments) == 0
    right = Conv2D.evaluate

    def wrong(self: Conv2D, node, values):  # type: ignore[no-untyped-def]
        return [code ^ 64 for code in right(self, node, values)]

    monkeypatch.setattr(Conv2D, "evaluate", wrong)
    assert status(*arguments) == 1


def test_standard_output_is_full() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, which Linux has")
    for option in ((), ("--json",)):
        with open("/dev/full", "w") as full:
            command = [sys.executable, "-c", "from tinygen.cli import main; main()", "boards", *option]
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("error: output cannot be written (No space left on device)")


@pytest.mark.parametrize(
    "arguments",
    [("build", "", "--out", "d"), ("build", "m.tflite", "--out", ""), ("run", "d", "--inputs", ""), ("bench", "")],
)
def test_empty_paths(arguments: tuple[str, ...], status: Status, capsys: pytest.CaptureFixture[str]) -> None:
    """For Python, "" is the current folder."""
    assert status(*arguments) == 2
    assert "the path is empty" in capsys.readouterr().err
