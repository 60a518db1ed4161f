"""The host's side of the device protocol (firmware/app/serve.c says what it is).

Every block of bytes carries its CRC-32; what does not match is asked for again, a few times, and never
handed on.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass

from hil.transports import Transport
from tinygen.errors import DeviceError

READY = b"m-ready"
_ATTEMPTS = 4
_REPLY_SECONDS = 5.0
_REFUSED = "e-[no such switch]"


@dataclass(frozen=True)
class DeviceInfo:
    """What a device says of itself.

    Attributes:
        name, build: of the model it runs.
        clock_hz: what its core runs at.
        inputs, outputs: bytes of each.
        layers: how many, of the current switch.
        switches: names of the ways to run the model; empty when there is only one.
        current: index of the one that it is run by now.
    """

    name: str
    build: str
    clock_hz: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    layers: int
    switches: tuple[str, ...] = ()
    current: int = 0


class DeviceClient:
    """Speaks to one device.

    Args:
        transport: the line.
        infer_seconds: how long an inference may take.
    """

    def __init__(self, transport: Transport, infer_seconds: float = 60.0) -> None:
        self._transport = transport
        self._infer_seconds = infer_seconds
        self._buffer = b""

    def close(self) -> None:
        self._transport.close()

    def info(self) -> DeviceInfo:
        """Asks the device what it is; the first thing to do. What an earlier program left on the line is cleared.

        Raises:
            DeviceError: nothing answers, or not as this protocol says.
        """
        try:
            return self._info()
        except DeviceError:
            self._resynchronise()
        return self._info()

    def _info(self) -> DeviceInfo:
        values: dict[str, list[str]] = {}
        for line in self._exchange("tg-info%", _REPLY_SECONDS):
            if line.startswith("m-tg-"):
                key, _, value = line[5:].partition(" ")
                values.setdefault(key, []).append(value)
        try:
            return DeviceInfo(
                name=values["name"][0],
                build=values["build"][0],
                clock_hz=int(values["clock"][0]),
                inputs=tuple(int(v.split()[1]) for v in values.get("input", [])),
                outputs=tuple(int(v.split()[1]) for v in values.get("output", [])),
                layers=int(values["layers"][0]),
                switches=tuple(v.split()[1] for v in values.get("switch", [])),
                current=int(values.get("current", ["0"])[0]),
            )
        except (KeyError, IndexError, ValueError) as error:
            raise DeviceError(
                "answers, but not as tinygen's firmware does", fix="Flash the firmware that `tinygen build` wrote."
            ) from error

    def set_switch(self, index: int) -> None:
        """Runs the model by switch `index` of `DeviceInfo.switches` from now on; inputs must be loaded after it.

        Raises:
            DeviceError: there is no such switch, or the line is bad.
        """
        problem = "the answers were damaged"
        for _ in range(_ATTEMPTS):
            try:
                # The number comes back: a digit that the line changed would choose another switch.
                if self._exchange(f"tg-switch {index}%", _REPLY_SECONDS) == [f"m-tg-current {index}"]:
                    return
            except DeviceError as error:
                problem = error.what
                if _REFUSED not in problem:
                    self._resynchronise()
        raise DeviceError(f"switch {index} could not be chosen ({problem})", fix=_LINE_HELP)

    def load(self, index: int, data: bytes) -> None:
        """Writes an input.

        Raises:
            DeviceError: the device refuses it, or it does not arrive whole.
        """
        command = f"tg-load {index} {len(data)} {zlib.crc32(data):08x}%"
        self._retry(command, data, f"input {index}")

    def run(self) -> int:
        """One inference; gives the cycles the device counted."""
        return self._cycles(self._exchange("tg-run%", self._infer_seconds))[1]

    def profile(self) -> tuple[list[int], int]:
        """One inference; gives cycles per layer and in all."""
        return self._cycles(self._exchange("tg-profile%", self._infer_seconds))

    def read(self, index: int) -> bytes:
        """An output's bytes."""
        return self._block(f"tg-read {index}%", f"output {index}")

    def trace(self) -> list[int]:
        """One inference; gives the CRC-32 of every tensor the layers write, in order."""
        lines = self._exchange("tg-trace%", self._infer_seconds)
        return [int(line.split()[2], 16) for line in lines if line.startswith("m-tg-crc ")]

    def dump(self, index: int) -> bytes:
        """One inference up to the layer that writes tensor `index` of `trace`; that tensor's bytes."""
        return self._block(f"tg-dump {index}%", f"tensor {index}")

    def _cycles(self, lines: list[str]) -> tuple[list[int], int]:
        try:
            layers = [int(line.split()[2]) for line in lines if line.startswith("m-tg-layer ")]
            return layers, next(int(line.split()[1]) for line in lines if line.startswith("m-tg-cycles "))
        except (StopIteration, IndexError, ValueError) as error:
            raise DeviceError(f"gave no cycle count, but {lines}") from error

    def _retry(self, command: str, data: bytes, what: str) -> None:
        problem: DeviceError | None = None
        for _ in range(_ATTEMPTS):
            try:
                self._exchange(command, _REPLY_SECONDS + len(data) / 5000, data)
                return
            except DeviceError as error:
                problem = error
                self._resynchronise()
        raise DeviceError(f"{what} did not arrive in {_ATTEMPTS} attempts ({problem})", fix=_LINE_HELP)

    def _block(self, command: str, what: str) -> bytes:
        problem = ""
        for _ in range(_ATTEMPTS):
            try:
                return self._read_block(command)
            except DeviceError as error:
                problem = str(error)
                self._resynchronise()
        raise DeviceError(f"{what} could not be read in {_ATTEMPTS} attempts ({problem})", fix=_LINE_HELP)

    def _read_block(self, command: str) -> bytes:
        self._transport.write(command.encode())
        deadline = time.monotonic() + self._infer_seconds
        line = ""
        while not line.startswith("m-tg-data "):
            line = self._line(deadline)
            if line.startswith("e-[") or line == "m-ready":
                raise DeviceError(f"refuses {command} {line}")
        try:
            size, crc = int(line.split()[1]), int(line.split()[2], 16)
        except (IndexError, ValueError) as error:
            raise DeviceError(f"garbled reply {line!r}") from error
        if size > 1 << 26:
            raise DeviceError(f"garbled reply {line!r}")
        data = self._take(size, time.monotonic() + _REPLY_SECONDS + size / 5000)
        if zlib.crc32(data) != crc:
            raise DeviceError(f"{size} bytes arrived damaged")
        self._until_ready(time.monotonic() + _REPLY_SECONDS)
        return data

    def _exchange(self, command: str, seconds: float, data: bytes = b"") -> list[str]:
        """Sends a command, gives the lines of its reply without the last.

        Raises:
            DeviceError: no reply in time, or an error reply.
        """
        self._transport.write(command.encode() + data)
        lines = self._until_ready(time.monotonic() + seconds)
        wrong = [line for line in lines if line.startswith("e-[") and not line.startswith("e-[clock")]
        if wrong:
            raise DeviceError(f"answers {wrong[0]} to {command}")
        return lines

    def _until_ready(self, deadline: float) -> list[str]:
        lines = []
        while (line := self._line(deadline)) != "m-ready":
            lines.append(line)
        return lines

    def _line(self, deadline: float) -> str:
        while b"\r\n" not in self._buffer:
            self._fill(1, deadline)
            if len(self._buffer) > 1 << 16:
                raise DeviceError("sends bytes without end of line")
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line.decode("ascii", "replace")

    def _take(self, size: int, deadline: float) -> bytes:
        while len(self._buffer) < size:
            self._fill(size - len(self._buffer), deadline)
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _fill(self, size: int, deadline: float) -> None:
        left = deadline - time.monotonic()
        data = self._transport.read(size, min(max(left, 0.0), self._infer_seconds)) if left > 0 else b""
        if not data:
            raise DeviceError(
                "does not answer", fix="Is it powered, flashed and reset? Is the port the right one? " + _LINE_HELP
            )
        self._buffer += data

    def wait_for_boot(self) -> None:
        """Reads the banner of a device that has just started.

        Raises:
            DeviceError: it does not come up.
        """
        self._until_ready(time.monotonic() + _REPLY_SECONDS)

    def _resynchronise(self) -> None:
        """Lets a confused device finish: it drops raw bytes after 50 ms of silence, gives up after 500."""
        self._transport.write(b"%")
        quiet = 0
        for _ in range(50):
            quiet = 0 if self._transport.read(4096, 0.1) else quiet + 1
            if quiet >= 7:
                break
        self._buffer = b""


_LINE_HELP = "A line that drops or changes bytes: try another cable or hub."
