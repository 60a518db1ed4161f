"""STM32F7: F74x and F75x (RM0385), F76x and F77x (RM0410), which are the same in what is used here."""

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
from tinygen.targets.emulator.stm32_sound import microphone_peripherals
from tinygen.targets.parts.stm32f import StmF7

_CR1, _CSR1 = 0x00, 0x04
_ODEN, _ODSWEN, _VOS = 1 << 16, 1 << 17, 3 << 14
_SECONDS = 40e-6


@dataclass
class PwrF7(Peripheral):
    """Power control with over-drive (RM0385 4.1.4 and 4.4)."""

    rcc: Rcc = field(kw_only=True)
    clock: Callable[[], int] = lambda: 0
    registers: dict[int, int] = field(default_factory=lambda: {_CR1: 0xC000})
    _ready_at: dict[int, int] = field(default_factory=dict, init=False)

    def read(self, offset: int) -> int:
        if offset != _CSR1:
            return super().read(offset)
        # ODRDY and ODSWRDY stand at the places of ODEN and ODSWEN; VOSRDY at bit 14.
        drive = sum(bit for bit in (_ODEN, _ODSWEN) if self._ready(bit))
        return super().read(offset) & ~(_ODEN | _ODSWEN) | drive | 1 << 14

    def write(self, offset: int, value: int) -> None:
        if offset == _CR1:
            self._check(value)
            before = self.registers[_CR1]
            for bit in (_ODEN, _ODSWEN):
                if value & ~before & bit:
                    self._ready_at[bit] = self.clock() + int(_SECONDS * self.rcc.hclk_hz())
        super().write(offset, value)
        if offset == _CR1:
            self.rcc.check_clocks("PWR_CR1", value)

    def _check(self, value: int) -> None:
        changed, where = value ^ self.registers[_CR1], self.rcc.limits.power
        if changed & _VOS and self.rcc.pll_is_on():
            raise Forbidden("PWR_CR1", value, f"VOS changed while the PLL is on ({where})")
        if value & _VOS == 0:
            raise Forbidden("PWR_CR1", value, f"VOS = 0 is reserved ({where})")
        if changed & (_ODEN | _ODSWEN) and self.rcc.uses_pll():
            raise Forbidden("PWR_CR1", value, f"over-drive switched while the PLL drives the core ({where})")
        if changed & value & _ODSWEN and not self._ready(_ODEN):
            raise Forbidden("PWR_CR1", value, f"ODSWEN set before ODRDY ({where})")

    def _ready(self, bit: int) -> bool:
        return bool(self.registers[_CR1] & bit) and self.clock() >= self._ready_at.get(bit, 0)

    def over_drive(self) -> bool:
        """Whether over-drive is on and switched."""
        return self._ready(_ODEN) and self._ready(_ODSWEN)

    def voltage_scale(self) -> int:
        """1 to 3."""
        return 4 - (self.registers[_CR1] >> 14 & 3)


@dataclass
class UsartF7(StmUart):
    """RM0385 chapter 31."""

    sends_at: int = 0x28

    def read(self, offset: int) -> int:
        if offset == 0x1C:  # ISR: TEACK, REACK, TXE, TC, RXNE
            return (1 << 22) | (1 << 21) | (1 << 7) | (1 << 6) | (int(self.waiting()) << 5)
        if offset == 0x24:  # RDR
            self.check_line("RX", 0b0101)
            return self.take()
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        if offset == 0x28:  # TDR
            self.check_line("TX", 0b1001)
            self.give(value)
            return
        if offset == 0x0C and self.registers.get(0x00, 0) & 1:
            raise Forbidden(f"{self.name}_BRR", value, f"may be written only while UE is 0 ({self.manual})")
        super().write(offset, value)

    def settings(self) -> tuple[int, int, int]:
        return self.registers.get(0x00, 0), self.registers.get(0x04, 0), self.registers.get(0x0C, 0)


def peripherals(board: Board, part: StmF7, clock: Callable[[], int]) -> tuple[list[Peripheral], UsartF7]:
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
    # ARTRST only while ARTEN is 0.
    flash = Flash("FLASH", FLASH_BASE, resets=((11, 9),), manual=limits.flash)
    flash.changed = lambda value: rcc.check_clocks("FLASH_ACR", value)
    power = PwrF7("PWR", PWR_BASE, rcc=rcc, clock=clock, enabled=rcc.gate("apb1enr", 28), clock_rule=limits.tree)
    rcc.wait_states, rcc.over_drive, rcc.voltage_scale = flash.wait_states, power.over_drive, power.voltage_scale
    ports = reset_ports(rcc, part.ports, limits.tree)
    enable = uart.enable
    usart = UsartF7(
        uart.instance,
        uart.base,
        baud=uart.baud,
        bus_hz=lambda: rcc.bus_hz(uart.bus),
        manual=limits.usart,
        pin_ready=pin_check(board, ports),
        clock_rule=limits.tree,
        enabled=rcc.gate(enable.register, enable.bit) if enable else lambda: True,
    )
    return [rcc, flash, power, *ports, usart, *microphone_peripherals(board, rcc, ports, clock)], usart
