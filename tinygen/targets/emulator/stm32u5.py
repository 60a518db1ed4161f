"""STM32U575 (RM0456; names as in ST's header stm32u575xx.h), TrustZone off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tinygen.targets.board import Board
from tinygen.targets.emulator.oscillators import CONTROL, Oscillators, Switch, ahb_divider, apb_divider
from tinygen.targets.emulator.peripheral import Forbidden, Peripheral
from tinygen.targets.emulator.stm32 import Gpio, StmUart, pin_check
from tinygen.targets.emulator.stm32f7 import UsartF7
from tinygen.targets.parts.part import needed_wait_states
from tinygen.targets.parts.stm32h7 import StmU5

RCC_BASE, PWR_BASE, FLASH_BASE, ICACHE_BASE, GPIO_BASE = 0x46020C00, 0x46020800, 0x40022000, 0x40030400, 0x42020000
MSI_HZ, HSI_HZ = 4_000_000, 16_000_000
_CFGR1, _CFGR2, _CFGR3, _PLL1CFGR, _PLL1DIVR = 0x1C, 0x20, 0x24, 0x28, 0x34
_ENABLES = {"ahb2enr1": 0x8C, "ahb3enr": 0x94, "apb1enr1": 0x9C, "apb1enr2": 0xA0, "apb2enr": 0xA4, "apb3enr": 0xA8}
_CR3, _VOSR, _SVMCR, _SVMSR = 0x08, 0x0C, 0x10, 0x3C
_REGSEL, _VOS, _BOOSTEN, _IO2SV = 1 << 1, 3 << 16, 1 << 18, 1 << 29
_MSISON, _HSION, _HSEON, _PLL1ON = 0, 8, 16, 24
_SOURCES = {0: _MSISON, 1: _HSION, 2: _HSEON, 3: _PLL1ON}  # of CFGR1.SW
_PLL_SOURCES = {1: _MSISON, 2: _HSION, 3: _HSEON}  # of PLL1CFGR.PLL1SRC
# Seconds: estimates of the size that DS13737 gives, so that a firmware that does not wait is caught.
_SWITCHES = {_MSISON: Switch(2, 5e-6), _HSION: Switch(10, 4e-6), _PLL1ON: Switch(25, 50e-6)}
_REGULATOR_SECONDS = 20e-6


@dataclass
class RccU5(Oscillators):
    """Reset and clock control, as far as MSIS at 4 MHz, HSI16 and PLL1's output R go.

    Attributes:
        part: with its limits.
        wait_states: as set in the flash interface.
        voltage_range: 1 to 4, what the regulator gives now.
        boosted: whether its booster is ready.
        boosting: whether its booster is switched on.
    """

    part: StmU5 = field(kw_only=True)
    wait_states: Callable[[], int] = lambda: 0
    voltage_range: Callable[[], int] = lambda: 4
    boosted: Callable[[], bool] = lambda: False
    boosting: Callable[[], bool] = lambda: False
    manual: str = "RM0456"
    switches: Mapping[int, Switch] = field(default_factory=lambda: _SWITCHES)
    enables: Mapping[str, int] = field(default_factory=lambda: _ENABLES)
    registers: dict[int, int] = field(default_factory=lambda: {CONTROL: 0x35, _PLL1CFGR: 0, _PLL1DIVR: 0x01010280})

    def write(self, offset: int, value: int) -> None:
        if offset == CONTROL:
            self.write_control(value)
            return
        changed = value ^ self.registers.get(offset, 0)
        if offset in (_PLL1CFGR, _PLL1DIVR) and changed and self.on(_PLL1ON):
            name = "RCC_PLL1CFGR" if offset == _PLL1CFGR else "RCC_PLL1DIVR"
            raise Forbidden(name, value, f"written while PLL1 is on (RM0456, {name})")
        if offset == _PLL1CFGR and changed & 0xF003 and self.boosting():
            raise Forbidden("RCC_PLL1CFGR", value, "booster's clock changed while BOOSTEN is 1 (RM0456, RCC_PLL1CFGR)")
        if offset == _CFGR1:
            if not self.ready(_SOURCES[value & 3]):
                raise Forbidden("RCC_CFGR1", value, "SW selects a clock that is not ready (RM0456, RCC_CFGR1)")
            value = value & ~0xC | (value & 3) << 2
        self.registers[offset] = value
        if offset in (_CFGR1, _CFGR2, _CFGR3):
            self.check_clocks(f"RCC_CFGR{(offset - _CFGR1) // 4 + 1}", value)

    def needed(self) -> list[int]:
        source = _SOURCES[self._source()]
        return [source, self.pll_source()] if source == _PLL1ON else [source]

    def check_start(self, bit: int, control: int) -> None:
        if bit == _PLL1ON:
            if not self.ready(self.pll_source()):
                raise Forbidden("RCC_CR", control, "PLL1 on before its source is ready (RM0456, RCC_CR)")
            if self.voltage_range() not in self.part.vco_hz:
                rule = f"PLL1 on in voltage range {self.voltage_range()} (RM0456 11.4.10)"
                raise Forbidden("RCC_CR", control, rule)
            self.pll_hz()

    def write_control(self, value: int) -> None:
        if value >> _HSEON & 1:
            raise Forbidden("RCC_CR", value, "HSE switched on, but the board has nothing on OSC_IN")
        super().write_control(value)

    def _source(self) -> int:
        return self.registers.get(_CFGR1, 0) >> 2 & 3

    def pll_source(self) -> int:
        """The bit of RCC_CR that switches on what PLL1 and the booster take."""
        config = self.registers[_PLL1CFGR]
        if config & 3 not in (1, 2):
            raise Forbidden("RCC_PLL1CFGR", config, "PLL1SRC is not MSIS or HSI16, as here (RM0456, RCC_PLL1CFGR)")
        return _PLL_SOURCES[config & 3]

    def _source_hz(self) -> int:
        return MSI_HZ if self.pll_source() == _MSISON else HSI_HZ

    def booster_hz(self) -> float:
        """Clock of the regulator's booster."""
        code = self.registers[_PLL1CFGR] >> 12 & 15
        return self._source_hz() / (2 * code or 1)

    def pll_hz(self) -> int:
        """Output R of PLL1; checks its factors, input, VCO and output."""
        config, divisors = self.registers[_PLL1CFGR], self.registers[_PLL1DIVR]
        m, n, r = (config >> 8 & 15) + 1, (divisors & 0x1FF) + 1, (divisors >> 24 & 0x7F) + 1
        if not config >> 18 & 1:
            raise Forbidden("RCC_PLL1CFGR", config, "output R, which feeds the core, is off: PLL1REN = 0 (RM0456)")
        source, scale = self._source_hz() / m, self.voltage_range()
        low, high = (8_000_000, 16_000_000) if config >> 2 & 3 == 3 else (4_000_000, 8_000_000)
        if not low <= source <= high:
            rule = f"PLL input {source:.0f} Hz is not {low} to {high}, as PLL1RGE says (RM0456 11.4.6)"
            raise Forbidden("RCC_PLL1CFGR", config, rule)
        lowest, highest = self.part.lowest_vco_hz, self.part.vco_hz[scale]
        if n < 4 or not lowest <= source * n <= highest:
            rule = f"VCO {source * n:.0f} Hz, {n} times: not 4 times or more, {lowest} to {highest}"
            raise Forbidden("RCC_PLL1DIVR", divisors, f"{rule} in range {scale} (RM0456 11.4.10)")
        return round(source * n / r)

    def core_hz(self) -> int:
        bit = _SOURCES[self._source()]
        sysclk = self.pll_hz() if bit == _PLL1ON else {_MSISON: MSI_HZ, _HSION: HSI_HZ}[bit]
        return sysclk // ahb_divider(self.registers.get(_CFGR2, 0) & 15)

    def bus_hz(self, bus: str) -> int:
        """Clock of "ahb", "apb1" to "apb3"."""
        places = {"apb1": (_CFGR2, 4), "apb2": (_CFGR2, 8), "apb3": (_CFGR3, 4)}
        if bus not in places:
            return self.core_hz()
        register, shift = places[bus]
        return self.core_hz() // apb_divider(self.registers.get(register, 0) >> shift & 7)

    def check_clocks(self, register: str, value: int) -> None:
        """Raises Forbidden when the present settings are outside the limits."""
        hclk, scale, part = self.core_hz(), self.voltage_range(), self.part
        if hclk > part.core_hz[scale]:
            rule = f"HCLK {hclk} Hz, at most {part.core_hz[scale]} in voltage range {scale} (RM0456 11.4.9)"
            raise Forbidden(register, value, rule)
        if hclk > part.boost_above_hz and not self.boosted():
            rule = f"HCLK {hclk} Hz, at most {part.boost_above_hz} until BOOSTRDY (RM0456 10.5.4)"
            raise Forbidden(register, value, rule)
        needed = needed_wait_states(part.wait_states[scale], hclk)
        if self.wait_states() < needed:
            rule = f"HCLK {hclk} Hz needs {needed} flash wait states, {self.wait_states()} are set, in range {scale}"
            raise Forbidden(register, value, f"{rule} (RM0456, FLASH: read access latency)")


