"""Images for ESP32-C3 and -C6: made and read by esptool's library, compared with the ELF; an emulated boot ROM loads
one and the firmware runs from it."""

from __future__ import annotations

import builtins
import struct
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from tests.targets.build import build, model_with_invoke
from tinygen.errors import ToolchainError
from tinygen.hil.client import DeviceClient
from tinygen.targets.boards import load_board
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.esp_image import check_esp_image, write_esp_image

CHIPS = ("esp32c3", "esp32c6")
# Initialised data, so that there are two segments for the ROM to load.
MODEL = model_with_invoke(
    "static volatile uint8_t start[5] = {9, 8, 7, 6, 5};",
    "    for (uint32_t i = 0U; i < 5U; i++) { static_arena.bytes[COUNT + i] = (int8_t)start[i]; }",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, bytes]]:
    pytest.importorskip("esptool")
    found = {}
    for chip in CHIPS:
        folder = tmp_path_factory.mktemp(chip)
        elf = build(load_board(chip), "zig", folder, MODEL).elf
        write_esp_image(load_board(chip), elf, folder / "firmware.bin")
        found[chip] = elf, (folder / "firmware.bin").read_bytes()
    return found


@pytest.mark.parametrize("chip", CHIPS)
def test_header(built: dict[str, tuple[Path, bytes]], chip: str) -> None:
    """esp-idf, esp_app_format.h: magic, segments, mode DIO = 2, size and speed, entry, chip id."""
    elf, content = built[chip]
    magic, segments, mode, size_and_speed, entry = struct.unpack("<BBBBL", content[:8])
    chip_id = int.from_bytes(content[12:14], "little")
    with elf.open("rb") as file:
        assert entry == ELFFile(file)["e_entry"]
    assert (magic, segments, mode, chip_id) == (0xE9, 2, 2, {"esp32c3": 5, "esp32c6": 13}[chip])
    assert size_and_speed >> 4 == {"esp32c3": 2, "esp32c6": 3}[chip]  # 4 and 8 Mbytes
    # 80 MHz; the C6's ROM takes 0 for it (esptool, targets/esp32c6.py).
    assert size_and_speed & 15 == {"esp32c3": 15, "esp32c6": 0}[chip]
    assert content[23] == 0  # no SHA-256


@pytest.mark.parametrize("chip", CHIPS)
def test_the_firmware_runs_from_its_image(built: dict[str, tuple[Path, bytes]], chip: str) -> None:
    """What the ELF has put into the emulated memories is wiped; then a boot ROM of a few lines loads the image."""
    elf, content = built[chip]
    board = load_board(chip)
    emulated = EmulatedBoard(board, elf)
    flash, ram = board.link_flash, board.link_ram
    emulated.memories.write(flash.origin, b"\xff" * flash.size)
    emulated.memories.write(ram.origin, b"\xa5" * ram.size)
    place = 24
    for _ in range(content[1]):
        address, size = struct.unpack("<LL", content[place : place + 8])
        emulated.memories.write(address, content[place + 8 : place + 8 + size])
        place += 8 + size
    emulated.memories.write(flash.origin, content[0x10000:])
    emulated._pc = int.from_bytes(content[4:8], "little")
    client = DeviceClient(emulated)
    client.wait_for_boot()
    client.load(0, bytes(16))
    client.run()
    assert client.read(0)[:5] == bytes([9, 8, 7, 6, 5])


@pytest.mark.parametrize(
    ("place", "what"),
    [
        (0, "cannot read the image back"),
        (4, "entry point"),
        (24, "segments in RAM"),
        (60, "segments in RAM"),
        (0x10010, "flash"),
    ],
)
@pytest.mark.parametrize("chip", CHIPS)
def test_a_damaged_image_is_found_out(built: dict[str, tuple[Path, bytes]], chip: str, place: int, what: str) -> None:
    elf, content = built[chip]
    damaged = bytearray(content)
    damaged[place] ^= 1
    with pytest.raises(ToolchainError, match=what):
        check_esp_image(load_board(chip), elf, bytes(damaged))


def test_without_esptool_it_says_what_is_missing(
    built: dict[str, tuple[Path, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("esptool"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ToolchainError, match="esptool, which makes images for ESP32 boards") as caught:
        write_esp_image(load_board("esp32c3"), built["esp32c3"][0], tmp_path / "x.bin")
    assert "tinygen[flash]" in caught.value.fix and not (tmp_path / "x.bin").exists()
