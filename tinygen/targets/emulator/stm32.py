"""Clock tree, power and pins of STM32F4 and STM32F7, as far as their reference manuals forbid things.

RM0385 (F74x/F75x) and RM0090 (F405/F407). The limits hold for 2.7 to 3.6 V.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tinygen.targets.board import Board
from tinygen.targets.emulator.peripheral import Forbidden, Peripheral
from tinygen.targets.emulator.uart import StmUart, UsartF4, UsartF7

RCC_BASE, FLASH_BASE, PWR_BASE, GPIO_BASE = 0x40023800, 0x40023C00, 0x40007000, 0x40020000
HSI_HZ = 16_000_000
_CR, _PLLCFGR, _CFGR, _AHB1ENR, _APB1ENR, _APB2ENR = 0x00, 0x04, 0x08, 0x30, 0x40, 0x44
_ENABLE_REGISTERS = {"ahb1enr": _AHB1ENR, "apb1enr": _APB1ENR, "apb2enr": _APB2ENR}
_HSION, _HSEON, _PLLON = 0, 16, 24
_HSI, _HSE, _PLL = 0, 1, 2


@dataclass(frozen=True)
class Limits:
    """What a family allows, in Hz.

    Attributes:
        manual: where it says so.
        core, core_over_drive: HCLK without and with over-drive.
        apb1, apb2: bus clocks without over-drive; `*_over_drive` with it.
        per_wait_state: HCLK per flash wait state.
        vco: range of the PLL's VCO.
    """

    manual: str
    core: int
    core_over_drive: int
    apb1: int
    apb1_over_drive: int
    apb2: int
    apb2_over_drive: int
    per_wait_state: int = 30_000_000
    vco: tuple[int, int] = (100_000_000, 432_000_000)


F7 = Limits("RM0385 5.3.2, table 7; DS10916 table 17", 180_000_000, 216_000_000,
            45_000_000, 54_000_000, 90_000_000, 108_000_000)  # fmt: skip
F4 = Limits("RM0090 7.3.2, table 10; DS8626 table 14", 168_000_000, 168_000_000,
            42_000_000, 42_000_000, 84_000_000, 84_000_000)  # fmt: skip


@dataclass
class Rcc(Peripheral):
    """Reset and clock control. Oscillators are ready as soon as they are on."""

    hse_hz: int = 0
    limits: Limits = F7
    wait_states: Callable[[], int] = lambda: 0
    over_drive: Callable[[], bool] = lambda: False
    registers: dict[int, int] = field(default_factory=lambda: {_CR: 0x83, _PLLCFGR: 0x24003010, _CFGR: 0})

    def read(self, offset: int) -> int:
        value = super().read(offset)
        if offset == _CR:
            for bit in (_HSION, _HSEON, _PLLON):
                value |= ((value >> bit) & 1) << (bit + 1)
        return value

    def write(self, offset: int, value: int) -> None:
        before = self.registers.get(offset, 0)
        if offset == _PLLCFGR and value != before and self._on(_PLLON):
            raise Forbidden("RCC_PLLCFGR", value, f"written while the PLL is on ({self.limits.manual})")
        if offset == _CR:
            self._check_switching_off(value)
        if offset == _CFGR:
            selected = value & 3
            if not self._on((_HSION, _HSEON, _PLLON, _PLLON)[selected]):
                raise Forbidden("RCC_CFGR", value, "SW selects a clock that is not ready")
            value = (value & ~0xC) | (selected << 2)
        self.registers[offset] = value
        if offset == _CR and (value >> _PLLON) & 1 and not (before >> _PLLON) & 1:
            self.pll_hz()
        if offset in (_CR, _CFGR, _PLLCFGR):
            self.check_clocks(f"RCC_{ {_CR: 'CR', _CFGR: 'CFGR', _PLLCFGR: 'PLLCFGR'}[offset] }", value)

    def _on(self, bit: int) -> bool:
        return bool(self.registers[_CR] >> bit & 1)

    def _check_switching_off(self, value: int) -> None:
        in_use = {_HSI: _HSION, _HSE: _HSEON, _PLL: _PLLON}[self.registers[_CFGR] >> 2 & 3]
        source_of_pll = _HSEON if self.registers[_PLLCFGR] >> 22 & 1 else _HSION
        needed = [in_use] + ([source_of_pll] if in_use == _PLLON else [])
        if any(not value >> bit & 1 for bit in needed):
            raise Forbidden("RCC_CR", value, "switches off the clock that drives the core")

    def pll_hz(self) -> int:
        """Output of the main PLL; checks its input and VCO."""
        config = self.registers[_PLLCFGR]
        source = self.hse_hz if config >> 22 & 1 else HSI_HZ
        m, n, p = config & 0x3F, config >> 6 & 0x1FF, ((config >> 16 & 3) + 1) * 2
        if m < 2 or n < 50:
            raise Forbidden("RCC_PLLCFGR", config, f"PLLM {m} or PLLN {n} out of range ({self.limits.manual})")
        low, high = self.limits.vco
        if not 950_000 <= source / m <= 2_100_000:
            raise Forbidden("RCC_PLLCFGR", config, f"VCO input {source / m:.0f} Hz is not 1 to 2 MHz")
        if not low <= source / m * n <= high:
            raise Forbidden("RCC_PLLCFGR", config, f"VCO {source / m * n:.0f} Hz is not {low} to {high}")
        return source // m * n // p

    def hclk_hz(self) -> int:
        """What the core runs at."""
        source = self.registers[_CFGR] >> 2 & 3
        sysclk = {_HSI: HSI_HZ, _HSE: self.hse_hz}.get(source) or self.pll_hz()
        code = self.registers[_CFGR] >> 4 & 0xF
        return sysclk // (1 if code < 8 else (2, 4, 8, 16, 64, 128, 256, 512)[code - 8])

    def bus_hz(self, bus: str) -> int:
        """Clock of "ahb", "apb1" or "apb2"."""
        if bus == "ahb":
            return self.hclk_hz()
        code = self.registers[_CFGR] >> (10 if bus == "apb1" else 13) & 7
        return self.hclk_hz() // (1 if code < 4 else 2 << (code - 4))

    def check_clocks(self, register: str, value: int) -> None:
        """Raises Forbidden when the present settings are outside the limits."""
        limits, fast, hclk = self.limits, self.over_drive(), self.hclk_hz()
        checks = (
            ("HCLK", hclk, limits.core_over_drive if fast else limits.core),
            ("APB1", self.bus_hz("apb1"), limits.apb1_over_drive if fast else limits.apb1),
            ("APB2", self.bus_hz("apb2"), limits.apb2_over_drive if fast else limits.apb2),
        )
        for name, actual, allowed in checks:
            if actual > allowed:
                drive = "with" if fast else "without"
                rule = f"{name} {actual} Hz, at most {allowed} {drive} over-drive ({limits.manual})"
                raise Forbidden(register, value, rule)
        needed = -(-hclk // limits.per_wait_state) - 1
        if self.wait_states() < needed:
            rule = f"HCLK {hclk} Hz needs {needed} flash wait states, {self.wait_states()} are set ({limits.manual})"
            raise Forbidden(register, value, rule)

    def peripheral_on(self, register: str, bit: int) -> bool:
        """Whether an enable bit is set."""
        return bool(self.registers.get(_ENABLE_REGISTERS[register], 0) >> bit & 1)


@dataclass
class Pwr(Peripheral):
    """Power control with the F7's over-drive (RM0385 4.1.4)."""

    has_over_drive: bool = True

    def read(self, offset: int) -> int:
        if offset == 0x04:  # CSR1: VOSRDY, ODRDY, ODSWRDY follow at once
            control = self.registers.get(0x00, 0)
            drive = control & (3 << 16) if self.has_over_drive else 0
            return super().read(offset) | drive | (1 << 14)
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        if offset == 0x00 and self.has_over_drive and value >> 17 & 1 and not value >> 16 & 1:
            raise Forbidden("PWR_CR1", value, "ODSWEN without ODEN (RM0385 4.1.4)")
        super().write(offset, value)

    def over_drive(self) -> bool:
        return self.has_over_drive and self.registers.get(0x00, 0) >> 16 & 3 == 3


