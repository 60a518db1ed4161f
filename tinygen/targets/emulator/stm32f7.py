"""STM32F74x and F75x (RM0385; limits in DS10916 table 17), and F76x and F77x.

What is used here is the same in RM0410 (F76x, F77x), and the limits are in DS11532 and stm32f7xx_ll_utils.c; the
sections named are RM0385's.
"""

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
    every,
    pin_check,
    reset_ports,
)
from tinygen.targets.emulator.stm32_sound import microphone_peripherals

LIMITS = Limits(
    tree="RM0385 5.3",
    buses="RM0385 4.1.4; DS10916 table 17",
    waits="RM0385 table 7",
    flash="RM0385 3.7.1",
    usart="RM0385 31.8",
    core={
        (1, False): 180_000_000,
        (1, True): 216_000_000,
        (2, False): 168_000_000,
        (2, True): 180_000_000,
        (3, False): 144_000_000,
        (3, True): 144_000_000,
    },
    apb1={False: 45_000_000, True: 54_000_000},
    apb2={False: 90_000_000, True: 108_000_000},
    pll_out=216_000_000,
    wait_states=every(30_000_000, 8),
)
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
        changed = value ^ self.registers[_CR1]
        if changed & _VOS and self.rcc.pll_is_on():
            raise Forbidden("PWR_CR1", value, "VOS changed while the PLL is on (RM0385 4.4.1)")
        if value & _VOS == 0:
            raise Forbidden("PWR_CR1", value, "VOS = 0 is reserved (RM0385 4.4.1)")
        if changed & (_ODEN | _ODSWEN) and self.rcc.uses_pll():
            raise Forbidden("PWR_CR1", value, "over-drive switched while the PLL drives the core (RM0385 4.1.4)")
        if changed & value & _ODSWEN and not self._ready(_ODEN):
            raise Forbidden("PWR_CR1", value, "ODSWEN set before ODRDY (RM0385 4.1.4)")

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


def peripherals(board: Board, clock: Callable[[], int]) -> tuple[list[Peripheral], UsartF7]:
    """Peripherals of an F7 board, and its UART; `clock` gives cycles since reset."""
    assert board.clock is not None and board.uart is not None
    uart = board.uart
    rcc = Rcc(
        "RCC",
        RCC_BASE,
        limits=LIMITS,
        hse_hz=board.clock.source_hz if board.clock.source == "hse" else 0,
        hse_bypass=board.clock.bypass,
        clock=clock,
    )
    # ARTRST only while ARTEN is 0: RM0385 3.7.1.
    flash = Flash("FLASH", FLASH_BASE, resets=((11, 9),), manual=LIMITS.flash)
    flash.changed = lambda value: rcc.check_clocks("FLASH_ACR", value)
    power = PwrF7("PWR", PWR_BASE, rcc=rcc, clock=clock, enabled=rcc.gate("apb1enr", 28), clock_rule="RM0385 5.3.13")
    rcc.wait_states, rcc.over_drive, rcc.voltage_scale = flash.wait_states, power.over_drive, power.voltage_scale
    ports = reset_ports(rcc, 11, "RM0385 5.3.10")
    enable = uart.enable
    usart = UsartF7(
        uart.instance,
        uart.base,
        baud=uart.baud,
        bus_hz=lambda: rcc.bus_hz(uart.bus),
        manual=LIMITS.usart,
        pin_ready=pin_check(board, ports),
        clock_rule="RM0385 5.3.13",
        enabled=rcc.gate(enable.register, enable.bit) if enable else lambda: True,
    )
    return [rcc, flash, power, *ports, usart, *microphone_peripherals(board, rcc, ports, clock)], usart
