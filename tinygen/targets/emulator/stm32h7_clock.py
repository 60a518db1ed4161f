"""STM32H743: clock tree and flash interface. RM0433; names as in ST's header stm32h743xx.h."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tinygen.targets.emulator.oscillators import CONTROL, Oscillators, Switch, ahb_divider, apb_divider
from tinygen.targets.emulator.peripheral import Forbidden, Peripheral
from tinygen.targets.parts.part import needed_wait_states
from tinygen.targets.parts.stm32h7 import StmH7

HSI_HZ, CSI_HZ = 64_000_000, 4_000_000
_CFGR, _D1CFGR, _D2CFGR, _D3CFGR, _PLLCKSELR, _PLLCFGR, _PLL1DIVR = 0x10, 0x18, 0x1C, 0x20, 0x28, 0x2C, 0x30
_NAMES = {
    _CFGR: "RCC_CFGR",
    _D1CFGR: "RCC_D1CFGR",
    _D2CFGR: "RCC_D2CFGR",
    _D3CFGR: "RCC_D3CFGR",
    _PLLCKSELR: "RCC_PLLCKSELR",
    _PLLCFGR: "RCC_PLLCFGR",
    _PLL1DIVR: "RCC_PLL1DIVR",
}
_ENABLES = {"ahb4enr": 0xE0, "apb1lenr": 0xE8, "apb1henr": 0xEC, "apb2enr": 0xF0, "apb4enr": 0xF4}
_HSION, _CSION, _HSEON, _HSEBYP, _PLL1ON = 0, 7, 16, 18, 24
_SOURCES = {0: _HSION, 1: _CSION, 2: _HSEON, 3: _PLL1ON}  # of CFGR.SW; PLLSRC has the first three
# Seconds: DS12110's typical values where it has them; a crystal takes a millisecond or so, a clock at the pin none.
_SWITCHES = {
    _HSION: Switch(2, 2e-6),
    _CSION: Switch(8, 1e-6),
    _HSEON: Switch(17, 1e-3),
    _PLL1ON: Switch(25, 50e-6),
}
_BYPASSED = {**_SWITCHES, _HSEON: Switch(17, 5e-6)}


@dataclass
class RccH7(Oscillators):
    """Reset and clock control, as far as HSI, CSI, HSE and PLL1's output P go.

    Attributes:
        part: with its limits.
        hse_hz, hse_bypass: what is on OSC_IN: how fast, and a clock rather than a crystal.
        wait_states, write_delay: as set in the flash interface.
        voltage_scale: what the regulator gives now, 0 to 3.
    """

    part: StmH7 = field(kw_only=True)
    hse_hz: int = 0
    hse_bypass: bool = False
    wait_states: Callable[[], int] = lambda: 7
    write_delay: Callable[[], int] = lambda: 3
    voltage_scale: Callable[[], int] = lambda: 3
    manual: str = "RM0433"
    enables: Mapping[str, int] = field(default_factory=lambda: _ENABLES)
    registers: dict[int, int] = field(
        default_factory=lambda: {CONTROL: 0x25, _PLLCKSELR: 0x02020200, _PLLCFGR: 0x01FF0000, _PLL1DIVR: 0x01010280}
    )

    def __post_init__(self) -> None:
        self.switches = _BYPASSED if self.hse_bypass else _SWITCHES

    def write(self, offset: int, value: int) -> None:
        if offset == CONTROL:
            if (self.registers[CONTROL] ^ value) >> _HSEBYP & 1 and self.on(_HSEON):
                raise Forbidden("RCC_CR", value, "HSEBYP changed while HSE is on (RM0433, RCC_CR)")
            self.write_control(value)
            return
        changed = value != self.registers.get(offset, 0)
        if offset in (_PLLCKSELR, _PLLCFGR, _PLL1DIVR) and changed and self.on(_PLL1ON):
            raise Forbidden(_NAMES[offset], value, f"written while PLL1 is on (RM0433, {_NAMES[offset]})")
        if offset == _CFGR:
            selected = value & 7
            if selected not in _SOURCES or not self.ready(_SOURCES[selected]):
                raise Forbidden("RCC_CFGR", value, "SW selects a clock that is not ready (RM0433, RCC_CFGR)")
            value = value & ~0x38 | selected << 3
        self.registers[offset] = value
        if offset in (_CFGR, _D1CFGR, _D2CFGR, _D3CFGR):
            self.check_clocks(_NAMES[offset], value)

    def needed(self) -> list[int]:
        source = _SOURCES[self._source()]
        return [source, self._pll_source()] if source == _PLL1ON else [source]

    def check_start(self, bit: int, control: int) -> None:
        if bit == _HSEON:
            self._check_oscillator(control)
        if bit == _PLL1ON:
            if not self.ready(self._pll_source()):
                raise Forbidden("RCC_CR", control, "PLL1 on before its source is ready (RM0433, RCC: PLL)")
            self.pll_hz()

    def _check_oscillator(self, control: int) -> None:
        if not self.hse_hz:
            raise Forbidden("RCC_CR", control, "HSE switched on, but the board has nothing on OSC_IN")
        bypass = bool(control >> _HSEBYP & 1)
        if bypass != self.hse_bypass:
            there = "a clock signal" if self.hse_bypass else "a crystal"
            rule = f"HSEBYP is {int(bypass)}, but the board has {there} on OSC_IN (RM0433, RCC: HSE oscillator)"
            raise Forbidden("RCC_CR", control, rule)

    def _source(self) -> int:
        return self.registers.get(_CFGR, 0) >> 3 & 7

    def _pll_source(self) -> int:
        selected = self.registers[_PLLCKSELR] & 3
        if selected == 3:
            raise Forbidden("RCC_PLLCKSELR", self.registers[_PLLCKSELR], "PLLSRC is 3: no clock (RM0433)")
        return _SOURCES[selected]

    def _hz(self, bit: int) -> int:
        hsi = HSI_HZ >> (self.registers[CONTROL] >> 3 & 3)  # HSIDIV
        return {_HSION: hsi, _CSION: CSI_HZ, _HSEON: self.hse_hz}[bit]

    def pll_hz(self) -> int:
        """Output P of PLL1; checks its factors, input and VCO."""
        config, divisors = self.registers[_PLLCFGR], self.registers[_PLL1DIVR]
        m, n, p = self.registers[_PLLCKSELR] >> 4 & 0x3F, (divisors & 0x1FF) + 1, (divisors >> 9 & 0x7F) + 1
        if not m or n < 4:
            rule = f"DIVM1 is {m}, DIVN1 {n}: at least 1 and 4 (RM0433)"
            raise Forbidden("RCC_PLLCKSELR", self.registers[_PLLCKSELR], rule)
        if p % 2:
            raise Forbidden("RCC_PLL1DIVR", divisors, f"DIVP1 {p} is odd (RM0433, RCC_PLL1DIVR)")
        if not config >> 16 & 1:
            raise Forbidden("RCC_PLLCFGR", config, "output P, which feeds the core, is off: DIVP1EN = 0 (RM0433)")
        source = self._hz(self._pll_source()) / m
        lowest = 1_000_000 << (config >> 2 & 3)
        if not lowest <= source <= 2 * lowest:
            rule = f"PLL input {source:.0f} Hz is not {lowest} to {2 * lowest}, as PLL1RGE says (RM0433, RCC_PLLCFGR)"
            raise Forbidden("RCC_PLLCFGR", config, rule)
        medium = bool(config >> 1 & 1)
        low, high = self.part.medium_vco if medium else self.part.wide_vco
        if not low <= source * n <= high or (source < 2_000_000 and not medium):
            rule = f"VCO {source * n:.0f} Hz from {source:.0f} is not {low} to {high}, as PLL1VCOSEL says"
            raise Forbidden("RCC_PLLCFGR", config, f"{rule} (DS12110, PLL characteristics; below 2 MHz medium only)")
        return round(source * n / p)

    def core_hz(self) -> int:
        bit = _SOURCES[self._source()]
        sysclk = self.pll_hz() if bit == _PLL1ON else self._hz(bit)
        return sysclk // ahb_divider(self.registers.get(_D1CFGR, 0) >> 8 & 15)

    def bus_hz(self, bus: str) -> int:
        """Clock of "ahb" (and AXI), "apb1" to "apb4"."""
        hz = self.core_hz() // ahb_divider(self.registers.get(_D1CFGR, 0) & 15)
        places = {"apb1": (_D2CFGR, 4), "apb2": (_D2CFGR, 8), "apb3": (_D1CFGR, 4), "apb4": (_D3CFGR, 4)}
        if bus not in places:
            return hz
        register, shift = places[bus]
        return hz // apb_divider(self.registers.get(register, 0) >> shift & 7)

    def check_clocks(self, register: str, value: int) -> None:
        """Raises Forbidden when the present settings are outside the limits."""
        scale, axi, part = self.voltage_scale(), self.bus_hz("ahb"), self.part
        most = part.core_hz[scale]
        clocks = [("core", self.core_hz(), most), ("AXI", axi, most // 2)]
        # Reset leaves HSI on all buses, in scale 3, whose APB limit is lower.
        apb = max(most // 4, HSI_HZ)
        clocks += [(bus.upper(), self.bus_hz(bus), apb) for bus in ("apb1", "apb2", "apb3", "apb4")]
        for name, hz, allowed in clocks:
            if hz > allowed:
                rule = f"{name} {hz} Hz, at most {allowed} at voltage scale {scale} (DS12110, operating conditions)"
                raise Forbidden(register, value, rule)
        needed = needed_wait_states(part.wait_states[scale], axi)
        if self.wait_states() < needed:
            rule = (
                f"AXI {axi} Hz needs {needed} flash wait states, {self.wait_states()} are set, at voltage scale {scale}"
            )
            raise Forbidden(register, value, f"{rule} (RM0433 table 17)")
        delay = needed_wait_states(part.write_delays[scale], axi)
        if self.write_delay() < delay:
            rule = f"AXI {axi} Hz needs WRHIGHFREQ {delay}, {self.write_delay()} is set, at voltage scale {scale}"
            raise Forbidden(register, value, f"{rule} (RM0433 table 17)")


@dataclass
class FlashH7(Peripheral):
    """Flash interface: wait states and programming delay."""

    rcc: RccH7 = field(kw_only=True)
    registers: dict[int, int] = field(default_factory=lambda: {0: 0x37})

    def write(self, offset: int, value: int) -> None:
        super().write(offset, value)
        if offset == 0:
            self.rcc.check_clocks("FLASH_ACR", value)

    def wait_states(self) -> int:
        """LATENCY."""
        return self.registers[0] & 15

    def write_delay(self) -> int:
        """WRHIGHFREQ."""
        return self.registers[0] >> 4 & 3
