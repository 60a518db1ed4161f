"""STM32F405 and F407 (RM0090; limits in DS8626 table 14)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tinygen.targets.board import Board
from tinygen.targets.emulator.peripheral import Forbidden, Peripheral
from tinygen.targets.emulator.stm32 import (
    FLASH_BASE,
    PWR_BASE,
    RCC_BASE,
    Flash,
    Limits,
    Rcc,
    StmUart,
    pin_check,
    reset_ports,
)

LIMITS = Limits(
    tree="RM0090 7.3",
    buses="RM0090 5.4.1; DS8626 table 14",
    waits="RM0090 table 10",
    usart="RM0090 30.6",
    core={(1, False): 168_000_000, (2, False): 144_000_000},
    apb1={False: 42_000_000},
    apb2={False: 84_000_000},
    pll_out=168_000_000,
)
_CR, _CSR = 0x00, 0x04
_VOS = 1 << 14


@dataclass
class PwrF4(Peripheral):
    """Power control (RM0090 5.4.1): one bit of voltage scale, no over-drive."""

    rcc: Rcc = field(kw_only=True)
    registers: dict[int, int] = field(default_factory=lambda: {_CR: _VOS})

    def read(self, offset: int) -> int:
        return super().read(offset) | (_VOS if offset == _CSR else 0)

    def write(self, offset: int, value: int) -> None:
        if offset == _CR and (value ^ self.registers[_CR]) & _VOS and self.rcc.pll_is_on():
            raise Forbidden("PWR_CR", value, "VOS changed while the PLL is on (RM0090 5.4.1)")
        super().write(offset, value)

    def voltage_scale(self) -> int:
        """1 or 2."""
        return 1 if self.registers[_CR] & _VOS else 2


@dataclass
class UsartF4(StmUart):
    """RM0090 chapter 30."""

    def read(self, offset: int) -> int:
        if offset == 0x00:  # SR: TXE, TC, RXNE
            return (1 << 7) | (1 << 6) | (int(self.waiting()) << 5)
        if offset == 0x04:  # DR
            self.check_line("RX", 0x2004)
            return self.take()
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        if offset == 0x04:
            self.check_line("TX", 0x2008)
            self.give(value)
            return
        super().write(offset, value)

    def settings(self) -> tuple[int, int, int]:
        return self.registers.get(0x0C, 0), self.registers.get(0x10, 0), self.registers.get(0x08, 0)


def peripherals(board: Board, clock: Callable[[], int]) -> tuple[list[Peripheral], UsartF4]:
    """Those of an F4 board, and its UART; `clock` gives cycles since reset."""
    assert board.clock is not None and board.uart is not None
    uart = board.uart
    rcc = Rcc(
        "RCC", RCC_BASE, limits=LIMITS, hse_hz=board.clock.source_hz if board.clock.source == "hse" else 0,
        hse_bypass=board.clock.bypass, clock=clock,
    )  # fmt: skip
    # ICRST and DCRST only while ICEN and DCEN are 0: RM0090 3.9.1.
    flash = Flash("FLASH", FLASH_BASE, resets=((11, 9), (12, 10)), manual="RM0090 3.9.1")
    flash.changed = lambda value: rcc.check_clocks("FLASH_ACR", value)
    power = PwrF4("PWR", PWR_BASE, rcc=rcc, enabled=rcc.gate("apb1enr", 28), clock_rule="RM0090 7.3.13")
    rcc.wait_states, rcc.voltage_scale = flash.wait_states, power.voltage_scale
    ports = reset_ports(rcc, 9, "RM0090 7.3.10")
    enable = uart.enable
    usart = UsartF4(
        uart.instance, uart.base, baud=uart.baud, bus_hz=lambda: rcc.bus_hz(uart.bus), manual=LIMITS.usart,
        pin_ready=pin_check(board, ports), clock_rule="RM0090 7.3.13",
        enabled=rcc.gate(enable.register, enable.bit) if enable else lambda: True,
    )  # fmt: skip
    return [rcc, flash, power, *ports, usart], usart
