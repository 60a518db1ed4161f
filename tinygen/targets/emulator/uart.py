"""UARTs: the emulated board's only way to speak. Bytes take no time on the line."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tinygen.targets.emulator.peripheral import Forbidden, Peripheral

BAUD_TOLERANCE = 0.02


@dataclass
class Uart(Peripheral):
    """Bytes in both directions.

    Attributes:
        baud: what the host's side runs at.
        received: bytes the host has sent and the firmware has not read.
        sent: bytes the firmware has sent and the host has not read.
        polled: called when the firmware looks at the status.
    """

    baud: int = 115200
    received: deque[int] = field(default_factory=deque)
    sent: bytearray = field(default_factory=bytearray)
    polled: Callable[[], None] = lambda: None

    def waiting(self) -> bool:
        """Whether a byte waits to be read."""
        self.polled()
        return bool(self.received)

    def take(self) -> int:
        """The next byte from the host; 0 when there is none."""
        return self.received.popleft() if self.received else 0

    def give(self, value: int) -> None:
        """A byte to the host."""
        self.sent.append(value & 0xFF)

    def check_rate(self, register: str, divisor: int, actual: float, bus_hz: int) -> None:
        """Raises Forbidden when the host would read something else than what is sent."""
        if abs(actual - self.baud) > BAUD_TOLERANCE * self.baud:
            rule = f"{actual:.0f} baud from a bus at {bus_hz} Hz, the line runs at {self.baud}"
            raise Forbidden(register, divisor, rule)


@dataclass
class CmsdkUart(Uart):
    """The UART of Arm's Cortex-M System Design Kit (DDI 0479, 4.3)."""

    bus_hz: int = 0

    def read(self, offset: int) -> int:
        if offset == 0x00:
            self._check(1 << 1, "a byte is read before RX is enabled")
            return self.take()
        if offset == 0x04:  # STATE: RX buffer full
            return int(self.waiting()) << 1
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        if offset == 0x00:
            self._check(1 << 0, "a byte is sent before TX is enabled")
            self.give(value)
            return
        if offset == 0x10 and value < 16:
            raise Forbidden(f"{self.name}_BAUDDIV", value, "at least 16 (DDI 0479 4.3.2)")
        super().write(offset, value)

    def _check(self, enable: int, rule: str) -> None:
        control = self.registers.get(0x08, 0)
        if not control & enable:
            raise Forbidden(f"{self.name}_CTRL", control, rule)
        divisor = self.registers.get(0x10, 0)
        self.check_rate(f"{self.name}_BAUDDIV", divisor, self.bus_hz / divisor if divisor else 0.0, self.bus_hz)
