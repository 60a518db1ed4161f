"""tinygen with its base dependencies alone, and with each extra alone: commands work, or name the extra they need."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.packaging.partial import EXTRAS, ROOT, partial_environment, run_all
from tinygen.cli.app import app
from tinygen.demo import MODEL, load_test_digits
from tinygen.extras import EXTRA_OF

_IMPORT_ALL = """
import importlib, json, pkgutil, tinygen
lacking = {}
for module in pkgutil.walk_packages(tinygen.__path__, "tinygen.", onerror=lambda name: None):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            lacking[module.name] = error.name
print(json.dumps(lacking))
"""
_NO_PORT = "/dev/tinygen-no-such-port"
_BASE = ("build", "export", "inspect", "boards", "doctor", "flash")
"""Commands that need no extra."""
_EMULATOR = ("run", "hil", "farm", "device", "bench", "verify")
_SINGLE = [name for name in EXTRAS if name not in ("dev", "docs", "demo", "platformio")]
"""Extras that bring something that tinygen imports."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The Python of an environment without extras, and a folder with samples to work in."""
    folder = tmp_path_factory.mktemp("base")
    images, labels = load_test_digits()
    np.savez(folder / "x.npz", x=images[:2], y=labels[:2])
    return partial_environment(folder / "environment"), folder


def _python(python: str | Path, script: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([python, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_line_loads_no_optional_package() -> None:
    found = _python(sys.executable, "import sys, tinygen.cli, tinygen.api; print(*sys.modules)").split()
    assert not EXTRA_OF.keys() & found


@pytest.mark.long
def test_every_module_lacks_only_what_extras_bring(base: tuple[Path, Path]) -> None:
    lacking = json.loads(_python(base[0], _IMPORT_ALL))
    # The plugin is pytest's; one script needs TensorFlow, and says so at its top.
    assert {name.partition(".")[0] for name in lacking.values()} <= EXTRA_OF.keys() | {"pytest", "tensorflow"}
    rooms = "cli|verbs|hil|builds|project|targets"
    needed = [name for name in lacking if re.match(rf"tinygen\.({rooms})\b", name)]
    assert needed == ["tinygen.targets.emulator.cpu_arm", "tinygen.targets.emulator.cpu_riscv"]
    assert set(EXTRA_OF.values()) <= EXTRAS.keys()


def test_every_command_without_extras(base: tuple[Path, Path]) -> None:
    python, folder = base
    commands: list[tuple[str | Path, ...]] = [
        ("build", MODEL, "--out", "d"),
        ("export", MODEL, "--as", "c", "--out", "e"),
        ("inspect", MODEL),
        ("boards",),
        ("doctor",),
        ("flash", "d", "--dry-run", "--method", "openocd"),
        ("run", "d", "-i", "x.npz"),
        ("hil", "d"),
        ("farm", "d", "--port", "emulated"),
        ("device", "d"),
        ("bench", MODEL),
        ("verify", MODEL, "-i", "x.npz"),
        ("listen", "d"),
        ("demo", "wakeword"),
        ("demo", "classify"),
    ]
    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert {command[0] for command in commands} == names | {"demo"}
    for command, (status, output) in zip(commands, run_all(python, commands, folder), strict=True):
        assert "internal error" not in output, command
        assert (status == 0) is (command[0] in _BASE), (command, output)
        if command[0] in _EMULATOR:
            assert "pip install 'tinygen[emulator]'" in output, (command, output)
        if command[0] == "build":
            said = "not predicted: Unicorn, the CPU emulator, is not installed; pip install 'tinygen[emulator]'"
            assert re.search(rf"cycles +{re.escape(said)}", output)
            assert said in (folder / "d/report.html").read_text(encoding="utf-8").replace("&#39;", "'")
        if command[0] == "demo":
            assert re.search(r"pip install 'tinygen\[(audio|emulator)\]'", output), output


@pytest.mark.long
def test_other_ways_without_extras(base: tuple[Path, Path]) -> None:
    python, folder = base
    commands: list[tuple[str | Path, ...]] = [
        ("build", MODEL, "--out", "limited", "--flash", "60000"),
        ("demo", "--out", "digits"),
        ("demo", "classify", "--model", MODEL, "-i", "x.npz", "--out", "classified"),
    ]
    for command, (status, output) in zip(commands, run_all(python, commands, folder), strict=True):
        assert (status, "pip install 'tinygen[emulator]'" in output) == (1, True), (command, output)


@pytest.mark.long
@pytest.mark.parametrize("extra", _SINGLE)
def test_every_command_with_one_extra(extra: str, base: tuple[Path, Path], tmp_path: Path) -> None:
    """Whatever fails for a package says so, and names no extra that is there."""
    python, folder = partial_environment(tmp_path / "environment", [extra]), base[1]
    if not (folder / "d").exists():
        assert run_all(base[0], [("build", MODEL, "--out", "d")], folder)[0][0] == 0
    commands: list[tuple[str | Path, ...]] = [
        ("doctor",),
        ("run", "d", "-i", "x.npz"),
        ("verify", MODEL, "-i", "x.npz", "--board", "host"),
        ("hil", "d", "--port", "labwired", "--limit", "1", "--out", tmp_path / "labwired"),
        ("hil", "d", "--port", "labgrid:nowhere"),
        ("hil", "d", "--port", _NO_PORT, "--power", "ppk2:auto"),
        ("hil", "d", "--port", _NO_PORT, "--power", "joulescope"),
        ("demo", "wakeword", "--train", "hello"),
        ("demo", "wakeword", "--mic"),
        ("demo", "classify"),
    ]
    present = {extra, *",".join(re.findall(r"tinygen\[([\w,]+)\]", " ".join(EXTRAS[extra]))).split(",")}
    for command, (status, output) in zip(commands, run_all(python, commands, folder), strict=True):
        assert status in (0, 1) and "internal error" not in output, (command, output)
        if command[0] != "doctor":
            assert not set(re.findall(r"tinygen\[(\w+)\]", output)) & present, (command, output)
