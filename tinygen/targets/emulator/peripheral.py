"""What every emulated peripheral is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


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
    """A block of registers. Those without a meaning here just keep what was written.

    Attributes:
        name: as in the reference manual.
        base, size: address range in bytes.
        enabled: whether the peripheral's clock is on; an access while it is off is an error.
    """

    name: str
    base: int
    size: int = 0x400
    enabled: Callable[[], bool] = lambda: True
    registers: dict[int, int] = field(default_factory=dict)

    def load(self, offset: int) -> int:
        """A read by the firmware."""
        self._require_clock(offset)
        return self.read(offset)

    def store(self, offset: int, value: int) -> None:
        """A write by the firmware."""
        self._require_clock(offset)
        self.write(offset, value)

    def read(self, offset: int) -> int:
        return self.registers.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        self.registers[offset] = value

    def _require_clock(self, offset: int) -> None:
        if not self.enabled():
            raise Forbidden(f"{self.name}+{offset:#x}", 0, "accessed while its clock is off in RCC")
