"""Reads an instrument's stream in the background and records when each piece arrived."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_PAUSE = 0.001


class StreamReader:
    """A thread that hands on every piece with its time of arrival.

    Args:
        read: gives what has arrived, b"" where nothing has; may wait a little.
        take: called in the thread with (piece, time of arrival).
        now: this computer's clock.

    Attributes:
        error: what ended the thread: of `read`, the instrument is gone; of `take`, the piece cannot be read.
    """

    def __init__(
        self, read: Callable[[], bytes], take: Callable[[bytes, float], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._read, self._take, self._now = read, take, now
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.error: Exception | None = None
        self._thread.start()

    def _run(self) -> None:
        try:
            ending = False
            while not ending:
                # Read once more when it ends: what has arrived counts, and so does that nothing can any more.
                ending = self._end.is_set()
                piece = self._read()
                if piece:
                    self._take(piece, self._now())
                elif not ending:
                    time.sleep(_PAUSE)
        except Exception as error:  # raised by whoever stops the reader
            self.error = error

    def stop(self) -> None:
        """Ends the thread; `error` says whether it ended by itself."""
        self._end.set()
        self._thread.join()
