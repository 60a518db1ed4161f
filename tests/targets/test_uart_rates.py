"""Rates that a board's UART meets: what its driver sets on the emulated board, and what datasheets allow."""

from __future__ import annotations

import pytest

from tinygen.targets.boards import list_boards, load_board
from tinygen.targets.uart_rates import TOLERANCE, actual_rate, uart_rates

BOARDS = tuple(name for name in list_boards() if load_board(name).emulator.engine != "bare")


@pytest.mark.parametrize("name", BOARDS)
def test_every_board_meets_its_own_rate_and_the_fastest(name: str) -> None:
    rates = uart_rates(load_board(name))
    assert {9600, 115200, 921600} <= set(rates) and list(rates) == sorted(rates)


@pytest.mark.parametrize(
    ("board", "baud", "rate"),
    [
        # 54 MHz by 59, by 469: BRR of RM0385 31.8.4.
        ("f746zg", 921600, 54e6 / 59),
        ("f746zg", 115200, 54e6 / 469),
        # 25 MHz by 27: BAUDDIV of DDI 0479.
        ("mps2-an500", 921600, 25e6 / 27),
        # 40 MHz by 43 and 6/16.
        ("esp32c3", 921600, 40e6 / (43 + 6 / 16)),
        # LPUART: 256 times 16 MHz by 4444.
        ("l4r5zi", 921600, 256 * 16e6 / 4444),
    ],
)
def test_divisors(board: str, baud: int, rate: float) -> None:
    assert actual_rate(load_board(board), baud) == pytest.approx(rate, rel=1e-9)
    assert abs(rate - baud) <= TOLERANCE * baud
