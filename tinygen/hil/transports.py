"""Byte transports to a device."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import Protocol, runtime_checkable

import serial

from tinygen.errors import DeviceGoneError
from tinygen.hil.ports import ports_text, serial_ports
from tinygen.hil.process import ProcessTransport

__all__ = ["ProcessTransport", "RatedTransport", "SerialTransport", "Transport"]

_WRITE_SECONDS = 30.0
_SLICE_SECONDS = 0.05


class Transport(Protocol):
    """A line to a device."""

    def write(self, data: bytes) -> None:
        """Sends bytes."""

    def read(self, size: int, timeout: float) -> bytes:
        """At most `size` bytes; fewer when `timeout` seconds have passed."""

    def close(self) -> None:
        """Lets the device go."""


@runtime_checkable
class RatedTransport(Transport, Protocol):
    """A line whose rate can be changed."""

    def set_baud(self, baud: int) -> None:
        """Bits per second, from the next byte on."""


class SerialTransport:
    """A serial port.

    Args:
        port: a path, or one of pyserial's URLs: hwgrep://, rfc2217://, socket://.
        baud: bits per second.

    Raises:
        DeviceGoneError: the port is not there, is in use, or went away.
    """

    def __init__(self, port: str, baud: int = 115200) -> None:
        self.port = port
        # With hwgrep:// the address is looked up already here.
        try:
            self._serial = serial.serial_for_url(port, baud, do_not_open=True)
            # Set once: at every change an rfc2217:// port asks its server.
            self._serial.timeout = _SLICE_SECONDS
            if not port.startswith("rfc2217:"):  # which refuses to open with one
                self._serial.write_timeout = _WRITE_SECONDS
            with suppress(AttributeError, ValueError):
                self._serial.exclusive = True
            self._serial.open()
        except (serial.SerialException, OSError, ValueError, re.error) as error:  # hwgrep:// takes a pattern
            raise DeviceGoneError(
                f"the serial port cannot be opened ({error})",
                where=port,
                fix=f"Ports that are there: {ports_text(serial_ports())}. "
                "Check the cable, and that no other program holds the port.",
            ) from error

    def write(self, data: bytes) -> None:
        try:
            self._serial.write(data)
        except (serial.SerialException, OSError) as error:
            raise self._gone(error) from error

    def read(self, size: int, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        try:
            data = bytes(self._serial.read(size))
            while len(data) < size and time.monotonic() < deadline:
                data += self._serial.read(size - len(data))
        except (serial.SerialException, OSError) as error:
            raise self._gone(error) from error
        return data

    def set_baud(self, baud: int) -> None:
        try:
            self._serial.baudrate = baud
        except (serial.SerialException, OSError, ValueError) as error:
            raise self._gone(error) from error

    def _gone(self, error: Exception) -> DeviceGoneError:
        return DeviceGoneError(f"the board went away ({error})", where=self.port, fix="Check the cable and the power.")

    def close(self) -> None:
        self._serial.close()
