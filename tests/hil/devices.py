"""Devices with a time of their own, for tests of what a line can do: host firmware, and an emulated board."""

from __future__ import annotations

import select
import subprocess
from pathlib import Path
from typing import Protocol

from tests.targets.build import build, project_with
from tinygen.hil.client import PERFORMANCE_BAUD
from tinygen.targets.boards import load_board
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.emulator.counting import Watch
from tinygen.targets.toolchain import build_elf, find_toolchain

BUILD, OTHER_BUILD = "00112233445566aa", "00112233445566bb"
FACTORS = (3, 5)
_HERE = Path(__file__).parent
_STEP = 0.05
_HANG_SECONDS = 60.0


class Hang(BaseException):
    """Somebody waits for ever; no `except Exception` hides it."""


class TimedDevice(Protocol):
    """A device, and the line's own time."""

    @property
    def now(self) -> float: ...

    def write(self, data: bytes) -> None: ...

    def read(self, size: int, timeout: float) -> bytes: ...

    def speak_at(self, baud: int) -> None:
        """The rate of the host's side."""

    def reset(self, elf: Path | None = None) -> None: ...

    def close(self) -> None: ...


def model(build_id: str = BUILD, first_factor: int = FACTORS[0]) -> str:
    """C of the model, under a build id."""
    text = (_HERE / "faults_model.c").read_text(encoding="utf-8")
    return text.replace("BUILD_ID", f'"{build_id}"').replace("FIRST_FACTOR", f"{first_factor}U")


def right_outputs(x: bytes, z: bytes, switch: int) -> tuple[bytes, bytes]:
    """What faults_model.c computes."""
    y = bytes((FACTORS[switch] * v + z[i % len(z)]) & 0xFF for i, v in enumerate(x))
    return y, sum(y).to_bytes(4, "little")


def build_virtual(directory: Path, model_c: str, sanitize: tuple[str, ...] = ()) -> Path:
    """Host firmware, its own UART driver included, whose time is that of `VirtualDevice`."""
    board = load_board("host")
    project = project_with(board, directory, model_c)
    driver = directory / "firmware/host/board.c"
    text = driver.read_text(encoding="utf-8")
    driver.write_text((_HERE / "virtual_line.h").read_text(encoding="utf-8") + text, encoding="utf-8")
    return build_elf(project, find_toolchain(None, board), sanitize=sanitize).elf


def build_board(name: str, directory: Path, model_c: str) -> Path:
    """Firmware of a board."""
    return build(load_board(name), "zig", directory, model_c).elf


class VirtualDevice:
    """Host firmware in step with its line: time passes only while somebody reads.

    Raises:
        Hang: the firmware neither answers nor waits, for a minute of real time.
    """

    def __init__(self, elf: Path) -> None:
        self.now = 0.0
        self._elf = elf
        self._start()

    def _start(self) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([str(self._elf)], stdin=pipe, stdout=pipe, bufsize=0)
        self._output = bytearray()
        self._frames = b""
        self._settle()

    def reset(self, elf: Path | None = None) -> None:
        """A power cycle, perhaps as another device; what was not yet read is lost."""
        self.close()
        self._elf = elf or self._elf
        self._start()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def speak_at(self, baud: int) -> None:
        """A pipe has no rate."""

    def write(self, data: bytes) -> None:
        for start in range(0, len(data), 65535):
            part = data[start : start + 65535]
            self._send(b"D" + len(part).to_bytes(2, "little") + part)

    def read(self, size: int, timeout: float) -> bytes:
        end = self.now + timeout
        while len(self._output) < size and self.now < end:
            step = max(round(min(_STEP, end - self.now) * 1000), 1)
            self.now += step / 1000
            self._send(b"T" + step.to_bytes(4, "little"))
        data = bytes(self._output[:size])
        del self._output[:size]
        return data

    def _send(self, frame: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(frame)
        self._settle()

    def _settle(self) -> None:
        """Until the firmware waits."""
        while (kind := self._take(1)) != b"I":
            assert kind == b"D", kind
            self._output += self._take(int.from_bytes(self._take(2), "little"))

    def _take(self, size: int) -> bytes:
        assert self._process.stdout is not None
        while len(self._frames) < size:
            if not select.select([self._process.stdout], [], [], _HANG_SECONDS)[0]:
                raise Hang("the firmware")
            data = self._process.stdout.read(65536)
            assert data, "the firmware ended"
            self._frames += data
        data, self._frames = self._frames[:size], self._frames[size:]
        return data


class EmulatedDevice:
    """An emulated board that can be reset. Its time is the emulated one."""

    def __init__(self, board: str, elf: Path) -> None:
        self._board, self._elf = load_board(board), elf
        self._before = 0.0
        self._baud = PERFORMANCE_BAUD
        self._start()

    def _start(self) -> None:
        self._emulated = EmulatedBoard(self._board, self._elf, self._watch())
        self._emulated.set_baud(self._baud)

    def _watch(self) -> Watch:
        return Watch(count=False)

    def speak_at(self, baud: int) -> None:
        self._baud = baud
        self._emulated.set_baud(baud)

    @property
    def now(self) -> float:
        return self._before + self._emulated.cycles / self._board.core_hz

    def reset(self, elf: Path | None = None) -> None:
        """A power cycle; what was not yet read is lost."""
        self._before, self._elf = self.now, elf or self._elf
        self._start()

    def write(self, data: bytes) -> None:
        self._emulated.write(data)

    def read(self, size: int, timeout: float) -> bytes:
        return self._emulated.read(size, timeout)

    def close(self) -> None:
        """Nothing to release."""
