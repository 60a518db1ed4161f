"""`tinygen flash`: doubles of the tools, and the emulated board in the place of the flashed one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.command import Done, tinygen
from tests.support.manifests import a_manifest
from tests.targets.build import build
from tests.targets.flashing.conftest import BUILD_ID, built, original
from tests.targets.flashing.doubles import Tools, tools
from tests.targets.tools import requires_package
from tinygen.errors import DeviceError, FlashError, TinygenError, WrongBuildError
from tinygen.hil import ports
from tinygen.targets.board import Board
from tinygen.targets.boards import load_board
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.images import write_images
from tinygen.verbs import flash as verb
from tinygen.verbs.flash import FlashOptions, flash

__all__ = ["built", "original", "tools"]

F746ZG = load_board("f746zg")


@contextmanager
def board_on_a_port(folder: Path) -> Iterator[str]:
    """The emulated board with the firmware of a build directory."""
    board = EmulatedBoard(F746ZG, folder / "firmware.elf")
    try:
        with board.pty() as port:
            yield port
    finally:
        board.close()


@pytest.fixture
def no_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports.list_ports, "comports", list)


def probes(monkeypatch: pytest.MonkeyPatch, board: Board, *there: tuple[str, str]) -> None:
    """Probes of a board (port, serial number) on this computer."""
    usb = board.usb
    assert usb
    found = [
        SimpleNamespace(device=port, description="a board", vid=usb.vid, pid=usb.pid, serial_number=serial)
        for port, serial in there
    ]
    monkeypatch.setattr(ports.list_ports, "comports", lambda: found)


def test_flashed_and_answering(tools: Tools, built: Path) -> None:
    tools.add("openocd", ("** Programming Finished **\n** Verified OK **\n", 0))
    with board_on_a_port(built) as port:
        result = flash(built, FlashOptions(port=port))
    assert (result.build, result.port, result.method) == (BUILD_ID, port, "openocd")
    assert result.sentence().endswith(f"and answering: build {BUILD_ID} on {port}")
    program = f"program {{{built}/firmware.elf}} verify reset exit"
    assert tools.calls == [["openocd", "-f", "board/st_nucleo_f7.cfg", "-c", program]]


def test_the_board_is_found_by_its_usb_identity(tools: Tools, built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools.add("openocd")
    with board_on_a_port(built) as port:
        probes(monkeypatch, F746ZG, (port, "066A"))
        for wanted in (None, "auto", "auto:066A"):
            assert flash(built, FlashOptions(port=wanted)).port == port


def test_a_board_that_runs_something_else_is_told(tools: Tools, built: Path) -> None:
    tools.add("openocd")
    manifest = json.loads((built / "manifest.json").read_text()) | {"build_id": "f" * 16}
    (built / "manifest.json").write_text(json.dumps(manifest))
    with board_on_a_port(built) as port, pytest.raises(WrongBuildError, match=f"runs build {BUILD_ID}"):
        flash(built, FlashOptions(port=port))


def test_a_board_that_stays_silent_is_told(tools: Tools, built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools.add("openocd")
    monkeypatch.setattr(verb, "_ANSWER_SECONDS", 0.0)
    with pytest.raises(DeviceError, match="was flashed, but") as caught:
        flash(built, FlashOptions(port="/dev/ttyNONE"))
    assert "RESET" in caught.value.fix


def test_without_a_port_it_says_that_nobody_was_asked(tools: Tools, built: Path, no_ports: None) -> None:
    tools.add("openocd")
    result = flash(built, FlashOptions())
    assert result.build is None and "--port" in result.sentence()
    with pytest.raises(DeviceError, match="no serial port has USB 0483:374b"):
        flash(built, FlashOptions(port="auto"))
    assert "no-check" in flash(built, FlashOptions(check=False)).sentence()


def test_of_two_boards_one_must_be_named(tools: Tools, built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenOCD would take the first that it meets."""
    tools.add("openocd")
    probes(monkeypatch, F746ZG, ("/dev/ttyACM0", "066A"), ("/dev/ttyACM1", "066B"))
    with pytest.raises(FlashError, match="2 of them are connected") as caught:
        flash(built, FlashOptions(check=False))
    assert "--probe 066B: /dev/ttyACM1" in caught.value.fix
    assert not tools.calls
    flash(built, FlashOptions(check=False, probe="066B"))
    assert "adapter serial 066B" in tools.calls[0]


