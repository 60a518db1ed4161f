"""Which peripherals a board has: its part says so."""

from __future__ import annotations

from collections.abc import Callable

from tinygen.errors import BoardError
from tinygen.targets.board import Board
from tinygen.targets.emulator import esp32, stm32f4, stm32f7, stm32h7, stm32l4, stm32u5
from tinygen.targets.emulator.peripheral import Peripheral
from tinygen.targets.emulator.uart import CmsdkUart, Uart
from tinygen.targets.parts import part_of
from tinygen.targets.parts.others import An500, EspC3, EspC6
from tinygen.targets.parts.stm32f import StmF4, StmF7
from tinygen.targets.parts.stm32h7 import StmH7, StmU5
from tinygen.targets.parts.stm32l4 import StmL4


def board_peripherals(board: Board, clock: Callable[[], int]) -> tuple[list[Peripheral], Uart]:
    """The board's own peripherals (not the core's), and its UART.

    Args:
        clock: gives cycles since reset.

    Raises:
        BoardError: the board file has no UART or clock, or there is no model of its part.
    """
    if board.uart is None or board.clock is None:
        raise BoardError("an emulated board needs `uart` and `clock`", where=str(board.path))
    match part_of(board):
        case StmF4() as part:
            return stm32f4.peripherals(board, part, clock)
        case StmF7() as part:
            return stm32f7.peripherals(board, part, clock)
        case StmL4() as part:
            return stm32l4.peripherals(board, part, clock)
        case StmH7() as part:
            return stm32h7.peripherals(board, part, clock)
        case StmU5() as part:
            return stm32u5.peripherals(board, part, clock)
        case EspC3() | EspC6() as part:
            return esp32.peripherals(board, part, clock)
        case An500():
            uart, hz = board.uart, board.clock.hclk_hz
            serial = CmsdkUart(uart.instance, uart.base, 0x1000, baud=uart.baud, bus_hz=hz)
            return [serial], serial
        case part:
            raise BoardError(
                f"there are no register models of {part.name}",
                where=f"{board.path}: part",
                fix="Write `engine: none` under `emulator`.",
            )
