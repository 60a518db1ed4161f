"""A pseudo-terminal in front of an emulated board, so that serial programs can talk to it."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_WAIT = 0.005


class _Line(Protocol):
    def write(self, data: bytes) -> None: ...

    def read(self, size: int, timeout: float) -> bytes: ...


@contextmanager
def open_pty(board: _Line) -> Iterator[str]:
    """Runs the board in a thread behind a pseudo-terminal, in step with the host's clock; gives its path.

    Raises:
        TinygenError: on leaving, when the board failed meanwhile; the terminal was silent since.
    """
    import tty

    leader, follower = os.openpty()
    tty.setraw(follower)
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


def _bridge(board: _Line, leader: int, stop: threading.Event, failures: list[Exception]) -> None:
    before = time.monotonic()
    try:
        while not stop.is_set():
            if select.select([leader], [], [], _WAIT)[0]:
                board.write(os.read(leader, 4096))
            now = time.monotonic()
            data = board.read(4096, now - before)
            before = now
            while data:
                data = data[os.write(leader, data) :]
    except Exception as error:  # goes on in the thread that opened the terminal
        failures.append(error)
