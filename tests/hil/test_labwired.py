"""The same firmware on labwired, an emulator that this project did not write: it boots, and answers bit for bit."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from tests.hil.faulty import MODEL, digits_on
from tests.support.models import KWS, needs_models
from tests.targets.tools import requires_package
from tinygen.errors import BoardError, ToolchainError
from tinygen.hil.device import Device
from tinygen.targets.boards import list_boards, load_board
from tinygen.targets.labwired import require_labwired
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.hil import HilOptions, hil

# What the core runs at. 16 and 4 MHz: labwired lacks a flag that the firmware waits for, docs/testing.md.
BOARDS = {
    "disco-f746ng": 16_000_000,
    "esp32c3": 160_000_000,
    "f411re": 100_000_000,
    "f746zg": 16_000_000,
    "f767zi": 16_000_000,
    "g474re": 170_000_000,
    "l476rg": 80_000_000,
    "netduinoplus2": 168_000_000,
    "u575zi-q": 4_000_000,
}


def checks(folder: Path) -> dict[str, str]:
    report = hil(folder, HilOptions(port="labwired", limit=1))
    assert report.content["device"]["engine"] == "labwired"
    return {check["name"]: check["status"] for check in report.content["checks"]}


def test_every_board_that_names_a_chip_is_tried() -> None:
    named = {name for name in list_boards() if load_board(name).emulator.labwired_chip}
    assert named == set(BOARDS)


def test_a_board_that_it_does_not_model() -> None:
    with pytest.raises(BoardError, match="labwired has no chip like that of h743zi"):
        require_labwired(load_board("h743zi"))


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ToolchainError, match="labwired is not installed"):
        require_labwired(load_board("l476rg"))


@pytest.mark.long
@requires_package("labwired")
@pytest.mark.parametrize("board", BOARDS)
def test_digits(board: str, tmp_path: Path) -> None:
    # Tuned kernels for Cortex-M4 and later take an instruction that labwired lacks: see below.
    kernels = "tinygen" if board == "esp32c3" else "reference"
    found = checks(build(MODEL, tmp_path / board, BuildOptions(board=board, kernels=kernels), profile=False).folder)
    full = BOARDS[board] == load_board(board).core_hz
    assert found.pop("clock") == ("passed" if full else "failed")
    assert set(found.values()) == {"passed"}
    with Device(tmp_path / board, port="labwired") as device:
        assert device.info is not None and device.info.clock_hz == BOARDS[board]
        assert device.name == f"{board}-labwired" and device.cycles_source == ""


@pytest.mark.long
@needs_models
@requires_package("labwired")
def test_keyword_spotting(tmp_path: Path) -> None:
    folder = build(KWS, tmp_path / "kws", BuildOptions(board="esp32c3"), profile=False).folder
    assert set(checks(folder).values()) == {"passed"}


@pytest.mark.long
@requires_package("labwired")
def test_the_instruction_that_it_lacks(tmp_path: Path) -> None:
    """SSAT with ASR (DDI 0403E, A7.7.152): when labwired has it, the boards above can run the tuned kernels."""
    report = hil(digits_on("l476rg", tmp_path), HilOptions(port="labwired", limit=1))
    stopped = next(check["message"] for check in report.content["checks"] if check["name"] == "results")
    address = re.search(r"the firmware says fault: usage pc=([0-9a-f]{8}) .* cfsr=00010000", stopped)
    assert address is not None, stopped
    with (tmp_path / "l476rg" / "firmware.elf").open("rb") as file:
        text = ELFFile(file).get_section_by_name(".text")
        at = int(address.group(1), 16) - text["sh_addr"]
        first, second = struct.unpack_from("<HH", text.data(), at)
    assert first & 0xFFF0 == 0xF320 and second & 0x8020 == 0
