"""STM32L4+ (L4R5): clock tree, power, and the LPUART. RM0432; names as in ST's header stm32l4r5xx.h."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tinygen.targets.board import Board
from tinygen.targets.emulator.peripheral import Forbidden, Peripheral
from tinygen.targets.emulator.stm32 import Flash, Gpio, StmUart
from tinygen.targets.emulator.stm32f7 import UsartF7

RCC_BASE, FLASH_BASE, PWR_BASE, GPIO_BASE = 0x40021000, 0x40022000, 0x40007000, 0x48000000
HSI_HZ, MSI_HZ = 16_000_000, 4_000_000
_CR, _CFGR, _PLLCFGR, _CCIPR = 0x00, 0x08, 0x0C, 0x88
_ENABLES = {"ahb2enr": 0x4C, "apb1enr1": 0x58, "apb1enr2": 0x5C}
_MSION, _HSION, _PLLON = 0, 8, 24
_READY = {_MSION: 1, _HSION: 10, _PLLON: 25}
_MSI, _HSI, _PLL = 0, 1, 3
_START = {_MSION: 5e-6, _HSION: 4e-6, _PLLON: 40e-6}
_PWR_CR1, _PWR_CR2, _PWR_SR2, _PWR_CR5 = 0x00, 0x04, 0x14, 0x80
_VOS, _R1MODE, _IOSV = 3 << 9, 1 << 8, 1 << 9
_BOOST_HZ, _NORMAL_HZ, _LOW_HZ = 120_000_000, 80_000_000, 26_000_000
_WAIT_STATE_HZ = 20_000_000


@dataclass
class RccL4(Peripheral):
    """Reset and clock control, as far as MSI at 4 MHz, HSI16 and the main PLL's output R go.

    Attributes:
        clock: cycles of the core since reset.
        wait_states: as set in the flash interface.
        highest_hz: what the regulator's setting allows now.
    """

    clock: Callable[[], int] = lambda: 0
    wait_states: Callable[[], int] = lambda: 0
    highest_hz: Callable[[], int] = lambda: _NORMAL_HZ
    registers: dict[int, int] = field(default_factory=lambda: {_CR: 0x63, _PLLCFGR: 0x1000, _CFGR: 0})
    _ready_at: dict[int, int] = field(default_factory=lambda: {_MSION: 0}, init=False)

    def read(self, offset: int) -> int:
        value = super().read(offset)
        if offset == _CR:
            for bit, ready in _READY.items():
                value = value & ~(1 << ready) | int(self._ready(bit)) << ready
        return value

    def write(self, offset: int, value: int) -> None:
        if offset == _CR:
            self._write_control(value)
            return
        if offset == _PLLCFGR and self._on(_PLLON) and value != self.registers[offset]:
            raise Forbidden("RCC_PLLCFGR", value, "written while the PLL is on (RM0432, RCC_PLLCFGR)")
        if offset == _CFGR:
            value = self._selected(value)
        self.registers[offset] = value
        if offset == _CFGR:
            self.check_clocks("RCC_CFGR", value)

    def _write_control(self, value: int) -> None:
        before = self.registers[_CR]
        source = {_MSI: _MSION, _HSI: _HSION, _PLL: _PLLON}[self._source()]
        needed = [source, *([self._pll_source()] if source == _PLLON else [])]
        if any(not value >> bit & 1 for bit in needed):
            raise Forbidden("RCC_CR", value, "switches off the clock that drives the core (RM0432, RCC_CR)")
        self.registers[_CR] = value
        for bit, seconds in _START.items():
            if value >> bit & 1 and not before >> bit & 1:
                self._ready_at[bit] = self.clock() + int(seconds * self.hclk_hz())
                if bit == _PLLON:
                    self._start_pll(value)

    def _start_pll(self, control: int) -> None:
        if not self._ready(self._pll_source()):
            raise Forbidden("RCC_CR", control, "PLL on before its source is ready (RM0432, RCC_CR)")
        self.pll_hz()

    def _pll_source(self) -> int:
        source = self.registers[_PLLCFGR] & 3
        if source not in (1, 2):
            raise Forbidden("RCC_PLLCFGR", self.registers[_PLLCFGR], "the PLL's source is not MSI or HSI16, as here")
        return _MSION if source == 1 else _HSION

    def _selected(self, config: int) -> int:
        """`config` with SWS following SW."""
        selected = config & 3
        bit = {_MSI: _MSION, _HSI: _HSION, _PLL: _PLLON}.get(selected)
        if bit is None or not self._ready(bit):
            raise Forbidden("RCC_CFGR", config, "SW selects a clock that is not ready (RM0432, RCC_CFGR)")
        return config & ~0xC | selected << 2

    def _on(self, bit: int) -> bool:
        return bool(self.registers[_CR] >> bit & 1)

    def _ready(self, bit: int) -> bool:
        return self._on(bit) and self.clock() >= self._ready_at.get(bit, 0)

    def _source(self) -> int:
        return self.registers[_CFGR] >> 2 & 3

    def pll_hz(self) -> int:
        """Output R of the main PLL; checks its factors, input, VCO and output."""
        config = self.registers[_PLLCFGR]
        source = MSI_HZ if config & 3 == 1 else HSI_HZ
        m, n, r = (config >> 4 & 15) + 1, config >> 8 & 0x7F, ((config >> 25 & 3) + 1) * 2
        if not config >> 24 & 1:
            raise Forbidden("RCC_PLLCFGR", config, "output R, which feeds the core, is off (PLLREN = 0)")
        vco = source / m * n
        if not 2_660_000 <= source / m <= 16_000_000 or not 8 <= n <= 127 or not 64_000_000 <= vco <= 344_000_000:
            rule = f"VCO input {source / m:.0f} Hz, times {n}: not 2.66 to 16 MHz, 8 to 127 times, 64 to 344 MHz"
            raise Forbidden("RCC_PLLCFGR", config, f"{rule} (RM0432, RCC_PLLCFGR)")
        return round(vco / r)

    def hclk_hz(self) -> int:
        """What the core runs at."""
        source = self._source()
        sysclk = self.pll_hz() if source == _PLL else {_MSI: MSI_HZ, _HSI: HSI_HZ}[source]
        code = self.registers[_CFGR] >> 4 & 0xF
        return sysclk // (1 if code < 8 else (2, 4, 8, 16, 64, 128, 256, 512)[code - 8])

    def bus_hz(self, bus: str) -> int:
        """Clock of "ahb", "apb1" or "apb2"."""
        if bus == "ahb":
            return self.hclk_hz()
        code = self.registers[_CFGR] >> (8 if bus == "apb1" else 11) & 7
        return self.hclk_hz() // (1 if code < 4 else 2 << (code - 4))

    def lpuart_hz(self, bus: str) -> int:
        """What CCIPR.LPUART1SEL feeds LPUART1 with: its `bus`, SYSCLK or HSI16."""
        selected = self.registers.get(_CCIPR, 0) >> 10 & 3
        if selected == 0:
            return self.bus_hz(bus)
        if selected == 1:
            return self.pll_hz() if self._source() == _PLL else {_MSI: MSI_HZ, _HSI: HSI_HZ}[self._source()]
        if selected != 2 or not self._ready(_HSION):
            rule = "LPUART1SEL selects a clock that is not on (RM0432, RCC_CCIPR)"
            raise Forbidden("RCC_CCIPR", self.registers[_CCIPR], rule)
        return HSI_HZ

    def check_clocks(self, register: str, value: int) -> None:
        """Raises Forbidden when the present settings are outside the limits."""
        hclk, allowed = self.hclk_hz(), self.highest_hz()
        if hclk > allowed:
            rule = f"HCLK {hclk} Hz, at most {allowed} with this regulator setting (RM0432, PWR: ranges and boost)"
            raise Forbidden(register, value, rule)
        needed = -(-hclk // _WAIT_STATE_HZ) - 1
        if self.wait_states() < needed:
            rule = f"HCLK {hclk} Hz needs {needed} flash wait states, {self.wait_states()} are set (RM0432, FLASH_ACR)"
            raise Forbidden(register, value, rule)

    def gate(self, register: str, bit: int) -> Callable[[], bool]:
        """Whether an enable bit is set, for later."""
        return lambda: bool(self.registers.get(_ENABLES[register], 0) >> bit & 1)


@dataclass
class PwrL4(Peripheral):
    """Power control: voltage range, boost, and the supply of port G."""

    rcc: RccL4 = field(kw_only=True)
    registers: dict[int, int] = field(default_factory=lambda: {_PWR_CR1: 1 << 9, _PWR_CR5: _R1MODE})

    def read(self, offset: int) -> int:
        return 0 if offset == _PWR_SR2 else super().read(offset)  # VOSF: the regulator is ready at once

    def write(self, offset: int, value: int) -> None:
        if offset == _PWR_CR1 and value & _VOS not in (1 << 9, 2 << 9):
            raise Forbidden("PWR_CR1", value, "VOS is 01 or 10 (RM0432, PWR_CR1)")
        super().write(offset, value)
        if offset in (_PWR_CR1, _PWR_CR5):
            self.rcc.check_clocks("PWR_CR1" if offset == _PWR_CR1 else "PWR_CR5", value)

    def highest_hz(self) -> int:
        """What the core may run at with the present range and boost."""
        if self.registers[_PWR_CR1] & _VOS != 1 << 9:
            return _LOW_HZ
        return _NORMAL_HZ if self.registers[_PWR_CR5] & _R1MODE else _BOOST_HZ

    def has_port_g(self) -> bool:
        """Whether VDDIO2 was said to be there: PG2 to PG15 are cut off before."""
        return bool(self.registers.get(_PWR_CR2, 0) & _IOSV)


@dataclass
class LpUart(UsartF7):
    """The LPUART: registers of the F7's USART, but 256 divisor steps a bit."""

    def _divisor_times_16(self, control: int, divisor: int) -> int:
        if not 0x300 <= divisor <= 0xFFFFF:
            raise Forbidden(f"{self.name}_BRR", divisor, "is not 0x300 to 0xFFFFF (RM0432, LPUART_BRR)")
        return divisor // 16


