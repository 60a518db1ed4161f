"""Finds missing samples of a PPK2: words of four bytes with a counter of six bits, which never skips.

Layout of a word, low bits first (pc-nrfconnect-ppk, serialDevice.ts): 14 bits of the converter, 3 of the range,
1 unused, 6 of the counter, 8 digital channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WORD_BYTES = 4
_SHIFT, _MASK = 18, 63
_SURE = 8
"""Words in a row whose counters fit that tell where words begin: by chance, one place in 64^7."""


@dataclass(frozen=True)
class Run:
    """Words without a gap.

    Attributes:
        begin, end: bytes.
        sample: number of its first word, those that are missing before it counted.
    """

    begin: int
    end: int
    sample: int

    @property
    def words(self) -> int:
        return (self.end - self.begin) // WORD_BYTES


def find_runs(data: bytes) -> list[Run]:
    """Runs of words, in order; bytes that belong to none are left out.

    A counter of six bits tells how many words are missing up to whole multiples of 64: that more are, shows in the
    clocks (`tinygen.hil.power.clock.check_clock`).
    """
    alignments = [_Alignment(data, offset) for offset in range(WORD_BYTES)]
    found: list[Run] = []
    place = _synchronise(alignments, 0)
    sample = 0
    while place is not None:
        end = alignments[place % WORD_BYTES].end_of_run(place)
        if found:
            sample = found[-1].sample + found[-1].words
            sample += (_counter(data, place) - _counter(data, found[-1].end - WORD_BYTES) - 1) & _MASK
        found.append(Run(place, end, sample))
        place = _synchronise(alignments, end)
    return found


def _counter(data: bytes, place: int) -> int:
    return int.from_bytes(data[place : place + WORD_BYTES], "little") >> _SHIFT & _MASK


class _Alignment:
    """The words that begin at one of the four bytes."""

    def __init__(self, data: bytes, offset: int) -> None:
        self.offset = offset
        words = (
            np.frombuffer(data, "<u4", max(len(data) - offset, 0) // WORD_BYTES, offset) if len(data) > offset else ()
        )
        counters = np.asarray(words, np.int64) >> _SHIFT & _MASK
        follows = (counters[1:] - counters[:-1]) & _MASK == 1
        self.words = len(counters)
        self.breaks = np.flatnonzero(~follows)
        # Places from which at least _SURE words follow each other.
        starts = np.r_[0, self.breaks + 1]
        lengths = np.diff(np.r_[starts, self.words])
        self.sure = starts[lengths >= _SURE]

    def end_of_run(self, place: int) -> int:
        """The byte behind the words that follow each other from `place` on."""
        index = (place - self.offset) // WORD_BYTES
        after = int(np.searchsorted(self.breaks, index))
        last = int(self.breaks[after]) + 1 if after < len(self.breaks) else self.words
        return self.offset + WORD_BYTES * last

    def next_sure(self, place: int) -> int | None:
        """The first byte from `place` on with which enough words follow each other."""
        index = max(-(-(place - self.offset) // WORD_BYTES), 0)
        if self.words - index < _SURE:
            return None
        # A word that lost its low bytes still has its counter: a run may seem to begin before `place`.
        after = int(np.searchsorted(self.breaks, index))
        end = int(self.breaks[after]) + 1 if after < len(self.breaks) else self.words
        if end - index >= _SURE:
            return self.offset + WORD_BYTES * index
        found = int(np.searchsorted(self.sure, index))
        return None if found == len(self.sure) else self.offset + WORD_BYTES * int(self.sure[found])


def _synchronise(alignments: list[_Alignment], place: int) -> int | None:
    """The nearest run from `place` on, of any alignment."""
    found = [start for a in alignments if (start := a.next_sure(place)) is not None]
    return min(found, default=None)
