"""Ways for bytes to reach a device."""

from __future__ import annotations

from typing import Protocol

import serial
from serial.tools import list_ports

from hil.process import ProcessTransport
from tinygen.errors import DeviceError

__all__ = ["ProcessTransport", "SerialTransport", "Transport"]

_WRITE_SECONDS = 30.0


class Transport(Protocol):
    """A line to a device."""

    def write(self, data: bytes) -> None:
        """Sends bytes."""

    def read(self, size: int, timeout: float) -> bytes:
        """At most `size` bytes; fewer when `timeout` seconds have passed."""

    def close(self) -> None:
        """Lets the device go."""


class SerialTransport:
    """A serial port.

    Raises:
        DeviceError: the port is not there, is in use, or went away.
    """

    def __init__(self, port: str, baud: int = 115200) -> None:
        self.port = port
        try:
            self._serial = serial.Serial(port, baud, timeout=0, write_timeout=_WRITE_SECONDS, exclusive=True)
        except (serial.SerialException, OSError, ValueError) as error:
            there = ", ".join(p.device for p in list_ports.comports()) or "none"
            raise DeviceError(
                f"the serial port cannot be opened ({error})", where=port,
                fix=f"Ports that are there: {there}. Check the cable, and that no other program holds the port.",
            ) from error  # fmt: skip

    def write(self, data: bytes) -> None:
        try:
            self._serial.write(data)
        except (serial.SerialException, OSError) as error:
            raise self._gone(error) from error

    def read(self, size: int, timeout: float) -> bytes:
        try:
            self._serial.timeout = timeout
            return bytes(self._serial.read(size))
        except (serial.SerialException, OSError) as error:
            raise self._gone(error) from error

    def _gone(self, error: Exception) -> DeviceError:
        return DeviceError(f"the board went away ({error})", where=self.port, fix="Check the cable and the power.")

    def close(self) -> None:
        self._serial.close()
