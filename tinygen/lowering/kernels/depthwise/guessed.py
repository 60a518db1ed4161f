"""Approximate requantization with one product of 32 bits, and which codes need an exact check.

For cores without longer products.

The sums from the last with the lowest code to the first with the highest, `span` + 1 of them, are places:

    guess = offset + ((sum - first) >> cut) * multiplier        code = lowest + (guess >> (32 - bits))

A guess never falls as the sum rises. The offset is the least with which the first sum of each code reaches that code.
The last sum before a code may reach it, too, by less than `doubt`: so guesses that are less than that beyond a code are
doubted, and computed in the layer's own way. All others are right for every rising staircase. With
16 bits of each factor a guess in some hundred is doubted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinygen.lowering.kernels.support.epilogues.staircase import NONE, Staircase, ends_of_steps
from tinygen.lowering.plan import Constant, Field

_WORD = 32
_PLACES = (15, 16, 17, 18)
"""Bits of a place that are tried."""
_MOST_DOUBTED = 0.05
_FIELDS = ("first", "span", "multiplier", "offset", "doubt")


class Guesses(NamedTuple):
    """Constants of the formula above.

    Attributes:
        rows: int64 [channels, 5], modulo 2^32: first, span, multiplier, offset, doubt times 2^bits.
        cut: for the whole layer.
        bits: of a code.
        lowest: code.
        highest: code, of sums beyond the span.
        doubted: the share of guesses.
    """

    rows: np.ndarray
    cut: int
    bits: int
    lowest: int
    highest: int
    doubted: float

    @property
    def constant(self) -> Constant:
        rows = self.rows.astype(np.uint32).view(np.int32)
        return Constant("guesses", rows, f"per output channel: {', '.join(_FIELDS)}", tuple(map(Field, _FIELDS)))

    @property
    def context(self) -> dict[str, int | bool]:
        """Template values."""
        doubts = bool(self.rows[:, _FIELDS.index("doubt")].any())
        return {"cut": self.cut, "bits": self.bits, "low": self.lowest, "high": self.highest, "doubts": doubts}


def guesses(staircase: Staircase, bias: np.ndarray) -> Guesses | None:
    """Guesses of a layer's codes; None where too many would be doubted, or where there is but one code.

    Args:
        staircase: for accumulators, which are a kernel's sums and biases.
        bias: int64 [channels].
    """
    if staircase.floor == staircase.ceiling:
        return None
    bits = (staircase.ceiling - staircase.floor).bit_length()
    steps, at, below = ends_of_steps(staircase)
    real = np.broadcast_to(staircase.real, bias.shape)
    targets = (steps - staircase.floor) << (_WORD - bits)
    channels = [_Ends.of(float(real[c]), targets, at[:, c], below[:, c]) for c in range(len(bias))]
    largest = max(channel.span for channel in channels).bit_length()
    best: Guesses | None = None
    for cut in sorted({max(largest - places, 0) for places in _PLACES}):
        rows = [channel.row(cut, bits) for channel in channels]
        fitting = [row for row in rows if row is not None]
        if len(fitting) < len(rows):
            continue
        found = np.array(fitting, np.int64)
        doubted = float(found[:, 4].mean()) / 2**_WORD
        if doubted <= _MOST_DOUBTED and (best is None or doubted < best.doubted):
            found[:, 0] -= bias
            best = Guesses(found % 2**_WORD, cut, bits, staircase.floor, staircase.ceiling, doubted)
    return best


class _Ends(NamedTuple):
    """A channel's scale, and of its steps places, and the codes that they are to reach, or not to reach."""

    real: float
    first: int
    span: int
    reaching: np.ndarray
    reached: np.ndarray
    missing: np.ndarray
    missed: np.ndarray

    @classmethod
    def of(cls, real: float, targets: np.ndarray, at: np.ndarray, below: np.ndarray) -> _Ends:
        """`at` and `below` are accumulators, see `ends_of_steps`."""
        reaching, missing = at[at != NONE], below[below != NONE]
        every = np.concatenate([reaching, missing])
        first = int(every.min())
        return cls(
            real,
            first,
            int(every.max()) - first,
            reaching - first,
            targets[at != NONE],
            missing - first,
            targets[below != NONE],
        )

    def row(self, cut: int, bits: int) -> tuple[int, ...] | None:
        """A row of `Guesses`; None where guesses leave 32 bits, or are all doubted."""
        below = int(self.real * 2.0 ** (_WORD - bits + cut))
        rows = [self._row(multiplier, cut, bits) for multiplier in (below, below + 1)]
        return min((row for row in rows if row is not None), key=lambda row: row[-1], default=None)

    def _row(self, multiplier: int, cut: int, bits: int) -> tuple[int, ...] | None:
        offset = max(int((self.reached - (self.reaching >> cut) * multiplier).max(initial=0)), 0)
        beyond = offset + (self.missing >> cut) * multiplier - self.missed
        doubt = max(int(beyond.max(initial=-1)) + 1, 0) << bits
        if offset + (self.span >> cut) * multiplier >= 1 << _WORD or doubt >= 1 << _WORD:
            return None
        return self.first, self.span, multiplier, offset, doubt
