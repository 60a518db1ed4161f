"""The PowerShield's stream of samples (ST UM2269 Rev 6, 4.4 "Data stream format"), in both of its formats.

Samples carry no time: it follows from their number. After every 1,000 samples there is a timestamp, which shows whether
any are missing. What "event" lines look like is not in UM2269; MLCommons' runner (mlcommons/tiny,
benchmark/runner/power_manager/power_manager_lpm.py) reads their beginning, as it is read here, from firmware 1.0.6 on.
"""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass, field

import numpy as np

BLOCK = 1000
"""Samples between timestamps (4.4.1, "Metadata: Timestamp and buffer Tx load")."""
_STAMP = re.compile(r"TimeStamp:.(\d{3})s (\d{3})ms, buff (\d{2,3})%")
_SAMPLE = re.compile(r"(\d{4})([+-]\d{2})")
_EVENT = re.compile(r"event (\d+) (?:ris|fal).*")
_LONGEST = 4096
"""Bytes without end of line, or of a message, from which on they are garbage."""


@dataclass
class Stream:
    """What has been read so far.

    Attributes:
        values: as sent, amperes or joules.
        events: (samples before it, its number) of each edge of the event input.
        stamps: (samples before it, milliseconds).
        damaged: numbers of samples before places that could not be read.
        errors: messages of the instrument.
        ended: whether it said that the acquisition is over.
        load: the highest load of its send buffer, percent.
    """

    values: array[float] = field(default_factory=lambda: array("d"))
    events: list[tuple[int, int]] = field(default_factory=list)
    stamps: list[tuple[int, int]] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    ended: bool = False
    load: int = 0

    def stamp(self, milliseconds: int, load: int) -> None:
        self.stamps.append((len(self.values), milliseconds))
        self.load = max(self.load, load)

    def damage(self) -> None:
        if self.damaged[-1:] != [len(self.values)]:
            self.damaged.append(len(self.values))


class AsciiDecoder:
    """Format 1: a line per sample, `6409-07` for 640.9e-6; other lines begin with a letter (4.4.1)."""

    def __init__(self) -> None:
        self.stream = Stream()
        self._buffer = b""

    def feed(self, piece: bytes) -> None:
        """Reads what has arrived; half a line waits for its rest."""
        if self.stream.ended:
            return
        *lines, self._buffer = (self._buffer + piece).split(b"\n")
        for line in lines:
            self._line(line.strip(b"\r\0 ").decode("ascii", "replace"))
            if self.stream.ended:
                return
        if len(self._buffer) > _LONGEST:
            self._buffer = b""
            self.stream.damage()

    def _line(self, line: str) -> None:
        stream = self.stream
        if sample := _SAMPLE.fullmatch(line):
            stream.values.append(int(sample[1]) * 10.0 ** int(sample[2]))
        elif stamp := _STAMP.fullmatch(line):
            stream.stamp(int(stamp[1]) * 1000 + int(stamp[2]), int(stamp[3]))
        elif event := _EVENT.fullmatch(line):
            stream.events.append((len(stream.values), int(event[1])))
        elif line == "end":
            stream.ended = True
        elif line.startswith("err"):
            stream.errors.append(line)
        elif line and not line.startswith(("pwr ", "PowerShield >", "ack ")):
            stream.damage()


class BinaryDecoder:
    """Format 2: two bytes per sample, 52 A0 for 0x2A0 / 16^5; metadata from F0 Fx to FF FF (4.4.2)."""

    def __init__(self) -> None:
        self.stream = Stream()
        self._buffer = b""
        self._begun = False

    def feed(self, piece: bytes) -> None:
        """Reads what has arrived; half a sample or message waits for its rest."""
        self._buffer += piece
        if not self._begun:
            # The first timestamp comes before the first sample; before that there is the end of a line of text.
            begin = self._next_stamp(0)
            if begin is None:
                return
            self._begun, self._buffer = True, self._buffer[begin:]
        while not self.stream.ended and self._step():
            pass

    def _step(self) -> bool:
        """Reads samples up to the next metadata, and that; False where more must arrive."""
        count = len(self._buffer) // 2
        if not count:
            return False
        words = np.frombuffer(self._buffer, ">u2", count)
        marks = np.flatnonzero(words >= 0xF000)
        plain = int(marks[0]) if len(marks) else count
        # Value 15 of the exponent is kept for metadata (4.4.2).
        found = (words[:plain] & 0xFFF) * 16.0 ** -(words[:plain] >> 12).astype(np.float64)
        self.stream.values.extend(found.tolist())
        self._buffer = self._buffer[2 * plain :]
        return len(marks) > 0 and self._metadata()

    def _metadata(self) -> bool:
        kind = self._buffer[1] if self._buffer[0] == 0xF0 else 0
        size = _SIZES.get(kind)
        if kind in _TEXTS:
            end = self._buffer.find(b"\xff\xff", 2)
            size = end + 2 if end >= 0 else min(len(self._buffer) + 1, _LONGEST)
        if size is None:
            return self._resynchronise()
        if len(self._buffer) < size:
            return False
        message, rest = self._buffer[:size], self._buffer[size:]
        if not message.endswith(b"\xff\xff"):
            return self._resynchronise()
        self._buffer = rest
        self._message(kind, message[2:-2])
        return True

    def _message(self, kind: int, content: bytes) -> None:
        stream = self.stream
        if kind == _STAMP_KIND:
            # Bit 31 says that the counter overflowed (4.4.2, note below table 40).
            stream.stamp(int.from_bytes(content[:4], "big") & 0x7FFFFFFF, content[4])
        elif kind == _END_KIND:
            stream.ended = True
        elif kind == _OVERCURRENT_KIND:
            stream.errors.append("overcurrent")
        elif kind == _ERROR_KIND:
            stream.errors.append(content.decode("ascii", "replace").strip())

    def _resynchronise(self) -> bool:
        """Skips to what looks like a timestamp: after a lost byte the halves of samples are swapped."""
        self.stream.damage()
        begin = self._next_stamp(1)
        if begin is None:
            self._buffer = self._buffer[-_SIZES[_STAMP_KIND] :] if len(self._buffer) > _LONGEST else self._buffer
            return False
        self._buffer = self._buffer[begin:]
        return True

    def _next_stamp(self, begin: int) -> int | None:
        found = re.compile(rb"\xf0\xf3.{5}\xff\xff", re.DOTALL).search(self._buffer, begin)
        return found.start() if found else None


