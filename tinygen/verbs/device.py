"""`tinygen device`: an emulated board as a serial port of this computer, for any program."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinygen.builds.manifest import read_manifest
from tinygen.errors import BoardError, TinygenError
from tinygen.hil.device import PREDICTED, first_baud, require_runtime
from tinygen.targets.boards import load_board
from tinygen.targets.cycles import board_cost
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.emulator.counting import Watch
from tinygen.targets.emulator.pty import open_pty

_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Opened:
    """An emulated board on a port.

    Attributes:
        board: its name.
        port: what a serial program opens.
        link: a name of the port that does not change from run to run; None if none was asked for.
        baud: the rate that the firmware begins with.
        cycles: where the board's own times come from: "predicted" by the core's model of cycles.
        build_id: of the firmware.
    """

    board: str
    port: str
    link: str | None
    baud: int
    cycles: str
    build_id: str

    def as_json(self) -> dict[str, Any]:
        """As `tinygen device --json` prints it."""
        return asdict(self)


class _Line:
    """A board's line that records a failure of the board and wakes all waiting threads."""

    def __init__(self, board: EmulatedBoard) -> None:
        self._board = board
        self.failed = threading.Event()

    def write(self, data: bytes) -> None:
        self._board.write(data)

    def set_baud(self, baud: int) -> None:
        self._board.set_baud(baud)

    def read(self, size: int, timeout: float) -> bytes:
        try:
            return self._board.read(size, timeout)
        except BaseException:
            self.failed.set()
            raise


class Serving:
    """An open port; `wait` while it is to stay so."""

    def __init__(self, opened: Opened, failed: threading.Event) -> None:
        self.opened = opened
        self._failed = failed

    def wait(self, stop: threading.Event | None = None) -> None:
        """Returns when the board has failed, or `stop` is set."""
        while not self._failed.wait(_LOOK_SECONDS):
            if stop is not None and stop.is_set():
                return


@contextmanager
def serve(folder: Path, link: Path | None = None) -> Iterator[Serving]:
    """Runs a build's firmware on its emulated board, behind a pseudo-terminal.

    The board's clock runs in real time, or slower. Its cycle counter, and so all times that it reports, follow the
    cycle model of its core.

    Args:
        folder: written by `tinygen build`.
        link: a symbolic link to the port, created here and removed at the end.

    Raises:
        TinygenError: no build directory, nothing emulates the board, something lies at `link`, or, at the end, what
            the board failed by.
    """
    manifest = read_manifest(folder)
    board = load_board(manifest.board)
    if board.is_host:
        raise BoardError(
            "has no serial port: its firmware is a program of this computer, with standard input and output",
            where=board.name,
            fix=f"Run {folder / 'firmware.elf'}, or build for an emulated board.",
        )
    require_runtime(board)
    elf = folder / "firmware.elf"
    if not elf.is_file():
        raise TinygenError("firmware.elf is missing", where=str(folder), fix="Build it again.")
    emulated = EmulatedBoard(board, elf, Watch(count=True, cost=board_cost(board, elf)))
    line, baud = _Line(emulated), first_baud(board, manifest)
    emulated.set_baud(baud)
    with ExitStack() as stack:
        port = stack.enter_context(open_pty(line, baud))
        if link is not None:
            stack.enter_context(_linked(link, port))
        name = None if link is None else str(link)
        opened = Opened(board.name, port, name, baud, PREDICTED, manifest.build_id)
        yield Serving(opened, line.failed)


@contextmanager
def _linked(link: Path, port: str) -> Iterator[None]:
    try:
        link.symlink_to(port)
    except OSError as error:
        fix = "Name a path that does not exist yet, in a folder that you may write to."
        raise TinygenError(f"the link cannot be made: {error.strerror}", where=str(link), fix=fix) from error
    try:
        yield
    finally:
        # Something else that was put there meanwhile is kept.
        if link.is_symlink() and str(link.readlink()) == port:
            link.unlink()
