"""What travels inside the wheel, and that its command starts."""

from __future__ import annotations

import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.packaging import wheel_job
from tests.packaging.wheel_job import ROOT, build_wheel, outside


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
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
        "tinygen/_data/templates/report/hil.html.j2",
        "tinygen/hil/client.py",
        "tinygen/pytest_plugin.py",
    ],
)
def test_contains(names: list[str], name: str) -> None:
    assert name in names


def test_pytest_finds_the_plugin(wheel: Path, names: list[str]) -> None:
    (entries,) = (name for name in names if name.endswith("entry_points.txt"))
    with zipfile.ZipFile(wheel) as archive:
        assert "[pytest11]\ntinygen = tinygen.pytest_plugin" in archive.read(entries).decode()


def test_contains_tinygen_alone(names: list[str]) -> None:
    """Neither tests nor examples and studies."""
    tops = {Path(name).parts[0] for name in names}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"tinygen"}


@pytest.mark.parametrize("folder", ["templates", "firmware", "boards"])
def test_data_folder_is_whole(names: list[str], folder: str) -> None:
    found = (ROOT / folder).rglob("*")
    files = [path for path in found if path.is_file() and "__pycache__" not in path.parts]
    missing = [path for path in files if f"tinygen/_data/{path.relative_to(ROOT).as_posix()}" not in names]
    assert files
    assert not missing


def test_installed_command_starts(wheel: Path, tmp_path: Path) -> None:
    """The dependencies are this environment's; tinygen itself comes from the wheel, which stands first."""
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    outside([*pip, "--target", target, wheel], tmp_path)
    path = f"{target}:{sysconfig.get_path('purelib')}"
    script = "import tinygen; from tinygen.paths import resource; print(tinygen.__file__, resource('boards'))"
    for place in outside([sys.executable, "-c", script], tmp_path, path).split():
        assert Path(place).is_relative_to(target)
    text = outside([target / "bin/tinygen", "--help"], tmp_path, path)
    for verb in ("build", "run", "verify", "inspect", "boards", "doctor", "demo"):
        assert verb in text
    assert "int8-kernels" in outside([target / "bin/tinygen", "bench", "--list"], tmp_path, path)


@pytest.mark.long
def test_main_job_from_the_wheel() -> None:
    wheel_job.main()
