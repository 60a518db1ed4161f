"""The base of all emulated peripherals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinygen.targets.emulator.memory import Memories


class Forbidden(Exception):
    """The firmware did what the reference manual forbids.

    Args:
        register: "RCC_CFGR".
        value: what was written, or would take effect.
        rule: what the manual says, with its section.
    """

    def __init__(self, register: str, value: int, rule: str) -> None:
        super().__init__(f"{register} = {value:#x}: {rule}")


@dataclass
class Peripheral:
    """A block of 32-bit registers. Those without a meaning here just keep what was written.

    Attributes:
        name: as in the reference manual.
        base, size: address range in bytes.
        enabled: whether the peripheral's clock is on; an access while it is off is an error.
        clock_rule: where the manual says so.
    """

    name: str
    base: int
    size: int = 0x400
    enabled: Callable[[], bool] = lambda: True
    clock_rule: str = ""
    registers: dict[int, int] = field(default_factory=dict)

    def load(self, offset: int, size: int) -> int:
        """A read of `size` bytes by the firmware.

        Raises:
            Forbidden: the manual forbids it now.
        """
        self._require_clock(offset, 0)
        shift = 8 * (offset & 3)
        return self.read(offset & ~3) >> shift & ((1 << 8 * size) - 1)

    def store(self, offset: int, size: int, value: int) -> None:
        """A write of `size` bytes by the firmware.

        Raises:
            Forbidden: the manual forbids it now.
        """
        self._require_clock(offset, value)
        word, shift, mask = offset & ~3, 8 * (offset & 3), (1 << 8 * size) - 1
        kept = self.registers.get(word, 0) & ~(mask << shift) if size < 4 else 0
        self.write(word, kept | (value & mask) << shift)

    def read(self, offset: int) -> int:
        """The register at a multiple of 4."""
        return self.registers.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Writes the register at a multiple of 4."""
        self.registers[offset] = value

    def connect(self, memories: Memories) -> None:
        """Called once, when the board's memories stand."""

    def _require_clock(self, offset: int, value: int) -> None:
        if not self.enabled():
            rule = f"accessed while its clock is off in RCC{f' ({self.clock_rule})' if self.clock_rule else ''}"
            raise Forbidden(f"{self.name}+{offset:#x}", value, rule)


@dataclass
class Port(Peripheral):
    """Pins, some of which somebody watches; named "GPIOA", or "GPIO" where pins are only numbered.

    Attributes:
        watched: what to call with the new level when a pin's changes, by the pin's number.
    """

    watched: dict[int, Callable[[bool], None]] = field(default_factory=dict)
    _levels: dict[int, bool] = field(default_factory=dict, init=False)

    def is_high(self, pin: int) -> bool:
        """Whether a pin is an output and high."""
        raise NotImplementedError

    def settle(self) -> None:
        """Reports changed levels of watched pins; call it whenever pins may have changed."""
        for pin, notify in self.watched.items():
            high = self.is_high(pin)
            if high != self._levels.get(pin, False):
                self._levels[pin] = high
                notify(high)
