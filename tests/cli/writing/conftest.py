"""A command in this process, a model, a build; and a compiler that compiles each project once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.writing.commands import ARRAY, Outcome, first_shape
from tests.support.streaming_models import SMALL
from tinygen.cli import main
from tinygen.targets.toolchain import build_elf
from tinygen.verbs.build import BuildOptions, build


@pytest.fixture
def tinygen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    def run(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["tinygen", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "2000")
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def compiled() -> dict[str, Any]:
    """Results of the compiler by what was compiled, so that a project is compiled once."""
    return {}


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch: pytest.MonkeyPatch, compiled: dict[str, Any]) -> None:
    def build(project: Any, toolchain: Any) -> Any:
        key = (project.directory / "app_model.c").read_text()
        elf = project.directory / "firmware.elf"
        if key not in compiled:
            result = build_elf(project, toolchain)
            compiled[key] = (result, elf.read_bytes())
        result, content = compiled[key]
        elf.write_bytes(content)
        elf.chmod(0o755)
        return type(result)(elf, None, *(getattr(result, n) for n in ("toolchain", "toolchain_version", "sizes")))

    monkeypatch.setattr("tinygen.verbs.build.build_elf", build)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(SMALL["accumulator"]())
    np.save(tmp_path / ARRAY, np.zeros(first_shape(path), np.int8))
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    (folder / "model.tflite").write_bytes(SMALL["accumulator"]())
    return build(folder / "model.tflite", folder / "out", BuildOptions(board="host"), profile=False).folder
