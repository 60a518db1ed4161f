"""A pseudo-terminal in front of an emulated board, so that serial programs can talk to it."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Protocol

from tinygen.targets.emulator.line import USUAL_RATES

_WAIT = 0.005
# Emulated seconds at a time, at most: where the emulator is slower than the clock, it must not fall behind for good.
_STEP = 0.02


class _Line(Protocol):
    def write(self, data: bytes) -> None: ...

    def read(self, size: int, timeout: float) -> bytes: ...

    def set_baud(self, baud: int) -> None: ...


@contextmanager
def open_pty(board: _Line, baud: int) -> Iterator[str]:
    """Runs the board in a thread behind a pseudo-terminal, in step with the host's clock, or slower; gives its path.

    Args:
        board: the board behind the terminal.
        baud: the terminal's rate until a program sets another; the board hears at which rate it is spoken to.

    Raises:
        TinygenError: on leaving, when the board failed meanwhile; the terminal was silent since.
    """
    import tty

    leader, follower = os.openpty()
    tty.setraw(follower)
    _set_rate(follower, baud)
    stop = threading.Event()
    failures: list[Exception] = []
    thread = threading.Thread(target=_bridge, args=(board, leader, stop, failures), daemon=True)
    thread.start()
    try:
        yield os.ttyname(follower)
    finally:
        stop.set()
        thread.join()
        os.close(leader)
        os.close(follower)
    if failures:
        raise failures[0]


@cache
def _codes() -> dict[int, int]:
    """The usual rates by the numbers that stand for them in a terminal's settings."""
    import termios

    return {getattr(termios, f"B{rate}"): rate for rate in USUAL_RATES if hasattr(termios, f"B{rate}")}


def _set_rate(follower: int, baud: int) -> None:
    import termios

    settings = termios.tcgetattr(follower)
    for code, rate in _codes().items():
        if rate == baud:
            settings[4] = settings[5] = code
    termios.tcsetattr(follower, termios.TCSANOW, settings)


def _rate(leader: int) -> int | None:
    """The rate that the program at the other end has set; None if it is not one of the usual rates."""
    import termios

    return _codes().get(termios.tcgetattr(leader)[5])


def _bridge(board: _Line, leader: int, stop: threading.Event, failures: list[Exception]) -> None:
    before = time.monotonic()
    try:
        while not stop.is_set():
            rate = _rate(leader)
            if rate is not None:
                board.set_baud(rate)
            if select.select([leader], [], [], _WAIT)[0]:
                board.write(os.read(leader, 4096))
            now = time.monotonic()
            data = board.read(4096, min(now - before, _STEP))
            before = now
            while data:
                data = data[os.write(leader, data) :]
    except Exception as error:  # raised again in the thread that opened the terminal
        failures.append(error)
