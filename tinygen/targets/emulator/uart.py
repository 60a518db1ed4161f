"""UARTs: the emulated board's only way to speak."""

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
        received: bytes the host has sent and the firmware has not read.
        sent: bytes the firmware has sent and the host has not read.
        polled: called when the firmware looks at the status.
    """

    received: deque[int] = field(default_factory=deque)
    sent: bytearray = field(default_factory=bytearray)
    polled: Callable[[], None] = lambda: None

    def waiting(self) -> bool:
        """Whether a byte waits to be read."""
        self.polled()
        return bool(self.received)

    def take(self) -> int:
        return self.received.popleft() if self.received else 0

    def give(self, value: int) -> None:
        self.sent.append(value & 0xFF)


@dataclass
class StmUart(Uart):
    """What STM32 USARTs share: they work only when enabled, on the right pins, at the right rate.

    Attributes:
        baud: what the host's side runs at.
        bus_hz: the clock that feeds the USART now.
        pins_ready: whether TX and RX are switched to the USART.
    """

    baud: int = 115200
    bus_hz: Callable[[], int] = lambda: 0
    pins_ready: Callable[[], bool] = lambda: True

    def check_line(self, enabled: bool, divisor: int) -> None:
        """Raises Forbidden unless a byte would really get through."""
        if not enabled:
            raise Forbidden(f"{self.name}_CR1", 0, "a byte is sent or read before UE and TE/RE are set")
        if not self.pins_ready():
            raise Forbidden("GPIO_AFR", 0, f"{self.name} is used, but its pins are not in its alternate function")
        actual = self.bus_hz() / divisor if divisor else 0.0
        if abs(actual - self.baud) > BAUD_TOLERANCE * self.baud:
            rule = f"{actual:.0f} baud from a bus at {self.bus_hz()} Hz, the line runs at {self.baud}"
            raise Forbidden(f"{self.name}_BRR", divisor, rule)


@dataclass
class UsartF7(StmUart):
    """RM0385 chapter 31."""

    def read(self, offset: int) -> int:
        if offset == 0x1C:  # ISR: TEACK, REACK, TXE, TC, RXNE
            return (1 << 22) | (1 << 21) | (1 << 7) | (1 << 6) | (int(self.waiting()) << 5)
        if offset == 0x24:  # RDR
            self._check()
            return self.take()
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        if offset == 0x28:  # TDR
            self._check()
            self.give(value)
            return
        if offset == 0x0C and self.registers.get(0x00, 0) & 1:
            raise Forbidden(f"{self.name}_BRR", value, "may be written only while UE is 0 (RM0385 31.8.4)")
        super().write(offset, value)

    def _check(self) -> None:
        enabled = self.registers.get(0x00, 0) & 0b1101 == 0b1101
        self.check_line(enabled, self.registers.get(0x0C, 0))


@dataclass
class UsartF4(StmUart):
    """RM0090 chapter 30."""

    def read(self, offset: int) -> int:
        if offset == 0x00:  # SR: TXE, TC, RXNE
            return (1 << 7) | (1 << 6) | (int(self.waiting()) << 5)
        if offset == 0x04:  # DR
            self._check()
            return self.take()
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        if offset == 0x04:
            self._check()
            self.give(value)
            return
        super().write(offset, value)

    def _check(self) -> None:
        enabled = self.registers.get(0x0C, 0) & 0x200C == 0x200C
        self.check_line(enabled, self.registers.get(0x08, 0))


@dataclass
class CmsdkUart(Uart):
    """The UART of Arm's Cortex-M System Design Kit (DDI 0479, 4.3)."""

    def read(self, offset: int) -> int:
        if offset == 0x00:
            return self.take()
        if offset == 0x04:  # STATE: RX buffer full
            return int(self.waiting()) << 1
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        if offset == 0x00:
            if not self.registers.get(0x08, 0) & 1:
                raise Forbidden(f"{self.name}_CTRL", 0, "a byte is sent before TX is enabled")
            self.give(value)
            return
        super().write(offset, value)
