"""Sealed commands and their replies (firmware/app/seal.h): damage, loss, repetition and delay are noticed.

A reply is believed only when it carries the nonce of its command, and two sums of different kinds, CRC-32 and Adler-32,
over every byte of it. CRC-32 detects every burst error of up to 32 bits; of larger errors, about 1 in 2^64 passes both
sums.
"""

from __future__ import annotations

import os
import re
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from tinygen.errors import DeviceError, DeviceGoneError
from tinygen.hil.transports import Transport

LINE_HELP = "A line that drops or changes bytes: try another cable or hub."
_READY = b"m-ready"
_LINE_LIMIT = 1 << 16
_BLOCK_LIMIT = 1 << 26
# A byte of 10 bits at 9600 baud, and some time to spare.
BYTES_PER_SECOND = 800
# Within a line or a block of raw bytes, silence means that the rest was lost.
_GAP_SECONDS = 2.0
# Firmware with a microphone starts listening after 10 s of silence; a byte ends that within a hop or two.
_SILENT_SECONDS = 5.0
_WAKE_SECONDS = 0.05
_WAKE_READS = 4
FAULT = re.compile(rb"e-\[(fault: [^\]]*)\]$")
"""The last line of firmware that faults (firmware/startup/fault.c); it may interrupt another line."""
_FAULT_SECONDS = 1.0
"""Seconds of silence after a fault: a device that was reset sends sooner, one whose fault was read late continues."""


class RestartedError(DeviceError):
    """The device has restarted: everything loaded into it is lost."""


class RefusedError(DeviceError):
    """The device understood the command, and will not do it."""


class FaultedError(DeviceGoneError):
    """The firmware has reported a fault, and stands still until somebody resets it."""

    def __init__(self, fault: bytes) -> None:
        fix = "Reset the board. The address is one of firmware.elf: addr2line -e firmware.elf PC."
        super().__init__(f"the firmware says {fault.decode('ascii', 'replace')}", fix=fix)


@dataclass
class Reply:
    """The reply to a command.

    Attributes:
        lines: text, without the seal and "m-ready".
        block: raw bytes, for commands that return some.
        seen: every byte that the seal covers.
    """

    lines: list[str] = field(default_factory=list)
    block: bytes = b""
    seen: bytearray = field(default_factory=bytearray)
    stale: bool = False

    @property
    def error(self) -> str:
        """The error message of the device; empty if there is none."""
        return next((line for line in self.lines if line.startswith("e-[") and not line.startswith("e-[clock")), "")

    def values(self, label: str) -> list[list[str]]:
        """Words of each line that begins with `label`."""
        return [line.split()[1:] for line in self.lines if line.split(" ", 1)[0] == label]


def check(data: bytes) -> tuple[int, int]:
    """CRC-32 and Adler-32."""
    return zlib.crc32(data), zlib.adler32(data)


def seal(command: str, nonce: int) -> bytes:
    """`command` (without its "%") as it goes over the line."""
    text = f"{nonce:08x} {command}"
    return f"tg-seal {zlib.crc32(text.encode('ascii')):08x} {text}%".encode("ascii")


