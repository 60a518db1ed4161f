"""Common parts of STM32F4 and STM32F7: clock tree, flash interface, pins and the rules of their USARTs.

RM0090 (F405/F407), RM0383 (F411), RM0385 (F74x/F75x) and RM0410 (F76x/F77x).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from tinygen.targets.board import Board
from tinygen.targets.emulator.peripheral import Forbidden, Peripheral, Port
from tinygen.targets.emulator.uart import Uart
from tinygen.targets.parts.part import needed_wait_states
from tinygen.targets.parts.stm32f import Limits

RCC_BASE, FLASH_BASE, PWR_BASE, GPIO_BASE = 0x40023800, 0x40023C00, 0x40007000, 0x40020000
HSI_HZ = 16_000_000
_CR, _PLLCFGR, _CFGR, _AHB1ENR, _APB1ENR, _APB2ENR = 0x00, 0x04, 0x08, 0x30, 0x40, 0x44
_NAMES = {_CR: "RCC_CR", _PLLCFGR: "RCC_PLLCFGR", _CFGR: "RCC_CFGR"}
_ENABLE_REGISTERS = {"ahb1enr": _AHB1ENR, "apb1enr": _APB1ENR, "apb2enr": _APB2ENR}
_PLLI2SCFGR = 0x84
_RESETS_BELOW = 0x20
_HSION, _HSEON, _HSEBYP, _PLLON, _PLLI2SON = 0, 16, 18, 24, 26
_HSI, _HSE, _PLL = 0, 1, 2
# Seconds from on to ready: datasheets' typical values, so that a firmware that does not wait is caught.
_START = {_HSION: 2e-6, _HSEON: 1e-3, _PLLON: 100e-6, _PLLI2SON: 100e-6}
_START_BYPASS = 5e-6
_I2S_MOST = 192_000_000


@dataclass
class Rcc(Peripheral):
    """Reset and clock control.

    Attributes:
        limits: of the part.
        hse_hz, hse_bypass: what is on OSC_IN: how fast, and a clock rather than a crystal.
        clock: cycles of the core since reset.
        resets: what to do when a peripheral's reset bit is set, by its enable register and bit.
        wait_states, over_drive, voltage_scale: as set now.
    """

    limits: Limits = field(kw_only=True)
    hse_hz: int = 0
    hse_bypass: bool = False
    clock: Callable[[], int] = lambda: 0
    resets: dict[tuple[str, int], Callable[[], None]] = field(default_factory=dict)
    wait_states: Callable[[], int] = lambda: 0
    over_drive: Callable[[], bool] = lambda: False
    voltage_scale: Callable[[], int] = lambda: 1
    registers: dict[int, int] = field(
        default_factory=lambda: {_CR: 0x83, _PLLCFGR: 0x24003010, _CFGR: 0, _PLLI2SCFGR: 0x24003000}
    )
    _ready_at: dict[int, int] = field(default_factory=lambda: {_HSION: 0}, init=False)

    def read(self, offset: int) -> int:
        value = super().read(offset)
        if offset == _CR:
            for bit in _START:
                value = value & ~(2 << bit) | int(self._ready(bit)) << (bit + 1)
        return value

    def write(self, offset: int, value: int) -> None:
        if offset == _CR:
            self._write_control(value)
            return
        if offset == _PLLCFGR and value != self.registers[offset] and self._on(_PLLON):
            raise Forbidden("RCC_PLLCFGR", value, f"written while the PLL is on ({self.limits.tree}, PLLCFGR)")
        if offset == _PLLI2SCFGR and value != self.registers.get(offset, 0) and self._on(_PLLI2SON):
            raise Forbidden("RCC_PLLI2SCFGR", value, f"written while PLLI2S is on ({self.limits.tree}, PLLI2SCFGR)")
        if offset == _CFGR:
            value = self._selected(value)
        for (register, bit), reset in self.resets.items():
            if offset == _ENABLE_REGISTERS[register] - _RESETS_BELOW and value >> bit & 1:
                reset()
        self.registers[offset] = value
        if offset in _NAMES:
            self.check_clocks(_NAMES[offset], value)

    def _write_control(self, value: int) -> None:
        before = self.registers[_CR]
        self._check_switching_off(value)
        if (before ^ value) >> _HSEBYP & 1 and before >> _HSEON & 1:
            raise Forbidden("RCC_CR", value, f"HSEBYP changed while HSE is on ({self.limits.tree}, CR)")
        starts = {bit for bit in _START if value >> bit & 1 and not before >> bit & 1}
        if _HSEON in starts:
            self._check_oscillator(value)
        self.registers[_CR] = value
        for bit in starts:
            seconds = _START_BYPASS if bit == _HSEON and self.hse_bypass else _START[bit]
            self._ready_at[bit] = self.clock() + int(seconds * self.hclk_hz())
        if _PLLON in starts or _PLLI2SON in starts:
            self._check_pll_source()
        if _PLLON in starts:
            self.pll_hz()
        if _PLLI2SON in starts:
            self._pll_i2s_hz()

    def _check_oscillator(self, control: int) -> None:
        bypass = bool(control >> _HSEBYP & 1)
        if not self.hse_hz:
            raise Forbidden("RCC_CR", control, "HSE switched on, but the board has nothing on OSC_IN")
        if bypass != self.hse_bypass:
            there = "a clock signal" if self.hse_bypass else "a crystal"
            rule = f"HSEBYP is {int(bypass)}, but the board has {there} on OSC_IN ({self.limits.tree}, HSE clock)"
            raise Forbidden("RCC_CR", control, rule)

    def _check_pll_source(self) -> None:
        source = _HSEON if self.registers[_PLLCFGR] >> 22 & 1 else _HSION
        if not self._ready(source):
            raise Forbidden("RCC_CR", self.registers[_CR], f"PLL on before its source is ready ({self.limits.tree})")

    def _selected(self, config: int) -> int:
        """`config` with SWS following SW."""
        selected = config & 3
        if selected == 3:
            raise Forbidden("RCC_CFGR", config, f"SW = 3 is not allowed ({self.limits.tree}, CFGR)")
        if not self._ready((_HSION, _HSEON, _PLLON)[selected]):
            name = ("HSI", "HSE", "the PLL")[selected]
            raise Forbidden("RCC_CFGR", config, f"SW selects {name}, which is not ready ({self.limits.tree}, CFGR)")
        return config & ~0xC | selected << 2

    def _on(self, bit: int) -> bool:
        return bool(self.registers[_CR] >> bit & 1)

    def _ready(self, bit: int) -> bool:
        return self._on(bit) and self.clock() >= self._ready_at.get(bit, 0)

    def source(self) -> int:
        """Source of SYSCLK: 0 HSI, 1 HSE, 2 PLL."""
        return self.registers[_CFGR] >> 2 & 3

    def pll_is_on(self) -> bool:
        """Whether the main PLL is switched on."""
        return self._on(_PLLON)

    def uses_pll(self) -> bool:
        """Whether SYSCLK comes from the main PLL."""
        return self.source() == _PLL

    def _check_switching_off(self, value: int) -> None:
        in_use = {_HSI: _HSION, _HSE: _HSEON, _PLL: _PLLON}[self.source()]
        source_of_pll = _HSEON if self.registers[_PLLCFGR] >> 22 & 1 else _HSION
        needed = [in_use] + ([source_of_pll] if in_use == _PLLON else [])
        if any(not value >> bit & 1 for bit in needed):
            raise Forbidden("RCC_CR", value, f"switches off the clock that drives the core ({self.limits.tree}, CR)")

    def pll_hz(self) -> int:
        """Output of the main PLL; checks its factors, input, VCO and output."""
        config, tree = self.registers[_PLLCFGR], self.limits.tree
        source = self.hse_hz if config >> 22 & 1 else HSI_HZ
        m, n, p, q = config & 0x3F, config >> 6 & 0x1FF, ((config >> 16 & 3) + 1) * 2, config >> 24 & 0xF
        low, high = self.limits.vco
        if m < 2 or not 50 <= n <= 432 or q < 2:
            rule = f"PLLM {m} is not 2 to 63, PLLN {n} not 50 to 432, or PLLQ {q} not 2 to 15 ({tree}, PLLCFGR)"
            raise Forbidden("RCC_PLLCFGR", config, rule)
        if not 950_000 <= source / m <= 2_100_000:
            rule = f"VCO input {source / m:.0f} Hz is not 1 to 2 MHz ({tree}, PLLCFGR)"
            raise Forbidden("RCC_PLLCFGR", config, rule)
        vco = source / m * n
        if not low <= vco <= high:
            raise Forbidden("RCC_PLLCFGR", config, f"VCO {vco:.0f} Hz is not {low} to {high} ({tree}, PLLCFGR)")
        if not 24_000_000 <= vco / p <= self.limits.pll_out:
            rule = f"PLL output {vco / p:.0f} Hz is not 24000000 to {self.limits.pll_out} ({tree}, PLLCFGR)"
            raise Forbidden("RCC_PLLCFGR", config, rule)
        return round(vco / p)

    def i2s_hz(self) -> Fraction:
        """Clock of the I2S ports from PLLI2S, Hz; 0 while it is not ready."""
        if self.registers[_CFGR] >> 23 & 1:
            raise Forbidden("RCC_CFGR", self.registers[_CFGR], "I2SSRC selects a pin that nothing is wired to")
        return self._pll_i2s_hz() if self._ready(_PLLI2SON) else Fraction(0)

    def _pll_i2s_hz(self) -> Fraction:
        """Output R of PLLI2S; checks its factors and VCO."""
        config, main, tree = self.registers[_PLLI2SCFGR], self.registers[_PLLCFGR], self.limits.tree
        n, r = config >> 6 & 0x1FF, config >> 28 & 7
        if not 50 <= n <= 432 or r < 2:
            rule = f"PLLI2SN {n} is not 50 to 432, or PLLI2SR {r} not 2 to 7 ({tree}, PLLI2SCFGR)"
            raise Forbidden("RCC_PLLI2SCFGR", config, rule)
        vco = Fraction((self.hse_hz if main >> 22 & 1 else HSI_HZ) * n, main & 0x3F)
        low, high = self.limits.vco
        if not low <= vco <= high:
            rule = f"VCO {float(vco):.0f} Hz is not {low} to {high} ({tree}, PLLI2SCFGR)"
            raise Forbidden("RCC_PLLI2SCFGR", config, rule)
        if vco / r > _I2S_MOST:
            rule = f"{float(vco / r):.0f} Hz, at most {_I2S_MOST} ({tree}, PLLI2SCFGR)"
            raise Forbidden("RCC_PLLI2SCFGR", config, rule)
        return vco / r

    def hclk_hz(self) -> int:
        """Clock of the core, Hz."""
        source = self.source()
        sysclk = self.pll_hz() if source == _PLL else {_HSI: HSI_HZ, _HSE: self.hse_hz}[source]
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
        limits, fast, hclk, scale = self.limits, self.over_drive(), self.hclk_hz(), self.voltage_scale()
        drive = "with" if fast else "without"
        allowed = limits.core[scale, fast]
        if hclk > allowed:
            rule = f"HCLK {hclk} Hz, at most {allowed} {drive} over-drive at voltage scale {scale} ({limits.buses})"
            raise Forbidden(register, value, rule)
        for bus, most in (("apb1", limits.apb1[fast]), ("apb2", limits.apb2[fast])):
            if self.bus_hz(bus) > most:
                rule = f"{bus.upper()} {self.bus_hz(bus)} Hz, at most {most} {drive} over-drive ({limits.buses})"
                raise Forbidden(register, value, rule)
        needed = needed_wait_states(limits.wait_states, hclk)
        if self.wait_states() < needed:
            rule = f"HCLK {hclk} Hz needs {needed} flash wait states, {self.wait_states()} are set ({limits.waits})"
            raise Forbidden(register, value, rule)

    def peripheral_on(self, register: str, bit: int) -> bool:
        """Whether an enable bit is set."""
        return bool(self.registers.get(_ENABLE_REGISTERS[register], 0) >> bit & 1)

    def gate(self, register: str, bit: int) -> Callable[[], bool]:
        """`peripheral_on` for later."""
        return lambda: self.peripheral_on(register, bit)


@dataclass
class Flash(Peripheral):
    """Flash interface: wait states and accelerator.

    Attributes:
        changed: called with what was written to ACR.
        resets: (reset bit, enable bit) pairs of ACR: the first may be set only while the second is 0.
        manual: where it says so.
    """

    changed: Callable[[int], None] = lambda value: None
    resets: tuple[tuple[int, int], ...] = ()
    manual: str = ""

    def write(self, offset: int, value: int) -> None:
        if offset == 0x00:
            for reset, enable in self.resets:
                if value >> reset & 1 and value >> enable & 1:
                    raise Forbidden("FLASH_ACR", value, f"resets a cache that is on ({self.manual})")
        super().write(offset, value)
        if offset == 0x00:
            self.changed(value)

    def wait_states(self) -> int:
        """ACR.LATENCY."""
        return self.registers.get(0x00, 0) & 0xF


@dataclass
class Gpio(Port):
    """One port."""

    def write(self, offset: int, value: int) -> None:
        if offset == 0x18:  # BSRR: set wins over reset
            offset, value = 0x14, self.registers.get(0x14, 0) & ~(value >> 16) | value & 0xFFFF
        super().write(offset, value)
        self.settle()

    def read(self, offset: int) -> int:
        if offset == 0x10:  # IDR: inputs are pulled low here
            outputs = sum(1 << pin for pin in range(16) if self._mode(pin) == 1)
            return self.registers.get(0x14, 0) & outputs
        return 0 if offset == 0x18 else super().read(offset)

    def _mode(self, pin: int) -> int:
        return self.registers.get(0x00, 0) >> (2 * pin) & 3

    def alternate(self, pin: int) -> int | None:
        """The alternate function a pin is switched to; None when it is in another mode."""
        if self._mode(pin) != 2:
            return None
        return self.registers.get(0x20 + 4 * (pin // 8), 0) >> (4 * (pin % 8)) & 0xF

    def is_high(self, pin: int) -> bool:
        return self._mode(pin) == 1 and bool(self.registers.get(0x14, 0) >> pin & 1)


@dataclass
class StmUart(Uart):
    """Common part of STM32 USARTs: they work only when enabled, on the right pins, at the right rate.

    Attributes:
        bus_hz: the clock that feeds the USART now.
        pin_ready: whether the "TX" or "RX" pin is switched to the USART.
        manual: chapter of the reference manual.
    """

    bus_hz: Callable[[], int] = lambda: 0
    pin_ready: Callable[[str], bool] = lambda direction: True
    manual: str = ""

    def settings(self) -> tuple[int, int, int]:
        """CR1, CR2 and BRR."""
        raise NotImplementedError

    def rate(self) -> float:
        return float(self.once("rate", self._rate_now))

    def _rate_now(self) -> float:
        control, _, divisor = self.settings()
        times = self._divisor_times_16(control, divisor)
        return 16 * self.bus_hz() / times if times >= 16 else 0.0

    def check_line(self, direction: str, enable: int) -> None:
        """Raises Forbidden unless a byte would be transferred.

        Args:
            direction: "TX" or "RX".
            enable: bits of CR1 that must be set.
        """
        self.once(direction, lambda: self._check_line(direction, enable))

    def _check_line(self, direction: str, enable: int) -> None:
        control, control2, divisor = self.settings()
        if control & enable != enable:
            bit = "TE" if direction == "TX" else "RE"
            raise Forbidden(f"{self.name}_CR1", control, f"a byte passes before UE and {bit} are set ({self.manual})")
        if control & (1 << 28 | 1 << 12 | 1 << 10) or control2 >> 12 & 3:
            rule = f"not 8 data bits, no parity, 1 stop bit, as the line is ({self.manual})"
            raise Forbidden(f"{self.name}_CR1", control, rule)
        if not self.pin_ready(direction):
            rule = f"{self.name} is used, but its {direction} pin is not in its alternate function"
            raise Forbidden("GPIO_AFR", 0, rule)
        self.check_rate(f"{self.name}_BRR", divisor, self.rate(), self.bus_hz())

    def _divisor_times_16(self, control: int, divisor: int) -> int:
        """Clocks per 16 bits of the line."""
        if control >> 15 & 1:  # OVER8: 3 bits of fraction
            return (divisor & ~0xF) * 8 + (divisor & 7) * 16
        return divisor * 16


def reset_ports(rcc: Rcc, count: int, manual: str) -> list[Gpio]:
    """Ports A, B, ... as reset leaves them: A and B hold the debug pins."""
    modes, speeds, pulls = {0: 0xA8000000, 1: 0x280}, {0: 0x0C000000, 1: 0xC0}, {0: 0x64000000, 1: 0x100}
    return [
        Gpio(
            f"GPIO{chr(ord('A') + i)}",
            GPIO_BASE + 0x400 * i,
            enabled=rcc.gate("ahb1enr", i),
            clock_rule=manual,
            registers={0x00: modes.get(i, 0), 0x08: speeds.get(i, 0), 0x0C: pulls.get(i, 0)},
        )
        for i in range(count)
    ]


def pin_check(board: Board, ports: list[Gpio]) -> Callable[[str], bool]:
    """Whether a pin of the board's UART is switched to it."""
    uart = board.uart
    assert uart is not None

    def ready(direction: str) -> bool:
        pin = uart.tx if direction == "TX" else uart.rx
        return pin is None or ports[ord(pin.port) - ord("A")].alternate(pin.number) == uart.af

    return ready
