"""The usual rates that a board's UART can reach: divisors are whole, or have a few bits of fraction."""

from __future__ import annotations

from tinygen.targets.board import Board
from tinygen.targets.emulator.line import USUAL_RATES

TOLERANCE = 0.015
"""Rate error allowed at the other end, within a receiver's tolerance of 2 % or more (RM0385 31.4.5, table 197)."""
_ESP_XTAL_HZ = 40_000_000
_HSI16_HZ = 16_000_000
_ANY_CLOCK = ("esp32", "esp32s3")


def uart_rates(board: Board) -> tuple[int, ...]:
    """Rates in bits per second, ascending, that the firmware's divisor reaches within `TOLERANCE`."""
    if board.is_host or board.core in _ANY_CLOCK:
        return USUAL_RATES
    return tuple(rate for rate in USUAL_RATES if abs(actual_rate(board, rate) - rate) <= TOLERANCE * rate)


def actual_rate(board: Board, baud: int) -> float:
    """The actual rate of the firmware's driver for a requested one; 0 if the divisor is out of range."""
    assert board.uart is not None and board.clock is not None
    if board.esp_chip:
        # firmware/esp32/uart.c: a divider, and a divisor of 12 bits with 4 of fraction.
        divider = (_ESP_XTAL_HZ - 1) // (4095 * baud) + 1
        sixteenths = _ESP_XTAL_HZ // divider * 16 // baud
        return _ESP_XTAL_HZ / divider * 16 / sixteenths
    if board.uart.instance.startswith("LPUART"):
        # firmware/stm32/usart_v2.c, fed with HSI16; LPUART_BRR is at least 0x300 (RM0432 51.4.7).
        divisor = (_HSI16_HZ * 256 + baud // 2) // baud
        return _HSI16_HZ * 256 / divisor if 0x300 <= divisor < 1 << 20 else 0.0
    clock = board.clock
    bus = clock.hclk_hz // clock.axi_div // {"ahb": 1, "apb1": clock.apb1_div, "apb2": clock.apb2_div}[board.uart.bus]
    divisor = (bus + baud // 2) // baud
    return bus / divisor if 16 <= divisor < 1 << 16 else 0.0
