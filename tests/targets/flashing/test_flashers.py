"""Command lines of the flashing tools, and what their complaints become."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.targets.flashing.complaints import COMPLAINTS
from tests.targets.flashing.doubles import Tools
from tests.targets.tools import requires_tool
from tinygen.errors import BoardError, FlashError
from tinygen.paths import resource
from tinygen.targets.board import Board, EspFlash, Flashing
from tinygen.targets.boards import list_boards, load_board
from tinygen.targets.flashing import FLASHERS, Job, choose, flashers_of, make_command
from tinygen.targets.flashing.runner import run_command

F746ZG = load_board("f746zg")
NETDUINO = load_board("netduinoplus2")
ESP32C3 = replace(F746ZG, name="c3", flashing=Flashing(("esptool",), esptool=EspFlash("esp32c3", 0)), platformio=None)
IMAGES = {"bin": "firmware.bin", "hex": "firmware.hex"}
FLASHER = {flasher.name: flasher for flasher in FLASHERS}
PYTHON = shlex.quote(sys.executable)


def job(board: Board = F746ZG, **more: object) -> Job:
    return Job(board, Path("out"), IMAGES, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "job", "commands"),
    [
        ("openocd", job(), ["openocd -f board/st_nucleo_f7.cfg -c 'program out/firmware.elf verify reset exit'"]),
        (
            "openocd",
            job(NETDUINO, verify=False, probe="066B"),
            [
                "openocd -f interface/stlink.cfg -f target/stm32f4x.cfg -c 'adapter serial 066B' "
                "-c 'program out/firmware.elf reset exit'"
            ],
        ),
        (
            "pyocd",
            job(probe="066B"),
            [
                f"{PYTHON} -m pyocd load --no-wait --target stm32f746zgtx --probe 066B out/firmware.elf",
                f"{PYTHON} -m pyocd commander --no-wait --target stm32f746zgtx --probe 066B --connect attach "
                """-c 'compare 0x08000000 "out/firmware.bin"'""",
            ],
        ),
        ("pyocd", job(verify=False), [f"{PYTHON} -m pyocd load --no-wait --target stm32f746zgtx out/firmware.elf"]),
        ("st-flash", job(), ["st-flash --reset write out/firmware.bin 0x08000000"]),
        ("st-flash", job(probe="06"), ["st-flash --reset --serial 06 write out/firmware.bin 0x08000000"]),
        ("dfu", job(NETDUINO), ["dfu-util -d 0483:df11 -a 0 -s 0x08000000:leave -D out/firmware.bin"]),
        ("dfu", job(NETDUINO, probe="2"), ["dfu-util -d 0483:df11 -S 2 -a 0 -s 0x08000000:leave -D out/firmware.bin"]),
        (
            "esptool",
            job(ESP32C3, port="/dev/ttyUSB0"),
            [f"{PYTHON} -m esptool --chip esp32c3 --port /dev/ttyUSB0 --baud 460800 write-flash 0x0 out/firmware.bin"],
        ),
        ("mass-storage", job(probe="/media/me/NODE"), ["cp out/firmware.bin /media/me/NODE/"]),
        (
            "platformio",
            job(port="/dev/ttyACM0"),
            [
                "mkdir -p out/.pio/build/f746zg",
                "cp out/firmware.elf out/firmware.bin out/.pio/build/f746zg",
                f"{PYTHON} -m platformio run --project-dir out --environment f746zg --upload-port /dev/ttyACM0 "
                "--target nobuild --disable-auto-clean --target upload",
            ],
        ),
    ],
)
def test_commands(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, job: Job, commands: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/firmware.elf").touch()
    for name in ("pyocd", "esptool", "platformio"):
        tools.add(name)
    assert FLASHER[method].shown(job) == commands


def test_a_blank_in_the_path_stays_one_word_for_tcl() -> None:
    (step,) = FLASHER["openocd"].plan(Job(F746ZG, Path("my build"), IMAGES))
    assert step.command[-1] == "program {my build/firmware.elf} verify reset exit"


def test_the_first_method_that_is_installed_is_taken(tools: Tools, built: Path) -> None:
    assert [f.name for f in flashers_of(F746ZG)] == ["openocd", "pyocd", "st-flash", "mass-storage", "platformio"]
    with pytest.raises(FlashError, match="none of the tools") as caught:
        choose(job(), None)
    for words in ("apt install openocd", "pip install 'tinygen[flash]'", "stlink-tools", "tinygen[platformio]"):
        assert words in caught.value.fix
    assert choose(job(), None, dry_run=True).name == "openocd"
    tools.add("platformio")
    with pytest.raises(FlashError, match="none of the tools"):
        choose(Job(F746ZG, built, IMAGES), None)  # no project for it stands there
    (built / "platformio.ini").touch()
    assert choose(Job(F746ZG, built, IMAGES), None).name == "platformio"
    for name in ("st-flash", "pyocd", "openocd"):
        tools.add(name)
        assert choose(job(), None).name == name
    assert choose(job(), "st-flash").name == "st-flash"


def test_a_method_that_the_board_does_not_have() -> None:
    with pytest.raises(FlashError, match="cannot be flashed by 'esptool'") as caught:
        choose(job(), "esptool")
    assert "openocd" in caught.value.fix
    with pytest.raises(FlashError, match="nothing can flash"):
        choose(job(load_board("mps2-an500")), None)


def test_a_tool_that_was_asked_for_and_is_not_installed(tools: Tools) -> None:
    with pytest.raises(FlashError, match="openocd is not installed") as caught:
        FLASHER["openocd"].flash(job(), echo=print)
    assert "apt install openocd" in caught.value.fix


BOARD_OF = {"dfu": NETDUINO, "esptool": ESP32C3}


@pytest.mark.parametrize("case", COMPLAINTS)
def test_what_a_tool_complains_of_becomes_advice(case: str, tools: Tools, built: Path) -> None:
    said = COMPLAINTS[case]
    method = case.partition(":")[0]
    (built / "platformio.ini").touch()
    tools.add(method, (said.text, said.status))
    shown: list[str] = []
    with pytest.raises(FlashError) as caught:
        FLASHER[method].flash(Job(BOARD_OF.get(method, F746ZG), built, IMAGES), shown.append)
    assert said.what in caught.value.what
    assert said.fix in caught.value.fix
    assert method in caught.value.where
    assert "".join(shown) == said.text
    assert len(tools.calls) == 1


def test_pyocd_compares_after_writing(tools: Tools, built: Path) -> None:
    tools.add("pyocd", ("Erased 8192 bytes\n", 0), ("Comparing 8208 bytes @ 0x08000000\nAll 8208 bytes match.\n", 0))
    FLASHER["pyocd"].flash(Job(F746ZG, built, IMAGES), echo=print)
    assert [call[1] for call in tools.calls] == ["load", "commander"]


def test_a_difference_that_pyocd_only_prints_is_an_error(tools: Tools, built: Path) -> None:
    """Its exit status is 0 then."""
    text = "Mismatched byte at 0x08000010 (offset 0x10): 0xff (memory) != 0x12 (file)\n"
    tools.add("pyocd", ("", 0), (text, 0))
    with pytest.raises(FlashError, match="something else") as caught:
        FLASHER["pyocd"].flash(Job(F746ZG, built, IMAGES), echo=print)
    assert "verifying" in caught.value.where


def test_a_chip_that_leaves_dfu_mode_at_once_was_flashed(tools: Tools, built: Path) -> None:
    text = "Download done.\nFile downloaded successfully\ndfu-util: Error during download get_status\n"
    tools.add("dfu", (text, 74))
    FLASHER["dfu"].flash(Job(NETDUINO, built, IMAGES), echo=print)


def test_dfu_util_that_ends_well_without_a_download_failed(tools: Tools, built: Path) -> None:
    tools.add("dfu", ("dfu-util 0.11\n", 0))
    with pytest.raises(FlashError):
        FLASHER["dfu"].flash(Job(NETDUINO, built, IMAGES), echo=print)


def test_platformio_uploads_the_firmware_of_the_build(tools: Tools, built: Path) -> None:
    tools.add("platformio", ("", 0))
    with pytest.raises(FlashError, match=r"no platformio\.ini"):
        FLASHER["platformio"].flash(Job(F746ZG, built, IMAGES), echo=print)
    assert not (built / ".pio").exists()
    (built / "platformio.ini").touch()
    FLASHER["platformio"].flash(Job(F746ZG, built, IMAGES), echo=print)
    for name in ("firmware.elf", "firmware.bin"):
        assert (built / ".pio/build/f746zg" / name).read_bytes() == (built / name).read_bytes()
    with pytest.raises(FlashError, match="which debug probe"):
        FLASHER["platformio"].flash(Job(F746ZG, built, IMAGES, probe="06"), echo=print)


def test_platformio_compiles_a_project_that_holds_sources_only(tools: Tools, tmp_path: Path) -> None:
    """As one for ESP-IDF does."""
    (tmp_path / "platformio.ini").touch()
    tools.add("platformio", ("", 0))
    project = Job(F746ZG, tmp_path, {})
    FLASHER["platformio"].flash(project, echo=print)
    words = ["run", "--project-dir", str(tmp_path), "--environment", "f746zg", "--target", "upload"]
    assert tools.calls == [["platformio", *words]]
    assert FLASHER["platformio"].shown(project) == [shlex.join([sys.executable, "-m", "platformio", *words])]
    assert not (tmp_path / ".pio").exists()


def test_a_tool_that_hangs_is_ended(tmp_path: Path) -> None:
    script = "import time; print('Waiting for a debug probe', flush=True); time.sleep(600)"
    with pytest.raises(FlashError, match="did not end within 1 s"):
        run_command([sys.executable, "-c", script], print, seconds=1)


def test_a_tool_gets_no_keyboard() -> None:
    outcome = run_command([sys.executable, "-c", "input('Enter the number> ')"], print)
    assert outcome.status != 0 and "EOFError" in outcome.text


def test_colours_and_progress_bars_are_no_part_of_the_message() -> None:
    script = r"import sys; sys.stdout.write('\x1b[31mError\x1b[0m: bad\r[=  ]\r[== ]\r\n\n'); sys.exit(1)"
    outcome = run_command([sys.executable, "-c", script], lambda text: None)
    assert outcome.last_line == "[== ]" and "Error: bad" in outcome.text


def test_an_interruption_ends_the_tool_and_what_it_started(tmp_path: Path) -> None:
    """pio starts SCons, which starts OpenOCD."""

    def interrupt(text: str) -> None:
        raise KeyboardInterrupt

    pids = tmp_path / "pids"
    script = f"sleep 600 & echo $! $$ > '{pids}'; echo started; wait"
    with pytest.raises(KeyboardInterrupt):
        run_command(["/bin/sh", "-c", script], interrupt)
    for pid in map(int, pids.read_text().split()):
        for _ in range(200):  # who has lost its parent is reaped by another process, when that comes to it
            if not alive(pid):
                break
            time.sleep(0.05)
        assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_late_tool_that_started_another_is_ended_too() -> None:
    with pytest.raises(FlashError, match="did not end within 1 s"):
        run_command(["/bin/sh", "-c", "sleep 600 & wait"], print, seconds=1)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("volume: NODE_F746ZG", "", "the key is missing, and mass-storage needs it"),
        ("openocd: board/st_nucleo_f7.cfg", "", "openocd needs it"),
        ("st-flash, ", "esptool, ", "esptool needs it"),
        ("st-flash, ", "jlink, ", "'jlink' does not belong"),
        ("st-flash, ", "esptool, ", "esptool needs it"),
        ("volume: NODE_F746ZG", "volume: NODE\n  esptool: {chip: esp32, address: -1}", "out of range"),
    ],
)
def test_a_method_needs_its_key_in_the_board_file(tmp_path: Path, old: str, new: str, what: str) -> None:
    text = (resource("boards") / "f746zg.yaml").read_text()
    assert old in text
    (tmp_path / "mine.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(BoardError) as caught:
        load_board(tmp_path / "mine.yaml")
    assert what in caught.value.what


def test_every_flasher_says_how_to_get_it_and_every_board_can_be_flashed() -> None:
    for flasher in FLASHERS:
        assert flasher.get and flasher.boards
    for name in list_boards():
        board = load_board(name)
        assert not board.flashing.methods or flashers_of(board), name


@requires_tool("make")
def test_make_flash_runs_the_boards_first_tool_that_takes_an_elf(tools: Tools, built: Path) -> None:
    """-o: firmware.elf counts as built."""
    make = shutil.which("make", path=os.defpath)
    tools.add("openocd")
    command = [make or "make", "-o", "firmware.elf", "-C", built, "flash"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert tools.calls == [["openocd", "-f", "board/st_nucleo_f7.cfg", "-c", "program firmware.elf verify reset exit"]]
    assert make_command(NETDUINO).startswith("openocd -f interface/stlink.cfg -f target/stm32f4x.cfg")
    assert make_command(load_board("host")) == ""
