"""PlatformIO reads our project and builds from it what we build: the same functions, and the emulated board runs them.

Its registry is not needed: SCons is PyPI's, gcc this computer's, and tests/project/platformio stands for its ststm32.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from tests.targets.build import project_with
from tests.targets.tools import requires_package, requires_tool
from tinygen.hil.client import DeviceClient
from tinygen.project.platformio import BARE_PLATFORMS, write_platformio_project
from tinygen.targets.board import Board
from tinygen.targets.boards import list_boards, load_board
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.flashing import Job
from tinygen.targets.flashing.platformio import PlatformIoUpload
from tinygen.targets.images import write_images
from tinygen.targets.toolchain import build_elf, find_toolchain

HERE = Path(__file__).parent / "platformio"
KNOWN = {name: load_board(name) for name in list_boards()}
BARE = [name for name, board in KNOWN.items() if board.platformio and board.platformio.platform in BARE_PLATFORMS]
pytestmark = [requires_package("platformio"), requires_package("SCons")]


def install(packages: Path, name: str, version: str, kind: str) -> Path:
    """A folder that PlatformIO takes for a package from its registry."""
    spec = {"owner": "platformio", "id": None, "name": name, "requirements": None, "uri": None}
    folder = packages / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".piopm").write_text(json.dumps({"type": kind, "name": name, "version": version, "spec": spec}))
    if kind == "tool":
        (folder / "package.json").write_text(json.dumps({"name": name, "version": version}))
    return folder


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PlatformIO's own folder, with all that it would fetch; nothing outside it is written."""
    from platformio.dependencies import get_core_dependencies

    folder = tmp_path_factory.mktemp("core")
    scons = install(folder / "packages", "tool-scons", get_core_dependencies()["tool-scons"].strip("~"), "tool")
    (scons / "scons.py").write_text("from SCons.Script import main\n\nmain()\n")
    gcc = install(folder / "packages", "toolchain-gccarmnoneeabi", "1.120301.0", "tool") / "bin"
    gcc.mkdir()
    for name in ("gcc", "gcc-ar", "objcopy", "size"):
        found = shutil.which(f"arm-none-eabi-{name}")
        if found:
            (gcc / Path(found).name).symlink_to(found)
    platform = install(folder / "platforms", "ststm32", "19.6.0", "platform")
    shutil.copytree(HERE, platform, dirs_exist_ok=True)
    (platform / "boards").mkdir(exist_ok=True)
    for board in (KNOWN[name] for name in BARE):
        assert board.platformio
        content = {
            "build": {"cpu": board.core, "f_cpu": f"{board.core_hz}L", "extra_flags": "-DSTM32"},
            "frameworks": [],
            "name": board.title,
            "vendor": "ST",
            "url": "",
            "upload": {"maximum_size": board.flash_bytes, "maximum_ram_size": board.ram_bytes, "protocol": "custom"},
        }
        (platform / "boards" / f"{board.platformio.board}.json").write_text(json.dumps(content))
    return folder


