"""Ctrl-C while a machine is emulated."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def held_interrupts() -> Iterator[None]:
    """Holds Ctrl-C back until the end: of the inference, mostly.

    Python raises it in whatever it enters next, which is mostly one of Unicorn's callbacks. There it would be lost; and
    with it what the callback should have given the firmware, as the value of the cycle counter. Nor may the emulation
    stop anywhere but where it does by itself: what the firmware reads at that moment could not be repeated.

    Raises:
        KeyboardInterrupt: at the end, where Ctrl-C was pressed meanwhile.
    """
    handler = signal.getsignal(signal.SIGINT)
    # Only the main thread is ever interrupted.
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []

    def hold(number: int, frame: Any) -> None:
        held.append(number)

    signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if held:
            handler(signal.SIGINT, None)
