"""The files that get flashed, made from a firmware's ELF.

An image holds what the ELF's loadable segments hold, at their load addresses, which are where flash keeps them: `.data`
lies behind the code, and start-up copies it into RAM.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from elftools.elf.elffile import ELFFile
from intelhex import IntelHex, IntelHexError

from tinygen.errors import FlashError, ToolchainError
from tinygen.targets.board import Board
from tinygen.targets.esp_image import check_esp_image, write_esp_image
from tinygen.targets.toolchain import flash_image

BIN, HEX = "bin", "hex"
_NAMES = {BIN: "firmware.bin", HEX: "firmware.hex"}
ESPTOOL_HELP = "pip install 'tinygen[flash]' brings esptool, which makes them; then build again."


def write_images(board: Board, elf: Path, folder: Path) -> dict[str, str]:
    """Writes the images of a firmware; gives their names in `folder` by kind, for the manifest.

    firmware.bin begins with the first byte of the board's flash, and gaps are 0xFF, as erased flash is; firmware.hex
    (Intel HEX) has addresses and no gaps. An ESP32's firmware.bin has the format that its ROM boots; only esptool makes
    it, and without esptool there is none.

    Args:
        board: what the ELF was linked for.
        elf: the firmware.
        folder: where the images go.

    Raises:
        ToolchainError: nothing is linked into the board's flash.
    """
    if board.is_host:
        return {}
    if board.flashing.esptool:
        return _write_esp_image(board, elf, folder)
    (folder / _NAMES[BIN]).write_bytes(flash_image(elf, board.link_flash.origin))
    with (folder / _NAMES[HEX]).open("w", encoding="ascii", newline="\n") as file:
        _intel_hex(elf).write_hex_file(file)
    return dict(_NAMES)


def _write_esp_image(board: Board, elf: Path, folder: Path) -> dict[str, str]:
    if not _has_esptool():
        return {}
    write_esp_image(board, elf, folder / _NAMES[BIN])
    return {BIN: _NAMES[BIN]}


def _intel_hex(elf: Path) -> IntelHex:
    """The loadable segments as Intel HEX, and the program's entry point."""
    content = IntelHex()
    with elf.open("rb") as file:
        program = ELFFile(file)
        for segment in program.iter_segments("PT_LOAD"):
            if segment["p_filesz"]:
                content.frombytes(segment.data(), offset=segment["p_paddr"])
        content.start_addr = {"EIP": program["e_entry"]}
    return content


def check_images(board: Board, elf: Path, folder: Path, images: Mapping[str, str]) -> None:
    """Makes sure that the images are those of the ELF, which is what was tested: it may have been rebuilt since.

    Raises:
        FlashError: an image is missing, damaged, or another program's.
    """
    if not images:
        fix = ESPTOOL_HELP if board.flashing.esptool else "Build it again."
        raise FlashError("this build has no images to flash", where=str(folder), fix=fix)
    for kind, name in images.items():
        path = folder / name
        if not path.is_file():
            raise FlashError("the image is missing", where=str(path), fix="Build it again.")
        if not _holds(kind, path, elf, board):
            raise FlashError(f"the image is not that of {elf.name}", where=str(path), fix="Build it again.")


def _has_esptool() -> bool:
    return importlib.util.find_spec("esptool") is not None


def _holds(kind: str, path: Path, elf: Path, board: Board) -> bool:
    if board.flashing.esptool:
        return not _has_esptool() or _is_esp_image(path, elf, board)
    if kind == BIN:
        return path.read_bytes() == flash_image(elf, board.link_flash.origin)
    try:
        return bool(IntelHex(str(path)).todict() == _intel_hex(elf).todict())
    except (IntelHexError, UnicodeDecodeError):
        return False


def _is_esp_image(path: Path, elf: Path, board: Board) -> bool:
    try:
        check_esp_image(board, elf, path.read_bytes())
    except ToolchainError:
        return False
    return True
