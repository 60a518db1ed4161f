"""Builds firmware around a hand-written model."""

from __future__ import annotations

from pathlib import Path

from tinygen.project.firmware import write_firmware_project
from tinygen.targets.board import Board
from tinygen.targets.firmware_sources import FirmwareProject
from tinygen.targets.toolchain import BuildResult, build_elf, find_toolchain

DUMMY_MODEL = (Path(__file__).parent / "dummy_model.c").read_text(encoding="utf-8")
NOTHING = "    (void)observer;\n    (void)context;\n    (void)weights;\n"


def model_with_invoke(declarations: str, body: str) -> str:
    """The dummy model with another `invoke`; `declarations` come before it."""
    head, rest = DUMMY_MODEL.split("static void invoke", 1)
    tail = rest[rest.index("const app_model_t") :]
    signature = "static void invoke(app_observer_t *observer, void *context)"
    return f"{head}{declarations}\n{signature}\n{{\n{NOTHING}{body}\n}}\n\n{tail}"


def project_with(board: Board, directory: Path, model: str = DUMMY_MODEL, mode: str = "performance") -> FirmwareProject:
    """A firmware project whose whole model is the one C file `model`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "app_model.c").write_text(model, encoding="utf-8")
    return write_firmware_project(board, directory, mode=mode)


def build(
    board: Board, toolchain: str, directory: Path, model: str = DUMMY_MODEL, mode: str = "performance"
) -> BuildResult:
    """Builds it."""
    return build_elf(project_with(board, directory, model, mode), find_toolchain(toolchain, board))