@dataclass
class PwrU5(Peripheral):
    """Regulator, voltage range, booster, and the supply of port G (RM0456 chapter 10)."""

    rcc: RccU5 = field(kw_only=True)
    registers: dict[int, int] = field(default_factory=lambda: {_CR3: 0, _VOSR: 0})
    _ready_at: dict[str, int] = field(default_factory=dict, init=False)

    def read(self, offset: int) -> int:
        value = super().read(offset)
        if offset == _VOSR:  # BOOSTRDY, VOSRDY
            return value & ~(3 << 14) | int(self.boosted()) << 14 | int(self._ready("VOS")) << 15
        if offset == _SVMSR:  # REGS, ACTVOSRDY, ACTVOS
            regulator = self.registers[_CR3] & _REGSEL if self._ready("REGSEL") else ~self.registers[_CR3] & _REGSEL
            return regulator | int(self._ready("VOS")) << 15 | self.registers[_VOSR] & _VOS
        return value

    def write(self, offset: int, value: int) -> None:
        changed = value ^ self.registers.get(offset, 0)
        if offset == _CR3 and changed & _REGSEL:
            self._start("REGSEL")
        if offset == _VOSR:
            self._check_range(value, changed)
            for name, bits in (("VOS", _VOS), ("BOOST", _BOOSTEN)):
                if changed & bits:
                    self._start(name)
        super().write(offset, value)
        if offset == _VOSR:
            self.rcc.check_clocks("PWR_VOSR", value)

    def _check_range(self, value: int, changed: int) -> None:
        if changed & _VOS and not self._ready("VOS"):
            raise Forbidden("PWR_VOSR", value, "VOS changed before VOSRDY (RM0456, PWR_VOSR)")
        if not changed & value & _BOOSTEN:
            return
        if (value & _VOS) >> 16 < 2 or not self._ready("VOS") or changed & _VOS:
            raise Forbidden("PWR_VOSR", value, "BOOSTEN set before range 1 or 2 is ready (RM0456 10.5.4)")
        if not self.rcc.ready(self.rcc.pll_source()) or not 4e6 <= self.rcc.booster_hz() <= 16e6:
            rule = f"BOOSTEN set without a clock of 4 to 16 MHz from PLL1MBOOST: {self.rcc.booster_hz():.0f} Hz"
            raise Forbidden("PWR_VOSR", value, f"{rule}, or not ready (RM0456 10.5.4)")

    def _start(self, name: str) -> None:
        self._ready_at[name] = self.rcc.clock() + round(_REGULATOR_SECONDS * self.rcc.core_hz())

    def _ready(self, name: str) -> bool:
        return self.rcc.clock() >= self._ready_at.get(name, 0)

    def boosting(self) -> bool:
        """BOOSTEN."""
        return bool(self.registers[_VOSR] & _BOOSTEN)

    def boosted(self) -> bool:
        """BOOSTRDY."""
        return self.boosting() and self._ready("BOOST")

    def voltage_range(self) -> int:
        """1 to 4; what is not ready yet counts as range 4."""
        return 4 - (self.registers[_VOSR] >> 16 & 3) if self._ready("VOS") else 4

    def has_port_g(self) -> bool:
        """Whether VDDIO2 was said to be there: PG2 to PG15 are cut off before."""
        return bool(self.registers.get(_SVMCR, 0) & _IO2SV)