@requires_package("esptool")
def test_esptool_never_looks_for_a_board_on_ports_of_others(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself it would try every serial port there is."""
    tools.add("esptool")
    board = load_board("esp32c3")
    elf = build(board, "zig", tmp_path / "c3").elf
    built = elf.parent
    images = write_images(board, elf, built)
    manifest = a_manifest(board="esp32c3", build_id=BUILD_ID, images=images)
    (built / "manifest.json").write_text(json.dumps(manifest.to_json()))
    probes(monkeypatch, board)
    with pytest.raises(DeviceError, match="no serial port has USB"):
        flash(built, FlashOptions(check=False))
    probes(monkeypatch, board, ("/dev/ttyUSB0", "01"), ("/dev/ttyUSB1", "02"))
    with pytest.raises(DeviceError, match="2 serial ports have USB"):
        flash(built, FlashOptions(check=False))
    assert not tools.calls
    flash(built, FlashOptions(check=False, port="auto:02"))
    probes(monkeypatch, board, ("/dev/ttyUSB0", "01"))
    flash(built, FlashOptions(check=False))
    assert [call[call.index("--port") + 1] for call in tools.calls] == ["/dev/ttyUSB1", "/dev/ttyUSB0"]


def test_dry_run_runs_nothing(tools: Tools, built: Path, no_ports: None) -> None:
    before = sorted(path.name for path in built.rglob("*"))
    tools.add("st-flash")
    result = flash(built, FlashOptions(dry_run=True))
    assert result.commands == [f"{tools.folder}/st-flash --reset write '{built}/firmware.bin' 0x08000000"]
    assert not tools.calls and sorted(path.name for path in built.rglob("*")) == before
    for method in ("openocd", "pyocd", "mass-storage", "platformio"):
        assert flash(built, FlashOptions(dry_run=True, method=method)).commands


def test_wrong_directories_are_refused(tools: Tools, built: Path, tmp_path: Path) -> None:
    tools.add("openocd")
    with pytest.raises(TinygenError, match="not a build directory"):
        flash(tmp_path, FlashOptions())
    with pytest.raises(TinygenError, match="holds firmware for f746zg, not for l4r5zi"):
        flash(built, FlashOptions(board="l4r5zi"))
    (built / "firmware.bin").write_bytes(b"another")
    with pytest.raises(FlashError, match="not that of"):
        flash(built, FlashOptions(board="f746zg"))
    manifest = json.loads((built / "manifest.json").read_text())
    (built / "manifest.json").write_text(json.dumps(manifest | {"board": "host"}))
    with pytest.raises(FlashError, match="for this computer"):
        flash(built, FlashOptions())
    (built / "manifest.json").write_text(json.dumps({key: manifest[key] for key in manifest if key != "images"}))
    with pytest.raises(FlashError, match="no images"):
        flash(built, FlashOptions())
    assert not tools.calls


def flashing(*arguments: str | Path, path: Path) -> Done:
    return tinygen("flash", *arguments, PATH=str(path))


def test_cli(tools: Tools, built: Path) -> None:
    tools.add("openocd", ("** Programming Started **\n", 0))
    dry = flashing(built, "--method", "openocd", "--dry-run", path=tools.folder)
    assert dry.returncode == 0
    assert dry.stdout.splitlines() == [
        f"{tools.folder}/openocd -f board/st_nucleo_f7.cfg -c 'program {{{built}/firmware.elf}} verify reset exit'"
    ]
    assert not tools.calls
    done = flashing(built, "--method", "openocd", "--no-check", path=tools.folder)
    assert (done.returncode, done.stderr) == (0, "** Programming Started **\n")
    assert "flashed by openocd" in done.stdout
    report = flashing(built, "--method", "openocd", "--no-check", "--no-verify", "--json", path=tools.folder)
    assert report.stderr == ""
    content = json.loads(report.stdout)
    assert content["flashed"] and content["method"] == "openocd" and content["build_id"] is None
    assert "verify" not in content["commands"][0]


def test_cli_errors(tools: Tools, built: Path, tmp_path: Path) -> None:
    tools.add("openocd", ("Error: open failed\n", 1))
    failed = flashing(built, "--method", "openocd", path=tools.folder)
    assert failed.returncode == 1 and "no debug probe" in failed.stderr and "Traceback" not in failed.stderr
    as_json = flashing(built, "--method", "openocd", "--json", path=tools.folder)
    assert as_json.returncode == 1
    assert "no debug probe" in json.loads(as_json.stdout)["error"]["what"]
    nowhere = flashing(tmp_path / "nowhere", path=tools.folder)
    assert nowhere.returncode == 1 and "manifest.json" in nowhere.stderr
    other = flashing(built, "--method", "jtag", path=tools.folder)
    assert other.returncode == 1 and "cannot be flashed by 'jtag'" in other.stderr


def test_the_tools_packages_are_extras(tmp_path: Path) -> None:
    """Nothing of ours imports them: what flashes is a command, and a core installation can do it."""
    modules = "tinygen.cli.app, tinygen.verbs.flash, tinygen.verbs.build, tinygen.verbs.doctor, tinygen.targets.images"
    extras = "{'pyocd', 'esptool', 'platformio', 'SCons'}"
    script = f"import sys, {modules}; print(sorted({extras} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_firmware_in_energy_mode_is_asked_at_its_rate(
    tools: Tools, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools.add("openocd")
    manifest = json.loads((built / "manifest.json").read_text())
    asked: list[int] = []
    monkeypatch.setattr(verb, "ask_build", lambda port, baud, build: asked.append(baud) or build)
    for mode in ("performance", "energy"):
        (built / "manifest.json").write_text(json.dumps(manifest | {"mode": mode}))
        flash(built, FlashOptions(port="/dev/ttyACM0"))
    assert asked == [115200, 9600]


def test_a_port_that_was_there_is_waited_for(tools: Tools, built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A board whose USB is its own goes away with its reset."""
    tools.add("openocd")
    there = iter([True, False, False, True])

    def find(board: Board, serial: str = "") -> ports.SerialPort:
        if next(there):
            return ports.SerialPort("/dev/ttyACM7")
        raise DeviceError("no serial port")

    monkeypatch.setattr(verb, "find_port", find)
    monkeypatch.setattr(verb, "ask_build", lambda port, baud, build: build)
    assert flash(built, FlashOptions()).port == "/dev/ttyACM7"