def pio(core: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs PlatformIO, offline as far as it is up to it."""
    environment = os.environ | {
        "PLATFORMIO_CORE_DIR": str(core),
        "HOME": str(core),
        "CI": "true",
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
        "PLATFORMIO_NO_ANSI": "true",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    command = [sys.executable, "-m", "platformio", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment | more, check=False, timeout=300)


# Warns, unless it is compiled as a vendor's library is.
LIBRARY = "#include <library.h>\nint library(void) { int unused; return LIBRARY; }\n"


def project_of(board: Board, folder: Path) -> Path:
    (folder / "model").mkdir(parents=True)
    for name, text in (("Include/library.h", "#define LIBRARY 1\n"), ("Source/library.c", LIBRARY)):
        (folder / "cmsis-nn" / name).parent.mkdir(parents=True)
        (folder / "cmsis-nn" / name).write_text(text)
    assert write_platformio_project(project_with(board, folder)) == ("platformio.ini", "platformio_build.py")
    return folder


@pytest.mark.parametrize("name", BARE)
def test_platformio_reads_the_configuration(name: str, tmp_path: Path) -> None:
    from platformio.project.config import ProjectConfig

    board = KNOWN[name]
    folder = project_of(board, tmp_path / "p")
    config = ProjectConfig(str(folder / "platformio.ini"))
    assert config.validate(silent=False)
    assert config.envs() == config.default_envs() == [name]
    section = f"env:{name}"
    assert board.platformio
    assert config.get(section, "board") == board.platformio.board
    assert config.get(section, "board_build.ldscript") == "board/board.ld"
    assert "framework" not in config.options(env=name)
    flags = " ".join(config.get(section, "build_flags"))
    assert " ".join(board.toolchain.gcc or ()) in flags and "-O3" in flags and "-Werror" not in flags
    sources = [line[2:-1] for line in config.get(section, "build_src_filter") if line.startswith("+<")]
    assert sources and all((folder / source).is_file() for source in sources)
    assert set(board.sources) <= set(sources)


def test_pio_project_config(core: Path, tmp_path: Path) -> None:
    folder = project_of(KNOWN["f746zg"], tmp_path / "p")
    done = pio(core, "project", "config", "--json-output", "--project-dir", str(folder))
    assert done.returncode == 0, done.stderr
    content = {section: dict(options) for section, options in json.loads(done.stdout)}
    assert content["env:f746zg"]["platform"] == "ststm32"
    assert content["platformio"]["default_envs"] == ["f746zg"]


def symbols(elf: Path) -> dict[str, tuple[int, int]]:
    """Address and size of each symbol."""
    with elf.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        return {s.name: (s["st_value"], s["st_size"]) for s in table.iter_symbols() if s.name}


def loaded(elf: Path) -> dict[str, tuple[int, bytes]]:
    """Address and content of each section that is loaded or reserved."""
    with elf.open("rb") as file:
        return {s.name: (s["sh_addr"], s.data()) for s in ELFFile(file).iter_sections() if s["sh_flags"] & 2}


@requires_tool("arm-none-eabi-gcc")
@pytest.mark.parametrize("name", [n if n == "f746zg" else pytest.param(n, marks=pytest.mark.long) for n in BARE])
def test_pio_run_builds_what_we_build(name: str, core: Path, tmp_path: Path) -> None:
    board = KNOWN[name]
    # The folder's own name must not be taken for the library's.
    folder = project_of(board, tmp_path / "cmsis-nn" / "my project")
    done = pio(core, "run", "--project-dir", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stdout + done.stderr
    theirs = folder / ".pio/build" / name / "firmware.elf"
    ours = project_with(board, tmp_path / "ours")
    # Linked in the order that PlatformIO has, which is that of their names.
    elf = build_elf(replace(ours, sources=tuple(sorted(ours.sources))), find_toolchain("gcc", board)).elf
    assert loaded(theirs) == loaded(elf)
    assert symbols(theirs).items() >= {(k, v) for k, v in symbols(elf).items() if not k.endswith((".c", ".o"))}
    images = write_images(board, theirs, tmp_path)
    assert (tmp_path / images["bin"]).read_bytes() == theirs.with_suffix(".bin").read_bytes()
    client = DeviceClient(EmulatedBoard(board, theirs))
    try:
        client.wait_for_boot()
        assert client.info().build == "0123456789abcdef"
        client.load(0, bytes(range(16)))
        client.run()
        assert client.read(0) == bytes((2 * x + 1) % 256 for x in range(16))
    finally:
        client.close()


@requires_tool("arm-none-eabi-gcc")
def test_an_upload_without_building_takes_our_firmware(
    core: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `tinygen flash --method platformio` does: the firmware that was proved, not one that PlatformIO builds."""
    board = KNOWN["f746zg"]
    folder = project_of(board, tmp_path / "p")
    images = write_images(board, build_elf(project_with(board, folder), find_toolchain("zig", board)).elf, folder)
    for key, value in (("CORE_DIR", str(core)), ("SETTING_ENABLE_TELEMETRY", "no")):
        monkeypatch.setenv(f"PLATFORMIO_{key}", value)
    monkeypatch.setenv("UPLOADED", str(tmp_path / "flash"))
    shown: list[str] = []
    PlatformIoUpload().flash(Job(board, folder, images), shown.append)
    assert (tmp_path / "flash").read_bytes() == (folder / "firmware.bin").read_bytes(), "".join(shown)
    assert "Compiling" not in "".join(shown)


def test_boards_that_platformio_cannot_build_bare_get_no_project(tmp_path: Path) -> None:
    for name in ("host", "mps2-an500"):
        assert write_platformio_project(project_with(KNOWN[name], tmp_path / name)) == ()
        assert not (tmp_path / name / "platformio.ini").exists()