@dataclass
class FlashU5(Peripheral):
    """Flash interface: wait states."""

    rcc: RccU5 = field(kw_only=True)
    registers: dict[int, int] = field(default_factory=lambda: {0: 0})

    def write(self, offset: int, value: int) -> None:
        super().write(offset, value)
        if offset == 0:
            self.rcc.check_clocks("FLASH_ACR", value)

    def wait_states(self) -> int:
        """LATENCY."""
        return self.registers[0] & 15


@dataclass
class IcacheU5(Peripheral):
    """The cache between core and flash, for code and constants."""

    registers: dict[int, int] = field(default_factory=lambda: {0: 4})

    def write(self, offset: int, value: int) -> None:
        if offset == 0 and (value ^ self.registers[0]) & 4 and self.registers[0] & 1:
            raise Forbidden("ICACHE_CR", value, "WAYSEL changed while the cache is on (RM0456, ICACHE_CR)")
        super().write(offset, value)


@dataclass
class GpioU5(Gpio):
    """A port; PG2 to PG15 drive nothing without VDDIO2.

    Attributes:
        supplied: whether a pin has its supply.
    """

    supplied: Callable[[int], bool] = lambda pin: True

    def alternate(self, pin: int) -> int | None:
        return super().alternate(pin) if self.supplied(pin) else None

    def is_high(self, pin: int) -> bool:
        return super().is_high(pin) and self.supplied(pin)


