"""STM32L4 and L4+ (L476, L4R5), and G4 (G474), which has the same registers: clock tree, power, and the LPUART.

Names are those of ST's headers stm32l476xx.h, stm32l4r5xx.h and stm32g474xx.h.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tinygen.targets.board import Board
from tinygen.targets.emulator.peripheral import Forbidden, Peripheral
from tinygen.targets.emulator.stm32 import Flash, Gpio, StmUart
from tinygen.targets.emulator.stm32f7 import UsartF7
from tinygen.targets.parts.part import needed_wait_states
from tinygen.targets.parts.stm32l4 import StmL4

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
# Above, with parts that have a boost, half the speed comes first, for a microsecond.
_STEP_HZ, _STEP_SECONDS = 80_000_000, 1e-6


def _reset(part: StmL4) -> dict[int, int]:
    """Registers of RCC after reset."""
    return {_CR: 0x63 if part.has_msi else 0x500, _PLLCFGR: 0x1000, _CFGR: 0 if part.has_msi else 5}


def _sources(part: StmL4) -> dict[int, int]:
    """By RCC_CFGR.SW: the bit of RCC_CR that switches that clock on."""
    return ({_MSI: _MSION} if part.has_msi else {}) | {_HSI: _HSION, _PLL: _PLLON}


@dataclass
class RccL4(Peripheral):
    """Reset and clock control, as far as MSI at 4 MHz, HSI16 and the main PLL's output R go.

    Attributes:
        part: which of the family.
        clock: cycles of the core since reset.
        wait_states: as set in the flash interface.
        limits: highest HCLK by wait states, as the regulator is set now.
    """

    part: StmL4 = field(kw_only=True)
    clock: Callable[[], int] = lambda: 0
    wait_states: Callable[[], int] = lambda: 0
    limits: Callable[[], tuple[int, ...]] = lambda: ()
    _ready_at: dict[int, int] = field(default_factory=dict, init=False)
    _full_speed_from: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.registers |= _reset(self.part)

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
            raise Forbidden("RCC_PLLCFGR", value, f"written while the PLL is on ({self.part.manual}, RCC_PLLCFGR)")
        if offset == _CFGR:
            value = self._selected(value)
            self._check_step(value)
        self.registers[offset] = value
        if offset == _CFGR:
            self.check_clocks("RCC_CFGR", value)

    def _write_control(self, value: int) -> None:
        before = self.registers[_CR]
        source = _sources(self.part)[self._source()]
        needed = [source, *([self._pll_source()] if source == _PLLON else [])]
        if any(not value >> bit & 1 for bit in needed):
            rule = f"switches off the clock that drives the core ({self.part.manual}, RCC_CR)"
            raise Forbidden("RCC_CR", value, rule)
        self.registers[_CR] = value
        for bit, seconds in _START.items():
            if value >> bit & 1 and not before >> bit & 1:
                self._ready_at[bit] = self.clock() + int(seconds * self.hclk_hz())
                if bit == _PLLON:
                    self._start_pll(value)

    def _start_pll(self, control: int) -> None:
        if not self._ready(self._pll_source()):
            rule = f"PLL on before its source is ready ({self.part.manual}, RCC_CR)"
            raise Forbidden("RCC_CR", control, rule)
        self.pll_hz()

    def _pll_source(self) -> int:
        source = self.registers[_PLLCFGR] & 3
        if source not in ((1, 2) if self.part.has_msi else (2,)):
            raise Forbidden("RCC_PLLCFGR", self.registers[_PLLCFGR], "the PLL's source is not MSI or HSI16, as here")
        return _MSION if source == 1 else _HSION

    def _selected(self, config: int) -> int:
        """`config` with SWS following SW."""
        selected = config & 3
        bit = _sources(self.part).get(selected)
        if bit is None or not self._ready(bit):
            rule = f"SW selects a clock that is not ready ({self.part.manual}, RCC_CFGR)"
            raise Forbidden("RCC_CFGR", config, rule)
        return config & ~0xC | selected << 2

    def _check_step(self, config: int) -> None:
        """The way to more than 80 MHz of parts with a boost: AHB divided first, a microsecond later no more."""
        if not self.part.boost or config & 3 != _PLL or self.pll_hz() <= _STEP_HZ:
            return
        divided, where = config >> 7 & 1, f"({self.part.manual}, PWR: range 1 boost)"
        if self._source() != _PLL:
            if not divided:
                raise Forbidden("RCC_CFGR", config, f"SW selects more than 80 MHz with HPRE not dividing {where}")
            self._full_speed_from = self.clock() + int(_STEP_SECONDS * self.pll_hz() / 2)
        elif not divided and self.clock() < self._full_speed_from:
            raise Forbidden("RCC_CFGR", config, f"HPRE changed within 1 us of the switch to the PLL {where}")

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
        part = self.part
        m, n, r = (config >> 4 & 15) + 1, config >> 8 & 0x7F, ((config >> 25 & 3) + 1) * 2
        if not config >> 24 & 1:
            raise Forbidden("RCC_PLLCFGR", config, "output R, which feeds the core, is off (PLLREN = 0)")
        vco = source / m * n
        low, high = part.vco_input
        good = low <= source / m <= high and m <= part.pll_m and 8 <= n <= part.pll_n
        slowest, fastest = part.vco
        if not good or not slowest <= vco <= fastest:
            limits = f"{slowest / 1e6:g} to {fastest / 1e6:g} MHz"
            allowed = f"{low / 1e6:g} to {high / 1e6:g} MHz, 8 to {part.pll_n} times, {limits}"
            rule = f"VCO input {source / m:.0f} Hz (divided by {m}), times {n}: not {allowed}"
            raise Forbidden("RCC_PLLCFGR", config, f"{rule} ({part.manual}, RCC_PLLCFGR)")
        if vco / r > part.pll_out:
            rule = f"PLL output {vco / r:.0f} Hz, at most {part.pll_out} ({part.manual}, RCC_PLLCFGR)"
            raise Forbidden("RCC_PLLCFGR", config, rule)
        return round(vco / r)

    def hclk_hz(self) -> int:
        """Clock of the core, Hz."""
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
        """Clock of LPUART1 as CCIPR.LPUART1SEL selects it, Hz: its `bus`, SYSCLK or HSI16."""
        selected = self.registers.get(_CCIPR, 0) >> 10 & 3
        if selected == 0:
            return self.bus_hz(bus)
        if selected == 1:
            return self.pll_hz() if self._source() == _PLL else {_MSI: MSI_HZ, _HSI: HSI_HZ}[self._source()]
        if selected != 2 or not self._ready(_HSION):
            rule = f"LPUART1SEL selects a clock that is not on ({self.part.manual}, RCC_CCIPR)"
            raise Forbidden("RCC_CCIPR", self.registers[_CCIPR], rule)
        return HSI_HZ

    def check_clocks(self, register: str, value: int) -> None:
        """Raises Forbidden when the present settings are outside the limits."""
        hclk, limits, manual = self.hclk_hz(), self.limits(), self.part.manual
        if hclk > limits[-1]:
            rule = f"HCLK {hclk} Hz, at most {limits[-1]} with this regulator setting ({manual}, PWR: ranges)"
            raise Forbidden(register, value, rule)
        needed, are = needed_wait_states(limits, hclk), self.wait_states()
        if are < needed:
            rule = f"HCLK {hclk} Hz needs {needed} flash wait states, {are} are set ({manual}, FLASH_ACR)"
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
        part = self.rcc.part
        if offset == _PWR_CR1 and value & _VOS not in (1 << 9, 2 << 9):
            raise Forbidden("PWR_CR1", value, f"VOS is 01 or 10 ({part.manual}, PWR_CR1)")
        if offset == _PWR_CR2 and value & _IOSV and not part.has_io_supply:
            raise Forbidden("PWR_CR2", value, f"bit 9 is reserved: there is one supply ({part.manual}, PWR_CR2)")
        if offset == _PWR_CR5 and not part.boost:
            raise Forbidden("PWR_CR5", value, f"there is no such register, as there is no boost ({part.manual}, PWR)")
        super().write(offset, value)
        if offset in (_PWR_CR1, _PWR_CR5):
            self.rcc.check_clocks("PWR_CR1" if offset == _PWR_CR1 else "PWR_CR5", value)

    def limits(self) -> tuple[int, ...]:
        """Highest HCLK by flash wait states, with the present range and boost."""
        part = self.rcc.part
        if self.registers[_PWR_CR1] & _VOS != 1 << 9:
            return part.low
        return part.normal if self.registers[_PWR_CR5] & _R1MODE else part.boost

    def has_port_g(self) -> bool:
        """Whether VDDIO2, if the part has one, was said to be there: PG2 to PG15 are cut off before."""
        return not self.rcc.part.has_io_supply or bool(self.registers.get(_PWR_CR2, 0) & _IOSV)


@dataclass
class LpUart(UsartF7):
    """The LPUART: registers of the F7's USART, but 256 divisor steps a bit."""

    def _divisor_times_16(self, control: int, divisor: int) -> int:
        if not 0x300 <= divisor <= 0xFFFFF:
            raise Forbidden(f"{self.name}_BRR", divisor, f"is not 0x300 to 0xFFFFF ({self.manual}_BRR)")
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


