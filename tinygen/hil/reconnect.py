"""A line that reconnects: a serial port that disappeared (cable, board power) is opened again."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from tinygen.errors import DeviceError, DeviceGoneError
from tinygen.hil.transports import RatedTransport

_POLL_SECONDS = 0.25
_T = TypeVar("_T")


class ReconnectingTransport:
    """Opens its line again when it is lost, and tells the caller with an error, as what was under way is lost too.

    `DeviceClient.infer` handles that error like any other error of the line, and starts again.

    Args:
        open_line: opens the line, at the rate that a device begins with; raises DeviceGoneError as long as it is not
            there.
        patience: seconds to wait for it to come back.
        clock, sleep: as in `time`.

    Raises:
        DeviceError: it was lost and is back.
        DeviceGoneError: it stays away; so says every call from then on.
    """

    def __init__(
        self,
        open_line: Callable[[], RatedTransport],
        patience: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._open, self._patience, self._clock, self._sleep = open_line, patience, clock, sleep
        self._lost: DeviceGoneError | None = None
        self._line = open_line()

    def write(self, data: bytes) -> None:
        """Sends bytes."""
        self._guard(lambda: self._line.write(data))

    def read(self, size: int, timeout: float) -> bytes:
        """At most `size` bytes; fewer when `timeout` seconds have passed."""
        return self._guard(lambda: self._line.read(size, timeout))

    def set_baud(self, baud: int) -> None:
        """Bits per second, from the next byte on; until the line is lost."""
        self._guard(lambda: self._line.set_baud(baud))

    def close(self) -> None:
        """Closes the line."""
        with suppress(DeviceError):
            self._line.close()

    def _guard(self, action: Callable[[], _T]) -> _T:
        if self._lost is not None:
            raise self._lost
        try:
            return action()
        except DeviceGoneError as error:
            self._reopen(error)
            raise DeviceError(f"the line was lost and is back ({error.what})", where=error.where) from error

    def _reopen(self, error: DeviceGoneError) -> None:
        self.close()
        deadline = self._clock() + self._patience
        while self._clock() < deadline:
            self._sleep(_POLL_SECONDS)
            with suppress(DeviceGoneError):
                self._line = self._open()
                return
        self._lost = DeviceGoneError(
            f"{error.what}, and did not come back within {self._patience:g} seconds", where=error.where, fix=error.fix
        )
        raise self._lost from error