@dataclass
class Flash(Peripheral):
    """Flash interface: wait states."""

    changed: Callable[[int], None] = lambda value: None

    def write(self, offset: int, value: int) -> None:
        super().write(offset, value)
        if offset == 0x00:
            self.changed(value)

    def wait_states(self) -> int:
        return self.registers.get(0x00, 0) & 0xF


@dataclass
class Gpio(Peripheral):
    """One port."""

    def alternate(self, pin: int) -> int | None:
        """The alternate function a pin is switched to; None when it is in another mode."""
        if self.registers.get(0x00, 0) >> (2 * pin) & 3 != 2:
            return None
        return self.registers.get(0x20 + 4 * (pin // 8), 0) >> (4 * (pin % 8)) & 0xF


def stm32_peripherals(board: Board) -> tuple[list[Peripheral], StmUart]:
    """The peripherals of an STM32F4 or STM32F7 board, and its UART."""
    assert board.clock is not None and board.uart is not None
    uart = board.uart
    f7 = any(source.startswith("firmware/stm32f7/") for source in board.sources)
    rcc = Rcc("RCC", RCC_BASE, hse_hz=board.clock.source_hz, limits=F7 if f7 else F4)
    flash = Flash("FLASH", FLASH_BASE, changed=lambda value: rcc.check_clocks("FLASH_ACR", value))
    pwr = Pwr("PWR", PWR_BASE, has_over_drive=f7, enabled=lambda: rcc.peripheral_on("apb1enr", 28))
    rcc.wait_states, rcc.over_drive = flash.wait_states, pwr.over_drive

    def port_clock(index: int) -> Callable[[], bool]:
        return lambda: rcc.peripheral_on("ahb1enr", index)

    ports = [
        Gpio(f"GPIO{chr(65 + i)}", GPIO_BASE + 0x400 * i, enabled=port_clock(i)) for i in range(11 if f7 else 9)
    ]

    def pins_ready() -> bool:
        pins = [pin for pin in (uart.tx, uart.rx) if pin]
        return all(ports[ord(pin.port) - 65].alternate(pin.number) == uart.af for pin in pins)

    enable = uart.enable
    model = (UsartF7 if f7 else UsartF4)(
        uart.instance,
        uart.base,
        baud=uart.baud,
        bus_hz=lambda: rcc.bus_hz(uart.bus),
        pins_ready=pins_ready,
        enabled=lambda: enable is None or rcc.peripheral_on(enable.register, enable.bit),
    )
    return [rcc, flash, pwr, *ports, model], model
