"""STM32H743: power, pins, UART, and the clock tree of stm32h7_clock.py. RM0433, as there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tinygen.targets.board import Board
from tinygen.targets.emulator.peripheral import Forbidden, Peripheral
from tinygen.targets.emulator.stm32 import Gpio, StmUart, pin_check
from tinygen.targets.emulator.stm32f7 import UsartF7
from tinygen.targets.emulator.stm32h7_clock import FlashH7, RccH7
from tinygen.targets.parts.stm32h7 import StmH7

RCC_BASE, PWR_BASE, FLASH_BASE, GPIO_BASE = 0x58024400, 0x58024800, 0x52002000, 0x58020000
SYSCFG_BASE, DBGMCU_BASE = 0x58000400, 0x5C001000
AXI_SRAM_BASE = 0x51008000  # RM0433, AXI interconnect: target 7
_CSR1, _CR3, _D3CR = 0x04, 0x0C, 0x18
_BYPASS, _LDOEN, _SCUEN = 1, 2, 4
_PWRCR = 0x2C
_VOLTAGE_SECONDS = 20e-6  # no source: long enough that a firmware that does not wait is caught


@dataclass
class PwrH7(Peripheral):
    """Supply and voltage scale (RM0433, PWR; the over-drive of scale 0 is a bit of SYSCFG)."""

    rcc: RccH7 = field(kw_only=True)
    over_drive: Callable[[], bool] = lambda: False
    registers: dict[int, int] = field(default_factory=lambda: {_CR3: _SCUEN | _LDOEN, _D3CR: 1 << 14})
    _supplied_at: int | None = field(default=None, init=False)
    _voltage_at: int = field(default=0, init=False)

    def read(self, offset: int) -> int:
        if offset == _CSR1:  # ACTVOS, ACTVOSRDY
            return self.registers[_D3CR] & 3 << 14 | int(self.supplied()) << 13
        if offset == _D3CR:  # VOSRDY
            return self.registers[_D3CR] & 3 << 14 | int(self.voltage_ready()) << 13
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        if offset == _CR3:
            self._choose_supply(value)
            return
        if offset == _D3CR:
            if not self.supplied():
                raise Forbidden("PWR_D3CR", value, "VOS written before the supply is chosen and ready (RM0433, PWR)")
            if not value & 3 << 14:
                raise Forbidden("PWR_D3CR", value, "VOS = 0 is reserved (RM0433, PWR_D3CR)")
            if self.over_drive():
                raise Forbidden("PWR_D3CR", value, "VOS written while over-drive is on (RM0433, PWR: voltage scaling)")
            self.restart()
        super().write(offset, value)
        if offset == _D3CR:
            self.rcc.check_clocks("PWR_D3CR", value)

    def _choose_supply(self, value: int) -> None:
        if self._supplied_at is not None:
            if (value ^ self.registers[_CR3]) & (_LDOEN | _BYPASS):
                raise Forbidden("PWR_CR3", value, "the supply is chosen once after power-up (RM0433, PWR_CR3)")
            return
        if value & (_LDOEN | _BYPASS) != _LDOEN:
            rule = "the board feeds the core through the LDO: LDOEN = 1, BYPASS = 0 (RM0433, PWR_CR3)"
            raise Forbidden("PWR_CR3", value, rule)
        self.registers[_CR3] = value & ~_SCUEN
        self._supplied_at = self.rcc.clock() + round(_VOLTAGE_SECONDS * self.rcc.core_hz())

    def supplied(self) -> bool:
        """Whether the supply was chosen and is there: before, RAM must not be written."""
        return self._supplied_at is not None and self.rcc.clock() >= self._supplied_at

    def restart(self) -> None:
        """The voltage changes: it is not ready for a while."""
        self._voltage_at = self.rcc.clock() + round(_VOLTAGE_SECONDS * self.rcc.core_hz())

    def voltage_ready(self) -> bool:
        """VOSRDY."""
        return self.rcc.clock() >= self._voltage_at

    def voltage_scale(self) -> int:
        """0 to 3; what is not ready yet counts as the lowest, scale 3."""
        if not self.voltage_ready():
            return 3
        scale = 4 - (self.registers[_D3CR] >> 14 & 3)
        return 0 if scale == 1 and self.over_drive() else scale


@dataclass
class SyscfgH7(Peripheral):
    """SYSCFG, for the over-drive that makes scale 1 scale 0."""

    power: PwrH7 = field(kw_only=True)

    def write(self, offset: int, value: int) -> None:
        turned = offset == _PWRCR and (value ^ self.registers.get(_PWRCR, 0)) & 1
        if turned and value & 1 and (self.power.voltage_scale() != 1 or not self.power.supplied()):
            raise Forbidden("SYSCFG_PWRCR", value, "ODEN set before voltage scale 1 is ready (RM0433, PWR: scale 0)")
        if turned:
            self.power.restart()
        super().write(offset, value)
        if turned:
            self.power.rcc.check_clocks("SYSCFG_PWRCR", value)

    def over_drive(self) -> bool:
        """ODEN."""
        return bool(self.registers.get(_PWRCR, 0) & 1)


def peripherals(board: Board, part: StmH7, clock: Callable[[], int]) -> tuple[list[Peripheral], StmUart]:
    """Peripherals of a board with that part, and its UART; `clock` gives cycles since reset."""
    assert board.clock is not None and board.uart is not None
    uart, source = board.uart, board.clock
    outside = source.source_hz if source.source == "hse" else 0
    rcc = RccH7("RCC", RCC_BASE, part=part, clock=clock, hse_hz=outside, hse_bypass=source.bypass)
    flash, power = FlashH7("FLASH", FLASH_BASE, rcc=rcc), PwrH7("PWR", PWR_BASE, rcc=rcc)
    system = SyscfgH7("SYSCFG", SYSCFG_BASE, power=power, enabled=rcc.gate("apb4enr", 1))
    power.over_drive, rcc.voltage_scale = system.over_drive, power.voltage_scale
    rcc.wait_states, rcc.write_delay = flash.wait_states, flash.write_delay
    revision = Peripheral("DBGMCU", DBGMCU_BASE, registers={0: part.id_code})
    matrix = Peripheral("AXI_TARG7", AXI_SRAM_BASE)
    # After reset all pins are analog, but those of the debug port.
    modes = {0: 0xABFFFFFF, 1: 0xFFFFFEBF}
    ports = [
        Gpio(
            f"GPIO{chr(ord('A') + i)}",
            GPIO_BASE + 0x400 * i,
            enabled=rcc.gate("ahb4enr", i),
            clock_rule="RM0433, RCC_AHB4ENR",
            registers={0x00: modes.get(i, 0xFFFFFFFF)},
        )
        for i in range(part.ports)
    ]
    enable = uart.enable
    usart = UsartF7(
        uart.instance,
        uart.base,
        baud=uart.baud,
        bus_hz=lambda: rcc.bus_hz(uart.bus),
        manual="RM0433, USART",
        pin_ready=pin_check(board, ports),
        clock_rule="RM0433, RCC_APB1LENR",
        enabled=rcc.gate(enable.register, enable.bit) if enable else lambda: True,
    )
    return [rcc, flash, power, system, revision, matrix, *ports, usart], usart
