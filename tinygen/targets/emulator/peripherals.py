"""Which peripherals a board has."""

from __future__ import annotations

from collections.abc import Callable

from tinygen.errors import BoardError
from tinygen.targets.board import Board
from tinygen.targets.emulator import esp32, stm32f4, stm32f7, stm32h7, stm32l4, stm32u5
from tinygen.targets.emulator.peripheral import Peripheral
from tinygen.targets.emulator.uart import CmsdkUart, Uart


def board_peripherals(board: Board, clock: Callable[[], int]) -> tuple[list[Peripheral], Uart]:
    """The board's own peripherals (not the core's), and its UART.

    Args:
        clock: gives cycles since reset.

    Raises:
        BoardError: the board file has no UART or clock, or there is no model of its family.
    """
    if board.uart is None or board.clock is None:
        raise BoardError("an emulated board needs `uart` and `clock`", where=str(board.path))
    families: tuple[tuple[str, Callable[..., tuple[list[Peripheral], Uart]]], ...] = (
        ("esp32", esp32.peripherals),
        ("stm32h7", stm32h7.peripherals),
        ("stm32l4", stm32l4.peripherals),
        ("stm32f7", stm32f7.peripherals),
        ("stm32f4", stm32f4.peripherals),
        ("stm32u5", stm32u5.peripherals),
    )
    for family, build in families:
        if any(source.startswith(f"firmware/{family}/") for source in board.sources):
            return build(board, clock)
    if "cmsdk-uart" in board.emulator.peripherals:
        uart = CmsdkUart(board.uart.instance, board.uart.base, 0x1000, baud=board.uart.baud, bus_hz=board.clock.hclk_hz)
        return [uart], uart
    raise BoardError(
        "there are no register models for this board",
        where=f"{board.path}: emulator.peripherals",
        fix="There are models of esp32c3, esp32c6, stm32f4, stm32f7, stm32h7, stm32l4, stm32u5 and cmsdk-uart; or run "
        "the board on QEMU.",
    )
