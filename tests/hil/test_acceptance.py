"""The acceptance suite of the top-level folder `hil`, as a person runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.targets.tools import requires_package

ROOT = Path(__file__).parents[2]


@pytest.mark.long
@requires_package("unicorn")
@pytest.mark.parametrize("board", ["f746zg", "l4r5zi", "esp32c3"])
def test_on_emulated_boards(board: str) -> None:
    options = ["--board", board, "--inputs", "10"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "hil", *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "3 passed, 1 skipped" in done.stdout


@pytest.mark.long
@requires_package("unicorn")
def test_a_port_wants_the_build_that_was_flashed() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "hil", "--port", "auto"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode != 0 and "--firmware DIR" in done.stdout
