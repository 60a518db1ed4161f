"""Words whose fields are codes, so that one multiplication computes several products, or sums of them.

A word of N pixels, x = sum of a[i] * 2^(S i), times a word of K taps of a window's row, the last tap lowest, is a
polynomial product: field j holds the sum of a[i] * q[K - 1 - (j - i)], of N + K - 1 fields each one a part of the sum
of an output (HiKonv: Liu et al., arXiv 2112.13972). With K = 1 the second word holds M filters at distances of N S
instead, and each field is the product of one pixel and one filter (ULPPACK: Won et al., MLSys 2022). Products of many
such words are added before the fields are extracted. Fields do not overflow as long as no sum reaches 2^S:
`Sums.largest` gives the largest sum that is possible with a layer's weights and codes up to A, and `plan` limits the
steps accordingly.

All codes are unsigned. Fields either begin at bit 32 mod S, so that one of them begins at bit 32 and none reaches over
it, or at bit 0, where more of them may fit, and sums need a carry from word to word.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

WORD = 32
_MOST_STEPS = 16
"""That stand in the inner loop one by one: with more, its loads would need long encodings."""
_MOST_TURNS = 3
"""Of an operand in a word: with more, hardly a bit is left."""
_WORTH = 0.9
"""Of the bits, that operands of two shares must leave."""


@dataclass(frozen=True)
class Fields:
    """Bit positions of codes in the two operands, and of sums in their product.

    Attributes:
        pixels: in the first operand.
        taps: of a row of the window in the second one, the last one lowest.
        filters: in the second one; more than one only where there is one tap.
        spacing: bits from field to field.
        x_start, w_start: the lowest bit of the first code in each operand.
        product: bits of a product that are kept, 64 or 32.
    """

    pixels: int
    taps: int
    filters: int
    spacing: int
    x_start: int
    w_start: int
    product: int = 2 * WORD

    @property
    def start(self) -> int:
        """The lowest bit of the first sum."""
        return self.x_start + self.w_start

    @property
    def count(self) -> int:
        """Sums in a product."""
        return self.pixels + self.taps - 1 if self.taps > 1 else self.pixels * self.filters

    @property
    def macs(self) -> int:
        """Products per multiplication."""
        return self.pixels * self.taps * self.filters

    @property
    def apart(self) -> bool:
        """Whether no sum reaches over bit 32: the words of a product may be added up apart."""
        ends = [at + self.spacing for at in self.places() if at < WORD]
        return self.product == WORD or max(ends) <= WORD

    def places(self) -> list[int]:
        """Lowest bits of the sums in a product."""
        return [self.start + self.spacing * j for j in range(self.count)]

    @property
    def last_bits(self) -> int:
        """Of the highest sum, which may have fewer."""
        return min(self.product - self.start - self.spacing * (self.count - 1), self.spacing)

    def pixel_shifts(self) -> list[int]:
        return [self.x_start + self.spacing * i for i in range(self.pixels)]

    def weight_shifts(self) -> list[int]:
        """[filters][taps], flat: by how much each weight is shifted."""
        if self.taps > 1:
            return [self.w_start + self.spacing * (self.taps - 1 - t) for t in range(self.taps)]
        return [self.w_start + self.spacing * self.pixels * f for f in range(self.filters)]


def layouts(largest_x: int, largest_w: int, taps: int, product: int = 2 * WORD) -> Iterator[Fields]:
    """All that fit two words of 32 bits and their product, and make more than one product of codes.

    Args:
        largest_x, largest_w: the largest code of each operand.
        taps: of a row of the window, 1 for points.
        product: bits of a product that are kept.
    """
    x_bits, w_bits = largest_x.bit_length(), largest_w.bit_length()
    return iter(_layouts(x_bits, w_bits, taps, product))


@cache
def _layouts(x_bits: int, w_bits: int, taps: int, product: int) -> tuple[Fields, ...]:
    return tuple(_found(x_bits, w_bits, taps, product))


def _found(x_bits: int, w_bits: int, taps: int, product: int) -> Iterator[Fields]:
    for spacing in range(x_bits + w_bits, WORD):
        for pixels in range(1, 9):
            for filters in range(1, 5) if taps == 1 else (1,):
                for start in {WORD % spacing if product > WORD else 0, 0}:
                    found = _layout(Fields(pixels, taps, filters, spacing, 0, 0, product), start, x_bits, w_bits)
                    if found is not None and found.macs > 1:
                        yield found


def _layout(fields: Fields, start: int, x_bits: int, w_bits: int) -> Fields | None:
    """The fields moved to `start`, if all bits have room."""
    x_room = WORD - fields.pixel_shifts()[-1] - x_bits
    w_room = WORD - max(fields.weight_shifts()) - w_bits
    if x_room < 0 or w_room < 0 or start > x_room + w_room:
        return None
    x_start = min(start, x_room)
    found = replace(fields, x_start=x_start, w_start=start - x_start)
    return found if found.places()[-1] + x_bits + w_bits <= fields.product else None


class Sums:
    """How large the fields of a layer's sums become.

    Args:
        weights: unsigned codes [filters, steps, taps].
        largest_x: the largest code of the activations.
    """

    def __init__(self, weights: np.ndarray, largest_x: int) -> None:
        self._weights = weights.astype(np.int64)
        self._largest_x = largest_x
        self._running: dict[int, np.ndarray] = {}
        self._largest: dict[tuple[int, int], int] = {}
        self._highest: dict[tuple[bool, int], int] = {}

    @property
    def steps(self) -> int:
        return self._weights.shape[1]

    def largest(self, fields: Fields, steps: int) -> int:
        """The largest sum of any field, where fields are taken out after every `steps` steps.

        A field meets at most min(pixels, taps) neighbouring taps of a step.
        """
        key = min(fields.pixels, fields.taps), steps
        if key not in self._largest:
            self._largest[key] = self._most(self._running_sums(key[0]), steps)
        return self._largest[key]

    def fits(self, fields: Fields, steps: int) -> bool:
        """Whether no field overflows. The highest one of a row meets the first tap alone."""
        if self.largest(fields, steps) >= 1 << fields.spacing:
            return False
        key = fields.taps > 1, steps
        if key not in self._highest:
            self._highest[key] = self._most(self._running_sums(1)[:, :, 0 if key[0] else -1], steps)
        return self._highest[key] < 1 << fields.last_bits

    def _most(self, running: np.ndarray, steps: int) -> int:
        """The largest sum of `steps` steps, of sums [filters, steps + 1, ...] up to each step."""
        return int(np.diff(running[:, self._ends(steps)], axis=1).max(initial=0)) * self._largest_x

    def _ends(self, steps: int) -> np.ndarray:
        return np.minimum(np.arange(0, self.steps + steps, steps), self.steps)

    def total(self) -> int:
        """The largest sum of a field over all steps."""
        return int(self._weights.sum(axis=(1, 2)).max(initial=0)) * self._largest_x

    def _running_sums(self, met: int) -> np.ndarray:
        """[filters, steps + 1, runs of `met` taps]: sums up to each step."""
        if met not in self._running:
            runs = np.lib.stride_tricks.sliding_window_view(self._weights, met, axis=2).sum(axis=3)
            self._running[met] = np.pad(np.cumsum(runs, axis=1), ((0, 0), (1, 0), (0, 0)))
        return self._running[met]

    def safe_steps(self, fields: Fields) -> int:
        """The most steps that keep fields apart; 0 when one is too many."""
        low, high = 0, self.steps
        while low < high:  # what holds for more steps need not hold for fewer, so that the end is checked, too
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.fits(fields, middle) else (low, middle - 1)
        return low


@dataclass(frozen=True)
class Segments:
    """How the steps of a sum are cut: `segments` times `parts` times `steps`.

    After each segment the fields are taken out. A part is what stands in the inner loop one by one. Steps that the
    layer does not have get weights of zero.
    """

    steps: int
    parts: int
    segments: int

    @property
    def each(self) -> int:
        return self.steps * self.parts

    @property
    def total(self) -> int:
        return self.each * self.segments


def segments(sums: Sums, fields: Fields) -> Segments | None:
    """The fewest segments; None where a field does not hold one step."""
    most = sums.safe_steps(fields)
    while most > 0:
        count = -(-sums.steps // most)
        each = -(-sums.steps // count)
        parts = -(-each // _MOST_STEPS)
        found = Segments(max(-(-each // parts), 2), parts, count)
        if sums.fits(fields, found.each):
            return found
        most = min(most, each) - 1
    return None


@cache
def rotations(mask: int) -> tuple[int, ...]:
    """The largest set of rotations of `mask` that share no bits, 0 first: a word stores one operand per rotation."""
    apart = sum(1 << by for by in range(1, WORD) if not mask & _rotated(mask, by))
    return _most_apart(apart, WORD // mask.bit_count())


@cache
def _most_apart(apart: int, most: int) -> tuple[int, ...]:
    """The first of the longest lists of rotations that begins with 0.

    Args:
        apart: bit d is set where rotations that differ by d share no bit. Sets of rotations are words of bits, too.
        most: that may be found.
    """

    def longest(chosen: tuple[int, ...], rest: int) -> tuple[int, ...]:
        best = chosen
        while rest and len(best) < most and len(chosen) + rest.bit_count() > len(best):
            by = (rest & -rest).bit_length() - 1
            rest &= rest - 1
            found = longest((*chosen, by), rest & apart << by)
            best = max(best, found, key=len)
        return best

    return longest((0,), apart)


def _rotated(mask: int, by: int) -> int:
    return (mask << by | mask >> (WORD - by)) & 0xFFFFFFFF if by else mask


@dataclass(frozen=True)
class Share:
    """Bits of an operand: those of stored word `word` of its group, rotated right by `turn`, in `mask`."""

    word: int
    turn: int
    mask: int


@dataclass(frozen=True)
class Packing:
    """How operands are stored: so many in a group of `words` words, each of one share or two."""

    words: int
    operands: tuple[tuple[Share, ...], ...]

    @property
    def bits(self) -> float:
        """Stored, of an operand."""
        return WORD * self.words / len(self.operands)

    @property
    def steps(self) -> float:
        """Instructions to extract an operand by one rotation and one mask, without its store."""
        return sum(2 * len(shares) - 1 for shares in self.operands) / len(self.operands)


@cache
def packing(mask: int) -> Packing:
    """The packing of operands whose bits lie in `mask`.

    A word holds several rotated operands. The bits left over in two words hold parts of further operands.
    """
    turns = rotations(mask)
    best = Packing(1, tuple((Share(0, turn, mask),) for turn in turns))
    if len(turns) > _MOST_TURNS:
        return best
    filled = min((_filled(mask, chosen) for chosen in _as_many(mask, len(turns))), key=lambda form: form.bits)
    return filled if filled.bits < _WORTH * best.bits else best


def _as_many(mask: int, count: int) -> list[tuple[int, ...]]:
    """All lists of `count` rotations of `mask` that begin with 0 and share no bit."""
    found: list[tuple[tuple[int, ...], int]] = [((0,), mask)]
    for _ in range(count - 1):
        found = [
            ((*chosen, by), used | _rotated(mask, by))
            for chosen, used in found
            for by in range(chosen[-1] + 1, WORD)
            if not used & _rotated(mask, by)
        ]
    return [chosen for chosen, _ in found]


def _filled(mask: int, turns: tuple[int, ...]) -> Packing:
    """Operands at `turns` of two words, and of two shares as long as there are bits for such."""
    operands: list[tuple[Share, ...]] = [(Share(word, turn, mask),) for word in range(2) for turn in turns]
    left = [0xFFFFFFFF & ~sum(_rotated(mask, turn) for turn in turns)] * 2
    more = _two_shares(mask, left)
    while more:
        operands.append(more)
        for share in more:
            left[share.word] &= ~_rotated(share.mask, share.turn)
        more = _two_shares(mask, left)
    return Packing(len(left), tuple(operands))


def _two_shares(mask: int, left: list[int]) -> tuple[Share, Share] | None:
    """An operand of bits that are left: as many as can be in the first share."""
    shares = list(_shares(mask, left))
    shares.sort(key=lambda share: -share.mask.bit_count())
    for first in shares:
        missing, rest = mask & ~first.mask, list(left)
        if first.mask.bit_count() < missing.bit_count():
            return None
        rest[first.word] &= ~_rotated(first.mask, first.turn)
        second = next((share for share in _shares(missing, rest) if share.mask == missing), None)
        if second is not None:
            return first, second
    return None


def _shares(mask: int, left: list[int]) -> Iterator[Share]:
    """What of an operand each word has bits for, turned each way."""
    for word, bits in enumerate(left):
        for turn in range(WORD):
            found = _rotated(bits, (WORD - turn) % WORD) & mask
            if found:
                yield Share(word, turn, found)


def pack_operands(operands: np.ndarray, mask: int) -> np.ndarray:
    """Operands, all of whose bits lie in `mask`, several in a group of words.

    Args:
        operands: uint32 [blocks, count].

    Returns:
        uint32 [blocks, words], group after group of `packing(mask)`, as many operands in each.
    """
    form = packing(mask)
    blocks, count = operands.shape
    padded = np.zeros((blocks, -(-count // len(form.operands)) * len(form.operands)), np.uint64)
    padded[:, :count] = operands
    grouped = padded.reshape(blocks, -1, len(form.operands))
    stored = np.zeros((*grouped.shape[:2], form.words), np.uint64)
    for place, shares in enumerate(form.operands):
        for share in shares:
            bits, by = grouped[:, :, place] & np.uint64(share.mask), np.uint64(share.turn)
            stored[:, :, share.word] |= bits << by | bits >> (np.uint64(WORD) - by)
    return np.asarray(stored & np.uint64(0xFFFFFFFF)).astype(np.uint32).reshape(blocks, -1)