def peripherals(board: Board, part: StmU5, clock: Callable[[], int]) -> tuple[list[Peripheral], StmUart]:
    """Peripherals of a board with that part, and its UART; `clock` gives cycles since reset."""
    assert board.clock is not None and board.uart is not None
    uart = board.uart
    rcc = RccU5("RCC", RCC_BASE, part=part, clock=clock)
    flash = FlashU5("FLASH", FLASH_BASE, rcc=rcc)
    power = PwrU5("PWR", PWR_BASE, rcc=rcc, enabled=rcc.gate("ahb3enr", 2), clock_rule="RM0456, RCC_AHB3ENR")
    rcc.wait_states, rcc.voltage_range = flash.wait_states, power.voltage_range
    rcc.boosted, rcc.boosting = power.boosted, power.boosting
    # After reset all pins are analog, but those of the debug port.
    modes = {0: 0xABFFFFFF, 1: 0xFFFFFEBF}
    ports: list[Gpio] = [
        GpioU5(
            f"GPIO{chr(ord('A') + i)}",
            GPIO_BASE + 0x400 * i,
            enabled=rcc.gate("ahb2enr1", i),
            clock_rule="RM0456, RCC_AHB2ENR1",
            registers={0x00: modes.get(i, 0xFFFFFFFF)},
        )
        for i in range(part.ports)
    ]
    port_g = ports[6]
    assert isinstance(port_g, GpioU5)
    port_g.supplied = lambda pin: pin < 2 or power.has_port_g()
    enable = uart.enable
    usart = UsartF7(
        uart.instance,
        uart.base,
        baud=uart.baud,
        bus_hz=lambda: rcc.bus_hz(uart.bus),
        manual="RM0456, USART",
        pin_ready=pin_check(board, ports),
        clock_rule="RM0456, RCC_APB2ENR",
        enabled=rcc.gate(enable.register, enable.bit) if enable else lambda: True,
    )
    return [rcc, flash, power, IcacheU5("ICACHE", ICACHE_BASE), *ports, usart], usart
