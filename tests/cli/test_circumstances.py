"""Homes, locales, terminals and clocks that are not the usual ones: commands run all the same."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.cli.ended import started, tinygen
from tests.support.streaming_models import SMALL

CIRCUMSTANCES: dict[str, dict[str, str]] = {
    "no home": {"HOME": "/proc/nowhere", "XDG_CACHE_HOME": "/proc/nowhere/cache"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "NO_COLOR": "1", "COLUMNS": "40"},
    "clock set back": {},
}


@pytest.mark.parametrize("name", CIRCUMSTANCES)
def test_commands_run(name: str, tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(SMALL["accumulator"]())
    if name == "clock set back":
        later = time.time() + 1e6
        os.utime(model, (later, later))
    export = ("export", model, "--as", "c", "--board", "host", "--out", tmp_path / "out")
    for arguments in (("inspect", model), export) if name == "no home" else (("inspect", model),):
        process = started(tinygen(arguments), CIRCUMSTANCES[name])
        out, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
        assert "Traceback" not in said and "\x1b" not in out
