"""What the reset and clock controls of STM32H7 and U5 share: oscillators and PLLs that are ready some time after they
are switched on, and that must not be switched off while the core runs on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tinygen.targets.emulator.peripheral import Forbidden, Peripheral

CONTROL = 0x00
_AHB = (2, 4, 8, 16, 64, 128, 256, 512)


def ahb_divider(code: int) -> int:
    """The divider for the 4 bits of an AHB prescaler (HPRE, D1CPRE)."""
    return 1 if code < 8 else _AHB[code - 8]


def apb_divider(code: int) -> int:
    """The divider for the 3 bits of an APB prescaler (PPRE1, ...)."""
    return 1 if code < 4 else 2 << (code - 4)


@dataclass(frozen=True)
class Switch:
    """A bit of RCC_CR that switches something on.

    Attributes:
        ready: the bit that says it runs.
        seconds: until then.
    """

    ready: int
    seconds: float


@dataclass
class Oscillators(Peripheral):
    """RCC_CR and the oscillators that it controls.

    Attributes:
        manual: the reference manual.
        switches: by the bit that switches on.
        clock: cycles of the core since reset.
        enables: offset of each enable register.
    """

    manual: str = ""
    switches: Mapping[int, Switch] = field(default_factory=dict)
    clock: Callable[[], int] = lambda: 0
    enables: Mapping[str, int] = field(default_factory=dict)
    _ready_at: dict[int, int] = field(default_factory=dict, init=False)

    def core_hz(self) -> int:
        """Clock of the core, Hz."""
        raise NotImplementedError

    def needed(self) -> list[int]:
        """The bits of RCC_CR that the core's clock depends on now."""
        raise NotImplementedError

    def check_start(self, bit: int, control: int) -> None:
        """Raises Forbidden when `bit` may not be switched on now; RCC_CR would hold `control`."""

    def read(self, offset: int) -> int:
        value = super().read(offset)
        if offset == CONTROL:
            for bit, switch in self.switches.items():
                value = value & ~(1 << switch.ready) | int(self.ready(bit)) << switch.ready
        return value

    def write_control(self, value: int) -> None:
        """A write to RCC_CR."""
        before = self.registers[CONTROL]
        if any(not value >> bit & 1 for bit in self.needed()):
            raise Forbidden("RCC_CR", value, f"switches off the clock that drives the core ({self.manual}, RCC_CR)")
        starts = [bit for bit in self.switches if value >> bit & 1 and not before >> bit & 1]
        for bit in starts:
            self.check_start(bit, value)
        self.registers[CONTROL] = value
        for bit in starts:
            self._ready_at[bit] = self.clock() + round(self.switches[bit].seconds * self.core_hz())

    def on(self, bit: int) -> bool:
        """Whether it is switched on."""
        return bool(self.registers[CONTROL] >> bit & 1)

    def ready(self, bit: int) -> bool:
        """Whether it runs. What reset leaves on, does."""
        return self.on(bit) and self.clock() >= self._ready_at.get(bit, 0)

    def gate(self, register: str, bit: int) -> Callable[[], bool]:
        """Whether an enable bit is set, for later."""
        return lambda: bool(self.registers.get(self.enables[register], 0) >> bit & 1)
