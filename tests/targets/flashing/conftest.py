"""A build directory, made once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.manifests import a_manifest
from tests.targets.build import build
from tests.targets.flashing.doubles import tools
from tinygen.targets.boards import load_board
from tinygen.targets.images import write_images

__all__ = ["tools"]

BUILD_ID = "0123456789abcdef"
"""Of tests/targets/dummy_model.c."""


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    board = load_board("f746zg")
    folder = tmp_path_factory.mktemp("flash") / "build"
    elf = build(board, "zig", folder).elf
    manifest = a_manifest(board="f746zg", build_id=BUILD_ID, images=write_images(board, elf, folder))
    (folder / "manifest.json").write_text(json.dumps(manifest.to_json()))
    return folder


@pytest.fixture
def built(original: Path, tmp_path: Path) -> Path:
    """A copy, to be changed; with a blank in its name, as users have them."""
    return Path(shutil.copytree(original, tmp_path / "my build"))