_ERROR_KIND, _STAMP_KIND, _END_KIND, _OVERCURRENT_KIND = 0xF1, 0xF3, 0xF4, 0xF5
"""Tables 38, 40, 41. Table 42 gives overcurrent the tag of the end, F4, a slip: F5 is "reserved" below table 46."""
_TEXTS = (_ERROR_KIND, 0xF2)
_SIZES = {_STAMP_KIND: 9, _END_KIND: 4, _OVERCURRENT_KIND: 4, 0xF6: 4, 0xF7: 6, 0xF8: 6, 0xF9: 5}
"""Bytes of a whole message (tables 40 to 46)."""


@dataclass(frozen=True)
class Placed:
    """Samples on an even grid.

    Attributes:
        values: float64 [N]; NaN where the instrument's timestamps say that one is missing, or one cannot be trusted.
        events: places in the grid.
        positions: of each sample that was read, its place in the grid [M].
        lost: how many are missing.
        missing_events: numbers of events that are missing between others.
    """

    values: np.ndarray
    events: list[int]
    positions: np.ndarray
    lost: int
    missing_events: tuple[int, ...]


def place(stream: Stream, hertz: float, aligned: bool) -> Placed:
    """Puts samples where the instrument's timestamps say that they were taken.

    Args:
        stream: what was read.
        hertz: samples per second.
        aligned: whether a sample that was damaged is seen (lines), or the halves of all that follow may be swapped
            (binary): of a block with a wrong number nothing is used then.
    """
    count = len(stream.values)
    shifts = np.zeros(count, np.int64)
    spoilt = np.zeros(count, bool)
    begin, grid = 0, 0
    for index, milliseconds in stream.stamps:
        expected = _block_number(milliseconds, hertz, grid) * BLOCK
        missing = expected - grid - (index - begin)
        cut = index
        if missing and not (aligned and missing > 0):
            spoilt[begin:index] = True
        elif missing:
            cut = next((d for d in stream.damaged if begin <= d <= index), index)
        shifts[cut:] += missing
        begin, grid = index, expected
    # Behind the last timestamp nothing says how many are missing: at least one wherever something is damaged.
    for damaged in (d for d in stream.damaged if d >= begin):
        if aligned:
            shifts[damaged:] += 1
        else:
            spoilt[begin:] = True
    return _placed(stream, shifts, spoilt)


def _block_number(milliseconds: int, hertz: float, grid: int) -> int:
    """The ASCII timestamp has three digits of seconds and wraps around after 999."""
    number = round(milliseconds * hertz / 1000 / BLOCK)
    around = round(1000 * hertz / BLOCK)
    while number * BLOCK < grid - around * BLOCK // 2:
        number += around
    return number


def _placed(stream: Stream, shifts: np.ndarray, spoilt: np.ndarray) -> Placed:
    values = np.asarray(stream.values, np.float64)
    positions = np.arange(len(values)) + shifts
    size = int(positions[-1]) + 1 if len(values) else 0
    grid = np.full(size, np.nan)
    good = ~spoilt & (positions >= 0)
    grid[positions[good]] = values[good]
    events = [int(positions[i]) if i < len(positions) else size for i, _ in stream.events]
    numbers = [number for _, number in stream.events]
    there = set(numbers)
    gone = tuple(n for n in range(numbers[0], numbers[-1]) if n not in there) if numbers else ()
    return Placed(grid, events, positions, int(np.isnan(grid).sum()), gone)
