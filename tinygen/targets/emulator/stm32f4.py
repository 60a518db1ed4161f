"""STM32F4: F405 and F407 (RM0090), F411 (RM0383)."""

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
    Rcc,
    StmUart,
    pin_check,
    reset_ports,
)
from tinygen.targets.parts.stm32f import StmF4

_CR, _CSR = 0x00, 0x04
_VOSRDY = 1 << 14


@dataclass
class PwrF4(Peripheral):
    """Power control: voltage scale, no over-drive."""

    rcc: Rcc = field(kw_only=True)
    part: StmF4 = field(kw_only=True)

    def __post_init__(self) -> None:
        self.registers[_CR] = self.part.reset_vos << 14

    def read(self, offset: int) -> int:
        return super().read(offset) | (_VOSRDY if offset == _CSR else 0)

    def write(self, offset: int, value: int) -> None:
        if offset == _CR:
            vos = value >> 14 & 3
            if vos not in self.part.scales:
                raise Forbidden("PWR_CR", value, f"VOS = {vos} is reserved ({self.part.limits.power})")
            if vos != self.registers[_CR] >> 14 & 3 and self.rcc.pll_is_on():
                raise Forbidden("PWR_CR", value, f"VOS changed while the PLL is on ({self.part.limits.power})")
        super().write(offset, value)

    def voltage_scale(self) -> int:
        """1 is the highest voltage."""
        return self.part.scales[self.registers[_CR] >> 14 & 3]


@dataclass
class UsartF4(StmUart):
    """RM0090 chapter 30."""

    sends_at: int = 0x04

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


def peripherals(board: Board, part: StmF4, clock: Callable[[], int]) -> tuple[list[Peripheral], UsartF4]:
    """Peripherals of a board with that part, and its UART; `clock` gives cycles since reset."""
    assert board.clock is not None and board.uart is not None
    uart, limits = board.uart, part.limits
    rcc = Rcc(
        "RCC",
        RCC_BASE,
        limits=limits,
        hse_hz=board.clock.source_hz if board.clock.source == "hse" else 0,
        hse_bypass=board.clock.bypass,
        clock=clock,
    )
    # ICRST and DCRST only while ICEN and DCEN are 0.
    flash = Flash("FLASH", FLASH_BASE, resets=((11, 9), (12, 10)), manual=limits.flash)
    flash.changed = lambda value: rcc.check_clocks("FLASH_ACR", value)
    power = PwrF4("PWR", PWR_BASE, rcc=rcc, part=part, enabled=rcc.gate("apb1enr", 28), clock_rule=limits.tree)
    rcc.wait_states, rcc.voltage_scale = flash.wait_states, power.voltage_scale
    ports = reset_ports(rcc, part.ports, limits.tree)
    enable = uart.enable
    usart = UsartF4(
        uart.instance,
        uart.base,
        baud=uart.baud,
        bus_hz=lambda: rcc.bus_hz(uart.bus),
        manual=limits.usart,
        pin_ready=pin_check(board, ports),
        clock_rule=limits.tree,
        enabled=rcc.gate(enable.register, enable.bit) if enable else lambda: True,
    )
    return [rcc, flash, power, *ports, usart], usart
