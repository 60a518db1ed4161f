"""UARTs: the emulated board's only line. Bytes take no time on it, but arrive only at the right rate."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tinygen.targets.emulator.line import USUAL_RATES, agree, arriving
from tinygen.targets.emulator.peripheral import Forbidden, Peripheral


@dataclass
class Uart(Peripheral):
    """Bytes in both directions.

    Attributes:
        baud: what the host's side runs at now.
        received: bytes the host has sent and that have not reached the firmware's side.
        sent: what the host's side has received, and the host has not read.
        polled: called when the firmware looks at the status.
        gave: called when it has sent a byte.
        stores: how often the firmware has written any register so far, but for that of the bytes it sends; None:
            nobody counts.
        sends_at: offset of that register.
    """

    baud: int = 115200
    received: deque[int] = field(default_factory=deque)
    sent: bytearray = field(default_factory=bytearray)
    polled: Callable[[], None] = lambda: None
    gave: Callable[[], None] = lambda: None
    stores: int | None = None
    sends_at: int = -1
    _arrived: deque[int] = field(default_factory=deque, init=False)
    _known: dict[Any, Any] = field(default_factory=dict, init=False)
    _known_at: tuple[int, int] = field(default=(-1, 0), init=False)

    def once(self, what: str, find: Callable[[], Any]) -> Any:
        """What `find` gives, which only a store or another rate of the host's side changes: a byte a time is slow.

        Args:
            what: its name.
        """
        if self.stores is None:
            return find()
        if self._known_at != (self.stores, self.baud):
            self._known, self._known_at = {}, (self.stores, self.baud)
        if what not in self._known:
            self._known[what] = find()
        return self._known[what]

    def rate(self) -> float | None:
        """Rate of the firmware's side in baud; None if it is unknown and assumed to be right."""
        return None

    def is_idle(self) -> bool:
        """Whether nothing is left to read for the firmware."""
        return not self.received and not self._arrived

    def waiting(self) -> bool:
        """Whether a byte waits to be read."""
        self.polled()
        self._arrive()
        return bool(self._arrived)

    def waiting_bytes(self) -> int:
        """How many bytes a receiver with a buffer has; those that the wrong rate may yet change, as they were sent."""
        return len(self._arrived) + len(self.received) if self.waiting() else 0

    def take(self) -> int:
        """Reads the next byte from the host; 0 if there is none."""
        self._arrive()
        return self._arrived.popleft() if self._arrived else 0

    def give(self, value: int) -> None:
        """Sends a byte to the host."""
        self.sent += arriving(value & 0xFF, self.rate() or self.baud, self.baud)
        self.gave()

    def _arrive(self) -> None:
        """Lets bytes in until one is there: at the wrong rate one may be heard as none, or as several."""
        while self.received and not self._arrived:
            self._arrived.extend(arriving(self.received.popleft(), self.baud, self.rate() or self.baud))

    def check_rate(self, register: str, divisor: int, actual: float, bus_hz: int) -> None:
        """Raises Forbidden if no host could read the bytes; a host at another usual rate reads garbage."""
        if not any(agree(actual, usual) for usual in (self.baud, *USUAL_RATES)):
            rule = f"{actual:.0f} baud from a bus at {bus_hz} Hz, the line runs at {self.baud}"
            raise Forbidden(register, divisor, rule)


@dataclass
class CmsdkUart(Uart):
    """The UART of Arm's Cortex-M System Design Kit (DDI 0479, 4.3)."""

    bus_hz: int = 0

    def rate(self) -> float:
        divisor = self.registers.get(0x10, 0)
        return self.bus_hz / divisor if divisor else 0.0

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
        self.check_rate(f"{self.name}_BAUDDIV", self.registers.get(0x10, 0), self.rate(), self.bus_hz)
