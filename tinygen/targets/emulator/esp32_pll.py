"""The PLL of ESP32-C3 and -C6: power, the registers behind the bus of the analogue blocks, and calibration.

It starts as esp-idf leaves it when switched off (clk_tree_ll.h, clk_ll_bbpll_disable), so firmware that skips a step is
detected: on a chip it might work, depending on what ran before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from tinygen.targets.emulator.peripheral import Forbidden, Peripheral

_BLOCK = 0x66
CALIBRATION_SECONDS = 20e-6
"""Time until an ESP32-C6 reports that it is done; an assumption without a source."""
_STOP, _RUN, _DONE = 1 << 2, 1 << 3, 1 << 24
_EXPECTED = {2: (0xFF, 5 << 4), 3: (0xFF, 8), 5: (0x77, 0), 9: (3, 2)}
_C3_EXPECTED = {4: (0xFF, 0x6B), 6: (0xFF, 1 << 6 | 2 << 4 | 3), **_EXPECTED}
_C6_EXPECTED = {6: (0xFF, 1 << 6 | 3 << 4 | 3), **_EXPECTED}


@dataclass
class Pll:
    """The state of the PLL.

    Attributes:
        expected: mask and value of its registers at 480 MHz from 40 MHz (regi2c_bbpll.h, clk_tree_ll.h).
        without_power: says why it has none, or "".
        seconds: since reset.
        settles: seconds that calibration takes before the core may run from it.
        registers: of all analogue blocks: block and number. All bits are set in those that nobody has written.
    """

    expected: Mapping[int, tuple[int, int]]
    without_power: Callable[[], str] = lambda: ""
    seconds: Callable[[], float] = lambda: 0.0
    settles: float = 0.0
    registers: dict[tuple[int, int], int] = field(default_factory=dict)
    _since: float | None = field(default=None, init=False)
    _calibrated: bool = field(default=False, init=False)

    def read(self, block: int, at: int) -> int:
        """A register of a block; nothing answers for a PLL without power."""
        return 0 if block == _BLOCK and self.without_power() else self.registers.get((block, at), 0xFF)

    def write(self, block: int, at: int, value: int) -> None:
        """Writes a register of a block, unless it is a PLL without power."""
        if block != _BLOCK or not self.without_power():
            self.registers[block, at] = value

    def calibrate(self, run: bool) -> None:
        """Starts calibration, or stops it."""
        if not run or self.without_power():
            self._calibrated, self._since = self.is_calibrated(), None
        elif self._since is None:
            self._since = self.seconds()

    def is_calibrated(self) -> bool:
        """Whether calibration has ended, now or before it was stopped."""
        return self._calibrated or (self._since is not None and self.seconds() >= self._since + self.settles)

    def problem(self) -> str:
        """Why it does not run at 480 MHz, or ""."""
        if why := self.without_power():
            return why
        for at, (mask, value) in sorted(self.expected.items()):
            if self.read(_BLOCK, at) & mask != value:
                return f"its register {at} is {self.read(_BLOCK, at):#04x}, and 480 MHz of 40 MHz take {value:#04x}"
        return "" if self.is_calibrated() else "it is not calibrated"

    def require(self, register: str, value: int) -> None:
        """Checks that the core may run from it; call before the switch.

        Raises:
            Forbidden: it does not run at 480 MHz.
        """
        if why := self.problem():
            rule = f"the core would stand still, the PLL does not run: {why} (rtc_clk.c of esp-idf)"
            raise Forbidden(register, value, rule)


@dataclass
class AnalogC3(Peripheral):
    """What an ESP32-C3 has beside the bus: regi2c_defs.h. Transfers are functions of the ROM."""

    pll: Pll = field(default_factory=lambda: Pll(_C3_EXPECTED))

    def write(self, offset: int, value: int) -> None:
        super().write(offset, value)
        if offset == 0x40:
            self.pll.calibrate(bool(value & _RUN) and not value & _STOP)


def c3_analog(rtc: Peripheral) -> AnalogC3:
    """The analogue part of an ESP32-C3, its PLL switched off in `rtc` and without its bus.

    Args:
        rtc: RTC_CNTL.
    """
    off = {1 << 10: "BBPLL_FORCE_PD", 1 << 8: "BBPLL_I2C_FORCE_PD", 1 << 6: "BB_I2C_FORCE_PD"}
    rtc.registers[0] = sum(off)
    analog = AnalogC3("I2C_MST", 0x6000E000, 0x1000, registers={0x40: _STOP, 0x44: 1 << 17})

    def without_power() -> str:
        for bit, name in off.items():
            if rtc.read(0) & bit:
                return f"{name} of RTC_CNTL_OPTIONS0 is set"
        return "its bus is off in ANA_CONFIG" if analog.read(0x44) & 1 << 17 else ""

    analog.pll.without_power = without_power
    return analog


@dataclass
class AnalogC6(Peripheral):
    """The two masters of an ESP32-C6's bus: i2c_ana_mst_reg.h, regi2c_impl.c.

    Attributes:
        clocked: whether the masters have a clock.
    """

    pll: Pll = field(default_factory=lambda: Pll(_C6_EXPECTED, settles=CALIBRATION_SECONDS))
    clocked: Callable[[], bool] = lambda: True

    def read(self, offset: int) -> int:
        self._require(offset)
        value = super().read(offset)
        return value | (_DONE if self.pll.is_calibrated() else 0) if offset == 0x18 else value

    def write(self, offset: int, value: int) -> None:
        self._require(offset)
        if offset in (0x00, 0x04):
            value = self._transfer(offset, value)
        super().write(offset, value)
        if offset == 0x18:
            self.pll.calibrate(bool(value & _RUN) and not value & _STOP)

    def _require(self, offset: int) -> None:
        if not self.clocked():
            rule = "the bus of the analogue blocks has no clock (rtc_clk_init.c, regi2c_ctrl_ll.h of esp-idf)"
            raise Forbidden(f"I2C_ANA_MST+{offset:#x}", 0, rule)

    def _transfer(self, offset: int, command: int) -> int:
        block, at = command & 0xFF, command >> 8 & 0xFF
        if block == _BLOCK:
            serving = 0x00 if self.registers.get(0x20, 0) & 1 << 9 else 0x04
            if offset != serving or self.registers.get(0x1C, 0) & 1 << 7:
                return command & 0xFFFF  # nothing answers
        if command & 1 << 24:
            self.pll.write(block, at, command >> 16 & 0xFF)
        return command & 0xFFFF | self.pll.read(block, at) << 16


@dataclass
class Pmu(Peripheral):
    """Power management of an ESP32-C6: pmu_reg.h. What is written to 0xCC takes effect and is not kept.

    Attributes:
        on: the bits that are tied high.
        state: the state whose clock gates are open.
    """

    on: int = 0
    state: int = 0
    _next: int = field(default=0, init=False)
    POWER: ClassVar[int] = 7 << 28
    CLOCK: ClassVar[int] = 1 << 25

    def write(self, offset: int, value: int) -> None:
        if offset == 0xCC:
            low = (value >> 3 & 7) << 28 | (value & 1) << 25
            self.on = (self.on | value & (self.POWER | self.CLOCK)) & ~low
        elif offset == 0xDC and value & 1 << 31:
            self._next = self.read(0x0C) >> 30
        elif offset == 0xD0 and value & 1 << 28:
            self.state = self._next
        else:
            super().write(offset, value)


def c6_analog(seconds: Callable[[], float]) -> tuple[AnalogC6, list[Peripheral]]:
    """The analogue part of an ESP32-C6, and the peripherals that its power and clocks hang on."""
    pmu = Pmu("PMU", 0x600B0000, 0x400)
    low_power, modem = Peripheral("MODEM_LPCON", 0x600AF000), Peripheral("MODEM_SYSCON", 0x600A9800)
    analog = AnalogC6("I2C_ANA_MST", 0x600AF800, 0x100, registers={0x18: 0xE400 | _STOP, 0x1C: 0xFFFFFF, 0x20: 4})

    def clocked() -> bool:
        gates = modem.read(0x0C) >> 28 & low_power.read(0x20) >> 28 & low_power.read(0x20) >> 24
        return bool(low_power.read(0x18) >> 2 & gates >> pmu.state & 1)

    def without_power() -> str:
        if pmu.on & Pmu.POWER != Pmu.POWER:
            return "XPD_BBPLL, XPD_BBPLL_I2C or XPD_BB_I2C is not tied high in PMU_IMM_HP_CK_POWER"
        return "" if pmu.on & Pmu.CLOCK else "its clock is gated in PMU_IMM_HP_CK_POWER"

    analog.clocked = clocked
    analog.pll.without_power, analog.pll.seconds = without_power, seconds
    return analog, [pmu, low_power, modem, analog]
