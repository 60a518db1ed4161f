"""Ctrl-C, and signals that end the program, while a machine is emulated."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tinygen.files import ENDING


@contextmanager
def held_interrupts() -> Iterator[None]:
    """Holds Ctrl-C back until the end: of the inference, mostly; and other signals that are handled in Python.

    Python raises KeyboardInterrupt in the next Python code that runs, mostly one of Unicorn's callbacks. There the
    exception would be lost, and with it the value that the callback should have returned to the firmware, such as the
    cycle counter. The emulation may also stop only at its regular places: a register read interrupted elsewhere could
    not be repeated.

    Raises:
        KeyboardInterrupt: at the end, where Ctrl-C was pressed meanwhile.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, *ENDING)}
    taken = {number: handler for number, handler in handlers.items() if callable(handler)}
    # Only the main thread is ever interrupted.
    if not taken or threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []

    def hold(number: int, frame: Any) -> None:
        held.append(number)

    for number in taken:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)
        if held:
            taken[signal.Signals(held[0])](held[0], None)