class Exchange:
    """One command at a time.

    Args:
        transport: the line.
        clock: seconds, as `time.monotonic`; that of the line, where its time is not the computer's.
        nonce: of the first command; random when None, so that no reply to an earlier program fits.
        wakes: the device may be busy while no commands come (firmware/wakeword/listen.h): after a silence it is sent
            a byte first, and what it had said by itself is dropped.
    """

    def __init__(
        self,
        transport: Transport,
        clock: Callable[[], float] = time.monotonic,
        nonce: int | None = None,
        *,
        wakes: bool = False,
    ) -> None:
        self.transport = transport
        self.clock = clock
        self._wakes = wakes
        self._spoke: float | None = None
        self._nonce = int.from_bytes(os.urandom(4), "little") if nonce is None else nonce
        self._buffer = b""
        self._fault = b""  # the last line said that

    def ask(self, command: str, seconds: float, data: bytes = b"") -> Reply:
        """Sends a command and optional raw bytes; returns its reply.

        Raises:
            RefusedError: the device refuses the command.
            RestartedError: it restarted meanwhile.
            FaultedError: its firmware crashed.
            DeviceError: no whole reply in time, or the line went away.
        """
        if self._wakes and (self._spoke is None or self.clock() - self._spoke > _SILENT_SECONDS):
            self._wake()
        self._nonce = (self._nonce + 1) & 0xFFFFFFFF
        self.transport.write(seal(command, self._nonce) + data)
        reply = self._sealed_reply(command, self.clock() + seconds)
        self._spoke = self.clock()
        if reply.error:
            damaged = reply.error in ("e-[crc]", "e-[timeout]")
            raise (DeviceError if damaged else RefusedError)(f"answers {reply.error} to {command}")
        return reply

    def _sealed_reply(self, command: str, deadline: float) -> Reply:
        reply = Reply()
        while True:
            line = self._line(deadline)
            text = line.decode("ascii", "replace")
            if "m-tg-boot " in text:
                raise RestartedError("has restarted", fix="Is its power steady?")
            if line == _READY:
                if reply.lines and not reply.stale:
                    # As text for a terminal: a line at the wrong rate gives any bytes.
                    answer = ascii(reply.error or reply.lines[0])[1:-1]
                    raise DeviceError(f"answers {answer} to {command}", fix=LINE_HELP)
                reply = Reply()
            elif text.startswith("m-tg-seal "):
                if self._is_answer(reply, text):
                    self._expect_ready()
                    return reply
                reply.stale = True
            else:
                self._add(reply, line, text, deadline)

    def _is_answer(self, reply: Reply, text: str) -> bool:
        """Whether this seal belongs to our command; False if it belongs to an earlier one.

        Raises:
            DeviceError: it belongs to none.
        """
        _, nonce, *sums = text.split(" ")
        crc, adler = check(bytes(reply.seen) + f"m-tg-seal {nonce}".encode("ascii", "replace"))
        if sums != [f"{crc:08x}", f"{adler:08x}"]:
            raise DeviceError("a reply arrived damaged", fix=LINE_HELP)
        return nonce == f"{self._nonce:08x}"

    def _add(self, reply: Reply, line: bytes, text: str, deadline: float) -> None:
        reply.lines.append(text)
        reply.seen += line + b"\r\n"
        if text.startswith("m-tg-data "):
            try:
                size = int(text.split()[1])
            except (IndexError, ValueError) as error:
                raise DeviceError(f"garbled reply {text!r}") from error
            if not 0 <= size <= _BLOCK_LIMIT:
                raise DeviceError(f"garbled reply {text!r}")
            reply.block = self._take(size, deadline + size / BYTES_PER_SECOND)
            reply.seen += reply.block
        if len(reply.lines) > _LINE_LIMIT:
            raise DeviceError("sends lines without end")

    def _expect_ready(self) -> None:
        """Reads the line after the seal. Errors in it are ignored: the seal has already verified the reply."""
        try:
            line = self._line(self.clock() + _GAP_SECONDS)
        except DeviceError:
            return
        if line != _READY:
            self._buffer = line + b"\r\n" + self._buffer

    def _wake(self) -> None:
        """Sends a line end, which is harmless to every command."""
        self.transport.write(b"\r")
        said = b""
        for _ in range(_WAKE_READS):
            said += (data := self.transport.read(4096, _WAKE_SECONDS))
            if not data:
                break
        restarted = self._spoke is not None and b"m-tg-boot " in said
        self._buffer = said if restarted else b""

    def until_ready(self, deadline: float) -> list[str]:
        """Returns the lines of an unsealed message, such as the banner, without "m-ready"."""
        lines = []
        while (line := self._line(deadline)) != _READY:
            lines.append(line.decode("ascii", "replace"))
        return lines

    def resynchronise(self) -> None:
        """Lets a confused device finish: it drops raw bytes after 50 ms of silence, gives up after 500."""
        self._buffer = b""
        self.transport.write(b"%")
        quiet = 0
        for _ in range(50):
            quiet = 0 if self.transport.read(4096, 0.1) else quiet + 1
            if quiet >= 7:
                return

    def _line(self, deadline: float) -> bytes:
        while b"\r\n" not in self._buffer:
            self._fill(1, deadline)
            if len(self._buffer) > _LINE_LIMIT:
                raise DeviceError("sends bytes without end of line")
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        fault = FAULT.search(line)
        self._fault = fault[1] if fault else b""
        return line

    def _take(self, size: int, deadline: float) -> bytes:
        while len(self._buffer) < size:
            self._fill(size - len(self._buffer), deadline, _GAP_SECONDS)
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _fill(self, size: int, deadline: float, gap: float | None = None) -> None:
        limit = _FAULT_SECONDS if self._fault else _GAP_SECONDS if self._buffer else gap
        left = deadline - self.clock()
        data = self.transport.read(size, left if limit is None else min(left, limit)) if left > 0 else b""
        if not data:
            # In the middle of a block it is among the bytes.
            fault = self._fault or b"".join(FAULT.findall(self._buffer.removesuffix(b"\r\n")))
            if fault:
                raise FaultedError(fault)
            raise DeviceError(
                "does not answer", fix="Is it powered, flashed and reset? Is the port the right one? " + LINE_HELP
            )
        self._buffer += data
