"""Builds to open, and devices that fail in ways of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tinygen.demo import MODEL
from tinygen.errors import DeviceGoneError
from tinygen.hil.transports import ProcessTransport
from tinygen.verbs.build import BuildOptions, build


def digits_on(board: str, folder: Path) -> Path:
    """A build directory of the digit classifier."""
    return build(MODEL, folder / board, BuildOptions(board=board), profile=False).folder


class FaultyDevice:
    """Host firmware that does something at the n-th command of a kind, and again at each later number given.

    Args:
        elves: programs; at each reset the next one runs, the last one for good.
        command: which commands are counted: "tg-run".
        at: their numbers, from 1.
        fault: called with this device and the bytes written; True when the command must not be passed on.
    """

    def __init__(
        self, elves: Sequence[Path], command: str, at: Sequence[int], fault: Callable[[FaultyDevice], bool]
    ) -> None:
        self.elves, self.command, self.at, self.fault = list(elves), command.encode(), set(at), fault
        self.count, self.silent, self.gone = 0, False, False
        self.line = self._start()
        self._drain()

    def _start(self) -> ProcessTransport:
        return ProcessTransport([str(self.elves[0])])

    def _drain(self) -> None:
        """Drops the banner."""
        seen = b""
        while not seen.endswith(b"m-ready\r\n"):
            seen += self.line.read(1, 10.0)

    def reset(self, *, quiet: bool = False) -> None:
        """As the button does; the banner is lost when quiet."""
        self.line.close()
        if len(self.elves) > 1:
            self.elves.pop(0)
        self.line = self._start()
        if quiet:
            self._drain()

    def write(self, data: bytes) -> None:
        self._check_cable()
        if b" " + self.command in data.partition(b"%")[0]:
            self.count += 1
            if self.count in self.at and self.fault(self):
                return
        self.line.write(data)

    def read(self, size: int, timeout: float) -> bytes:
        self._check_cable()
        return b"" if self.silent else self.line.read(size, timeout)

    def _check_cable(self) -> None:
        if self.gone:
            raise DeviceGoneError("the board went away (cable pulled)", where="/dev/ttyTEST")

    def close(self) -> None:
        self.line.close()


def resets(device: FaultyDevice) -> bool:
    device.reset()
    return False


def resets_quietly(device: FaultyDevice) -> bool:
    device.reset(quiet=True)
    return False


def is_unplugged(device: FaultyDevice) -> bool:
    device.gone = True
    device.line.close()
    return True


def goes_silent(device: FaultyDevice) -> bool:
    device.silent = True
    return True


def misses_the_command(device: FaultyDevice) -> bool:
    return True