def peripherals(board: Board, part: StmL4, clock: Callable[[], int]) -> tuple[list[Peripheral], StmUart]:
    """Peripherals of a board with that part, and its UART; `clock` gives cycles since reset."""
    assert board.clock is not None and board.uart is not None
    uart, manual = board.uart, part.manual
    rcc = RccL4("RCC", RCC_BASE, part=part, clock=clock)
    flash = Flash(
        "FLASH",
        FLASH_BASE,
        resets=((11, 9), (12, 10)),
        manual=f"{manual}, FLASH_ACR",
        registers={0x00: part.flash_reset},
    )
    flash.changed = lambda value: rcc.check_clocks("FLASH_ACR", value)
    power = PwrL4("PWR", PWR_BASE, rcc=rcc, enabled=rcc.gate("apb1enr1", 28), clock_rule=f"{manual}, RCC_APB1ENR1")
    rcc.wait_states, rcc.limits = flash.wait_states, power.limits
    # After reset all pins are analog, but those of the debug port.
    modes = {0: 0xABFFFFFF, 1: 0xFFFFFEBF}
    ports = [
        Gpio(
            f"GPIO{chr(ord('A') + i)}",
            GPIO_BASE + 0x400 * i,
            enabled=rcc.gate("ahb2enr", i),
            clock_rule=f"{manual}, RCC_AHB2ENR",
            registers={0x00: modes.get(i, 0xFFFFFFFF)},
        )
        for i in range(part.ports)
    ]
    enable = uart.enable
    low_power = uart.instance.startswith("LPUART")
    feed = rcc.lpuart_hz if low_power else rcc.bus_hz
    usart = (LpUart if low_power else UsartF7)(
        uart.instance,
        uart.base,
        baud=uart.baud,
        bus_hz=lambda: feed(uart.bus),
        manual=f"{manual}, {uart.instance}",
        pin_ready=_pin_ready(board, ports, power),
        clock_rule=f"{manual}, RCC",
        enabled=rcc.gate(enable.register, enable.bit) if enable else lambda: True,
    )
    return [rcc, flash, power, *ports, usart], usart
