"""labwired's boards: independently written models of CPU, clocks and UART, as a cross-check. (MIT licence; an extra.)

Its chips are taken as they come, but for what `_adapt` says: peripherals that the firmware does not touch are left out,
since labwired asks each of them at every step, and the board's own UART is of the kind that the chip has.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tinygen.errors import BoardError, ToolchainError
from tinygen.targets.board import Board
from tinygen.targets.parts import find_part
from tinygen.targets.parts.stm32f import StmF4

_KEPT = ("rcc", "pwr", "flash", "gpio", "systick", "dbgmcu", "icache")
_ESP32_DROPPED = ("spi2", "ledc", "rmt", "i2c0", "uart1", "timg1", "usb", "twai", "i2s", "wifi", "ble", "radio")
_ESP32C3_AS_MEMORY = {"mmu": 0x600C5000, "i2c_mst": 0x6000E000}
"""Parts that its model lacks: the table of flash's pages, and the master of the analogue bus."""


def require_labwired(board: Board) -> None:
    """Raises:
    BoardError: labwired does not model the board's chip, or not far enough.
    ToolchainError: it is not installed.
    """
    if not board.emulator.labwired_chip:
        raise BoardError(
            f"labwired has no chip like that of {board.name}",
            where=f"{board.path}: emulator.labwired_chip",
            fix="Name labwired's chip there, or leave --port out: the board's own emulator is used then.",
        )
    if importlib.util.find_spec("labwired") is None:
        raise ToolchainError("labwired is not installed", fix="pip install 'tinygen[labwired]'")


def labwired_system(board: Board, folder: Path) -> Path:
    """Writes labwired's description of the board, which `labwired.Sim` takes as `system`.

    Args:
        folder: for its two files; it must stay while the board runs.

    Raises:
        BoardError, ToolchainError: see `require_labwired`.
    """
    require_labwired(board)
    found = importlib.util.find_spec("labwired")
    assert found is not None and found.origin is not None
    source = Path(found.origin).parent / "configs" / "chips" / f"{board.emulator.labwired_chip}.yaml"
    if not source.is_file():
        fix = "pip install -U 'tinygen[labwired]'"
        raise ToolchainError(f"labwired has no chip {board.emulator.labwired_chip}", where=str(source.parent), fix=fix)
    chip = yaml.safe_load(source.read_text(encoding="utf-8"))
    _adapt(chip, board, source.parent)
    (folder / "chip.yaml").write_text(yaml.safe_dump(chip), encoding="utf-8")
    system = {"name": board.name, "chip": str(folder / "chip.yaml"), "external_devices": [], "board_io": []}
    (folder / "system.yaml").write_text(yaml.safe_dump(system), encoding="utf-8")
    return folder / "system.yaml"


def labwired_uart(board: Board) -> str:
    """The name of the board's UART in `labwired_system`."""
    assert board.uart is not None
    return board.uart.instance.lower()


def _adapt(chip: dict[str, Any], board: Board, source: Path) -> None:
    assert board.uart is not None
    is_esp = board.core.startswith("esp32")
    kept = [p for p in chip["peripherals"] if _is_used(p, board, is_esp)]
    for peripheral in kept:
        config = peripheral.setdefault("config", {})
        for key in ("path", "debug_schema"):
            if key in config:
                config[key] = str((source / config[key]).resolve())
    uart = next((p for p in kept if p["base_address"] == board.uart.base), None)
    if uart is None:
        uart = {"type": "uart", "base_address": board.uart.base, "size": "1KB", "config": {}}
        kept.append(uart)
    uart["id"] = labwired_uart(board)
    if not is_esp and not isinstance(find_part(board.part), StmF4):
        uart["config"]["profile"] = "stm32v2"  # USARTs with ISR, RDR and TDR; those of STM32F4 have SR and DR (RM0090)
    chip["peripherals"] = kept
    chip.pop("pins", None)
    if board.core == "esp32c3":
        chip["memory_regions"] += [{"name": n, "base": base, "size": "2KB"} for n, base in _ESP32C3_AS_MEMORY.items()]


def _is_used(peripheral: dict[str, Any], board: Board, is_esp: bool) -> bool:
    assert board.uart is not None
    if peripheral["base_address"] == board.uart.base:
        return True
    if is_esp:
        return not str(peripheral["id"]).startswith(_ESP32_DROPPED)
    return str(peripheral["id"]).startswith(_KEPT)


@contextmanager
def boot_rom(board: Board, folder: Path) -> Iterator[None]:
    """Replaces the vendor's boot ROM that labwired looks for by one with stand-ins for the functions that our firmware
    calls.
    """
    if board.core != "esp32c3":
        yield
        return
    path = folder / "rom.bin"
    path.write_bytes(_esp32c3_rom())
    before = os.environ.get("LABWIRED_ESP32C3_ROM")
    os.environ["LABWIRED_ESP32C3_ROM"] = str(path)
    try:
        yield
    finally:
        if before is None:
            del os.environ["LABWIRED_ESP32C3_ROM"]
        else:
            os.environ["LABWIRED_ESP32C3_ROM"] = before


def _esp32c3_rom() -> bytes:
    """Functions that switch the cache return at once: labwired always shows flash. Registers behind the analogue bus
    are bytes in the part of RAM that is the boot ROM's: 0x3FCDE000, 256 of each of 16 blocks.
    """
    ret = 0x8067
    index = [0x00F57513, 0x00851513, 0x00C50533, 0x3FCDE2B7, 0x00A282B3]  # t0 = base + (a0 & 15) * 256 + a2
    functions = {
        0x051C: [0x513, ret],  # a0 = 0
        0x0520: [ret],
        0x1954: [*index, 0x0002C503, ret],  # lbu a0, 0(t0)
        0x195C: [*index, 0x00D28023, ret],  # sb a3, 0(t0)
    }
    rom = bytearray(0x60000)
    code = 0x2000
    for entry, words in functions.items():
        jump = code - entry
        rom[entry : entry + 4] = (0x6F | (jump >> 11 & 1) << 20 | (jump >> 1 & 0x3FF) << 21 | jump & 0xFF000).to_bytes(
            4, "little"
        )
        for word in words:
            rom[code : code + 4] = word.to_bytes(4, "little")
            code += 4
    return bytes(rom)
