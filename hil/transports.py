"""Ways for bytes to reach a device."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, Queue
from typing import Protocol

import serial
from serial.tools import list_ports

from tinygen.errors import DeviceError


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
            self._serial = serial.Serial(port, baud, timeout=0)
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


class ProcessTransport:
    """A program whose standard input and output are the line: host firmware, QEMU.

    Raises:
        DeviceError: the program ended, with what it said on standard error.
    """

    def __init__(self, command: Sequence[str], cwd: Path | None = None) -> None:
        self._name = command[0]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd, bufsize=0
            )
        except OSError as error:
            raise DeviceError(f"cannot be started ({error})", where=self._name) from error
        self._chunks: Queue[bytes] = Queue()
        self._pending = b""
        self._thread = threading.Thread(target=self._pump, daemon=True)
        self._thread.start()

    def _pump(self) -> None:
        assert self._process.stdout is not None
        while chunk := self._process.stdout.read(65536):
            self._chunks.put(chunk)
        self._chunks.put(b"")

    def write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        view = memoryview(data)
        try:
            while view:
                view = view[self._process.stdin.write(view) :]
        except OSError as error:
            raise self._ended() from error

    def read(self, size: int, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        while len(self._pending) < size:
            try:
                chunk = self._chunks.get(timeout=max(deadline - time.monotonic(), 0.0001))
            except Empty:
                break
            if not chunk:
                self._chunks.put(b"")
                if not self._pending:
                    raise self._ended()
                break
            self._pending += chunk
        data, self._pending = self._pending[:size], self._pending[size:]
        return data

    def _ended(self) -> DeviceError:
        self._stop()
        assert self._process.stderr is not None
        said = self._process.stderr.read().decode("utf-8", "replace").strip()[-2000:]
        status = f"ended with status {self._process.returncode}"
        return DeviceError(f"{status}: {said or 'without a word'}", where=self._name)

    def _stop(self) -> None:
        """Ends the program, and the thread before its file: a thread that still reads a closed file's number
        would take bytes from whatever is opened next.
        """
        self._process.kill()
        self._process.wait()
        self._thread.join()

    def close(self) -> None:
        self._stop()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
