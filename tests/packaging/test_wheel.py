"""What travels inside the wheel."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.packaging.wheel_job import ROOT, build_wheel


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    with zipfile.ZipFile(build_wheel(tmp_path_factory.mktemp("wheel"))) as archive:
        return archive.namelist()


@pytest.mark.parametrize(
    "name",
    [
        "tinygen/_data/templates/model/model.c.j2",
        "tinygen/_data/templates/report/report.html.j2",
        "tinygen/_data/firmware/app/serve.c",
        "tinygen/_data/boards/f746zg.yaml",
        "tinygen/targets/emulator/hooks.c",
        "tinygen/demo/digits.tflite",
        "tinygen/demo/digits_test.npz",
        "tinygen/demo/train_digits.py",
        "hil/client.py",
    ],
)
def test_contains(names: list[str], name: str) -> None:
    assert name in names


def test_contains_no_tests(names: list[str]) -> None:
    assert not [name for name in names if Path(name).parts[0] == "tests"]


@pytest.mark.parametrize("folder", ["templates", "firmware", "boards"])
def test_data_folder_is_whole(names: list[str], folder: str) -> None:
    files = [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    missing = [path for path in files if f"tinygen/_data/{path.relative_to(ROOT).as_posix()}" not in names]
    assert files
    assert not missing
