"""Stand-ins for flashing tools: they write down how they were called, and say what the real ones say."""

from __future__ import annotations

import json
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

MODULES = {"pyocd": "pyocd", "esptool": "esptool", "platformio": "platformio"}
PROGRAMS = {"openocd": "openocd", "st-flash": "st-flash", "dfu": "dfu-util"}
_DOUBLE = """
import json, os, sys
calls = {calls!r}
with open(calls, "a") as file:
    file.write(json.dumps([{name!r}, *sys.argv[1:]]) + "\\n")
index = sum(1 for line in open(calls)) - 1
text, status = {answers!r}[min(index, len({answers!r}) - 1)]
sys.stdout.write(text)
sys.exit(status)
"""


@dataclass
class Tools:
    """A place for doubles, first on PATH and on Python's path, with nothing else on PATH.

    Attributes:
        folder: where they are.
    """

    folder: Path

    @property
    def calls(self) -> list[list[str]]:
        """Name and arguments of each call."""
        log = self.folder / "calls"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def add(self, method: str, *answers: tuple[str, int]) -> None:
        """Installs a tool that gives these answers (output, exit status) one after the other; the last for ever."""
        name = MODULES.get(method) or PROGRAMS[method]
        text = _DOUBLE.format(calls=str(self.folder / "calls"), name=name, answers=answers or (("", 0),))
        if method in MODULES:
            path = self.folder / name / "__main__.py"
            path.parent.mkdir()
            (path.parent / "__init__.py").touch()
            path.write_text(text)
            return
        path = self.folder / name
        path.write_text(f"#!{sys.executable}\n{text}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    """Of the flashing tools only doubles are found: no program of this computer, and none of their Python packages."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    from tinygen.targets.flashing import base

    real = base.importlib.util.find_spec

    def spec(name: str, package: str | None = None) -> object:
        if name in MODULES.values():
            return (folder / name / "__init__.py").exists() or None
        return real(name, package)

    monkeypatch.setattr(base.importlib.util, "find_spec", spec)
    return Tools(folder)
