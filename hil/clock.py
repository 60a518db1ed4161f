"""How fast a board's clock and line are, by another clock."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from hil.place import Line
from tinygen.errors import DeviceError
from tinygen.targets.board import Board

_LAP = re.compile(rb"m-lap-us-(\d+)\r\nm-ready\r\n")
_DATA = re.compile(rb"m-tg-data (\d+) [0-9a-f]{8}\r\n")
_FRAME_BITS = 10
_REPLY_SECONDS = 2.0
_ROUND_SECONDS = 1.0
_JITTER_SECONDS = 0.001
"""Probes and bridges pass bytes on by the millisecond."""
CRYSTAL, OSCILLATOR = 0.005, 0.015
"""How far a clock may be off, as a fraction: a crystal's and its line's; an oscillator's on the chip."""


@dataclass(frozen=True)
class Rate:
    """A rate beside the one that it should be.

    Attributes:
        wanted, found: in the same unit.
        uncertainty: of `found`, as a fraction: what the line's delay may have done.
    """

    wanted: float
    found: float
    uncertainty: float

    @property
    def error(self) -> float:
        return self.found / self.wanted - 1

    def near(self, tolerance: float) -> bool:
        return abs(self.error) <= tolerance + self.uncertainty

    def as_json(self) -> dict[str, float]:
        return {"wanted": self.wanted, "found": self.found, "error": self.error, "uncertainty": self.uncertainty}


def tolerance_of(board: Board) -> float:
    return OSCILLATOR if board.clock is not None and board.clock.source == "hsi" else CRYSTAL


def core_rate(line: Line, board: Board, seconds: float) -> Rate:
    """What the core runs at: its cycle counter, which its timestamps are made from, against the line's time.

    Raises:
        DeviceError: no timestamp comes.
    """
    first, first_width, begin = _stamp(line)
    micros, end, width = first, begin, first_width
    while end - begin < seconds:
        line.wait(min(_ROUND_SECONDS, seconds))  # the counter is asked before it wraps twice
        micros, width, end = _stamp(line)
    elapsed = end - begin
    found = board.core_hz * (micros - first) / 1e6 / elapsed
    return Rate(board.core_hz, found, (abs(first_width - width) / 2 + _JITTER_SECONDS) / elapsed)


def _stamp(line: Line) -> tuple[int, float, float]:
    """A timestamp in microseconds; how many seconds it took to get it, and the middle of those."""
    begin = line.now()
    line.transport.write(b"timestamp%")
    answer = _LAP.search(_read_until(line, b"m-ready\r\n"))
    if answer is None:
        raise DeviceError("gives no timestamp", where="timestamp%")
    end = line.now()
    return int(answer[1]), end - begin, (begin + end) / 2


def line_rate(line: Line, board: Board) -> Rate:
    """Bits per second of what the board sends: how long a long block takes to come.

    Raises:
        DeviceError: it does not come whole.
    """
    assert board.uart is not None
    line.transport.write(b"tg-dump 0%")
    head = _read_until(line, b"\r\n", stop=lambda data: _DATA.search(data) is not None)
    header = _DATA.search(head)
    if header is None:
        raise DeviceError("sends no block", where="tg-dump 0%")
    size, begin, had = int(header[1]), line.now(), len(head) - header.end()
    last, got = begin, had
    while got < size:
        data = line.transport.read(min(size - got, 256), _REPLY_SECONDS)
        if not data:
            raise DeviceError(f"sends {got} bytes of {size}", where="tg-dump 0%")
        got, last = got + len(data), line.now()
    elapsed = last - begin
    _read_until(line, b"m-ready\r\n")
    found = (got - had) * _FRAME_BITS / elapsed if elapsed else float("inf")
    return Rate(board.uart.baud, found, 2 * _JITTER_SECONDS / elapsed if elapsed else 0.0)


def _read_until(line: Line, end: bytes, stop: Callable[[bytes], bool] | None = None) -> bytes:
    """What comes up to `end`, or until `stop` says so; what there is when nothing more comes."""
    data = b""
    deadline = line.now() + _REPLY_SECONDS + 3.0
    while not (stop(data) if stop else data.endswith(end)) and line.now() < deadline:
        data += line.transport.read(1, _REPLY_SECONDS)
    return data