def _pin_ready(board: Board, ports: list[Gpio], power: PwrL4) -> Callable[[str], bool]:
    uart = board.uart
    assert uart is not None

    def ready(direction: str) -> bool:
        pin = uart.tx if direction == "TX" else uart.rx
        if pin is None:
            return True
        supplied = pin.port != "G" or pin.number < 2 or power.has_port_g()
        return supplied and ports[ord(pin.port) - ord("A")].alternate(pin.number) == uart.af

    return ready


def peripherals(board: Board, clock: Callable[[], int]) -> tuple[list[Peripheral], StmUart]:
    """Those of an L4+ board, and its LPUART; `clock` gives cycles since reset."""
    assert board.clock is not None and board.uart is not None
    uart = board.uart
    rcc = RccL4("RCC", RCC_BASE, clock=clock)
    flash = Flash("FLASH", FLASH_BASE, resets=((11, 9), (12, 10)), manual="RM0432, FLASH_ACR")
    flash.changed = lambda value: rcc.check_clocks("FLASH_ACR", value)
    power = PwrL4("PWR", PWR_BASE, rcc=rcc, enabled=rcc.gate("apb1enr1", 28), clock_rule="RM0432, RCC_APB1ENR1")
    rcc.wait_states, rcc.highest_hz = flash.wait_states, power.highest_hz
    # After reset all pins are analog, but those of the debug port.
    modes = {0: 0xABFFFFFF, 1: 0xFFFFFEBF}
    ports = [
        Gpio(
            f"GPIO{chr(ord('A') + i)}", GPIO_BASE + 0x400 * i, enabled=rcc.gate("ahb2enr", i),
            clock_rule="RM0432, RCC_AHB2ENR", registers={0x00: modes.get(i, 0xFFFFFFFF)},
        )
        for i in range(9)
    ]  # fmt: skip
    enable = uart.enable
    lpuart = LpUart(
        uart.instance, uart.base, baud=uart.baud, bus_hz=lambda: rcc.lpuart_hz(uart.bus), manual="RM0432, LPUART",
        pin_ready=_pin_ready(board, ports, power), clock_rule="RM0432, RCC_APB1ENR2",
        enabled=rcc.gate(enable.register, enable.bit) if enable else lambda: True,
    )  # fmt: skip
    return [rcc, flash, power, *ports, lpuart], lpuart
