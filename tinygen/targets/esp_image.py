"""The image that the boot ROM of an ESP32-C3 or -C6 loads, written and read back by esptool's own library.

It lies at offset 0 of flash, without a second boot loader: its header counts only the segments that the ROM copies into
RAM (esptool's `elf2image --ram-only-header`, as Zephyr's and NuttX's simple boot have it); what the firmware itself
maps, flash_map.c, lies behind them, at the offset in flash that its address has in the cache's window. Such an image
has a checksum but no SHA-256: the ROM could not know what it is of.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from tinygen.errors import ToolchainError
from tinygen.targets.board import Board, Memory

# How the ROM is to read flash: what esp-idf's own boot loader asks for on these boards.
_MODE, _FREQUENCY = "dio", "80m"
_WINDOW = 0x7FFFFF
_BEHIND = 16 + 8 + 8
"""Bytes between what the ROM loads and what is mapped, at least: a checksum, padding's header, a segment's header."""


def write_esp_image(board: Board, elf: Path, path: Path) -> None:
    """Writes the image of a firmware, and reads it back.

    Args:
        board: an ESP32-C3 or -C6.
        elf: linked for it.
        path: of the image.

    Raises:
        ToolchainError: esptool is not installed, refuses the firmware, or has written something else.
    """
    library = _library()
    in_ram, mapped = _parts(board, elf)
    image = library.CHIP_DEFS[board.esp_chip].BOOTLOADER_IMAGE()
    image.ram_only_header, image.append_digest = True, False
    with elf.open("rb") as file:
        image.entrypoint = int(ELFFile(file)["e_entry"])
    image.flash_mode = library.FLASH_MODES[_MODE]
    rom = image.ROM_LOADER
    image.flash_size_freq = rom.parse_flash_size_arg(f"{_flash_bytes(board) >> 20}MB")
    image.flash_size_freq += rom.parse_flash_freq_arg(_FREQUENCY)
    image.segments = [library.ELFSection(name.encode(), address, data, 0) for name, address, data in in_ram]
    image.segments.append(library.ELFSection(b"flash", board.link_flash.origin, mapped, 0))
    try:
        content = image.save(None)
    except library.FatalError as error:
        raise ToolchainError(f"esptool cannot make the image: {error}", where=str(elf)) from error
    check_esp_image(board, elf, bytes(content))
    path.write_bytes(content)


def check_esp_image(board: Board, elf: Path, content: bytes) -> None:
    """Compares an image with the firmware it is of: entry, segments in RAM, checksum, and what is mapped.

    Raises:
        ToolchainError: they differ, or it is no image of this chip.
    """
    library = _library()
    in_ram, mapped = _parts(board, elf)
    try:
        image = library.LoadFirmwareImage(board.esp_chip, content)
    except (library.FatalError, RuntimeError, IndexError, ValueError, struct.error) as error:
        raise ToolchainError(f"esptool cannot read the image back: {error}", where=str(elf)) from error
    with elf.open("rb") as file:
        entry = int(ELFFile(file)["e_entry"])
    offset = board.link_flash.origin & _WINDOW
    loaded = {segment.addr: bytes(segment.data) for segment in image.segments}
    wanted = {address: data + bytes(-len(data) % 4) for _, address, data in in_ram}
    end = max((segment.file_offs + len(segment.data) for segment in image.segments), default=0)
    for what, same in (
        ("entry point", image.entrypoint == entry),
        ("segments in RAM", loaded == wanted),
        ("checksum", image.checksum == image.calculate_checksum()),
        ("flash", content[offset : offset + len(mapped)] == mapped and end + _BEHIND <= offset),
    ):
        if not same:
            raise ToolchainError(f"the image has another {what} than the firmware", where=str(elf))


def _library() -> Any:
    """The parts of esptool in use, in one place: it is an optional dependency without types."""
    try:
        import esptool.bin_image
        import esptool.cmds
        import esptool.targets
        import esptool.util
    except ImportError as error:
        fix = "pip install 'tinygen[flash]'"
        raise ToolchainError("esptool, which makes images for ESP32 boards, is not installed", fix=fix) from error

    class Library:
        CHIP_DEFS = esptool.targets.CHIP_DEFS
        ELFSection = esptool.bin_image.ELFSection
        FLASH_MODES = esptool.cmds.FLASH_MODES
        FatalError = esptool.util.FatalError
        LoadFirmwareImage = staticmethod(esptool.bin_image.LoadFirmwareImage)

    return Library


def _flash_bytes(board: Board) -> int:
    flash = board.link_flash
    return (flash.origin & _WINDOW) + flash.size


def _parts(board: Board, elf: Path) -> tuple[list[tuple[str, int, bytes]], bytes]:
    """What the ROM loads: name, address, bytes; and what is mapped, from the first address of the board's flash on."""
    flash, in_ram, pieces = board.link_flash, [], []
    with elf.open("rb") as file:
        for segment in ELFFile(file).iter_segments("PT_LOAD"):
            if not segment["p_filesz"]:
                continue
            address, data = int(segment["p_vaddr"]), segment.data()
            offset = _offset(flash, address)
            if offset is None:
                in_ram.append((f"ram {address:#x}", address, data))
            else:
                pieces.append((offset, data))
    mapped = bytearray(max((offset + len(data) for offset, data in pieces), default=0))
    for offset, data in pieces:
        mapped[offset : offset + len(data)] = data
    return sorted(in_ram, key=lambda part: part[1]), bytes(mapped) + bytes(-len(mapped) % 4)


def _offset(flash: Memory, address: int) -> int | None:
    for origin in (flash.origin, *flash.aliases):
        if origin <= address < origin + flash.size:
            return address - origin
    return None
