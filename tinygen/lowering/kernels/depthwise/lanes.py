"""Depthwise layers on codes of one or two bits, channels beside each other in words: lanes, planes, sums, thresholds.

A plane is a word of bits of equal weight, one for each of up to 32 lanes. A lane is a channel; where channels fill half
a word or less, rows are folded, so that several pixels, a part of the row apart, lie beside each other. A product of a
code q, at most `top`, and a weight w is

    w * q = |w| * q                      where w >= 0
    w * q = |w| * (top - q) - |w| * top    where w < 0

so that it is an exclusive or with the sign, an AND with each bit of |w|, and a constant of the channel. Sums of bits of
equal weight are those of full adders (tinygen_bits.h), and sums are compared with thresholds from the lowest plane up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinygen.ir.encodings import WORD_BITS
from tinygen.ir.epilogue import Epilogue
from tinygen.ir.ops.window import Axis

_OCTET = 8


class Slot(NamedTuple):
    """A packed word among the lanes of a group.

    Attributes:
        word: of the pixel's words of the group.
        part: of the row.
        up: places that it is moved up by.
        odd: of codes of two bits, whether its planes lie at odd places.
        mask: of its bits, moved up.
    """

    word: int
    part: int
    up: int
    odd: bool
    mask: int


@dataclass(frozen=True, eq=False)
class Lanes:
    """How packed codes lie in planes.

    Attributes:
        bits: of a code, 1 or 2.
        groups, words: of channels, and of a group in each pixel.
        parts, columns: of a row of outputs, and outputs of a part.
        slots: that a group is made of.
        channel: int64 [groups, 32], -1 for unused lanes.
        part: int64 [32], of each lane.
    """

    bits: int
    groups: int
    words: int
    parts: int
    columns: int
    slots: tuple[Slot, ...]
    channel: np.ndarray
    part: np.ndarray


def lanes_of(channels: int, bits: int, outputs: int) -> Lanes:
    """The lanes of so many channels, with so many outputs in a row."""
    each = WORD_BITS // bits
    words = -(-channels // each)
    octet = bits == 2
    # Bits lie in order; codes of two bits in the four bytes, so that up to 4 channels fill two bits of each.
    width = 2 * -(-channels // 4) if octet else channels
    step = next(size for size in (2, 4, _OCTET) if size >= min(width, _OCTET)) if octet else _power(width)
    inner = 1 if words > 1 else (_OCTET if octet else WORD_BITS) // step
    halves = 2 if octet else 1
    paired = octet and words % 2 == 0
    folds = inner if paired else inner * halves
    columns = -(-outputs // min(folds, outputs))
    parts = -(-outputs // columns)
    slots = tuple(
        Slot(index if paired else 0, 0 if paired else index, 0, index > 0, 2**WORD_BITS - 1)
        if inner == 1
        else Slot(
            0, index, index // halves * step, octet and index % 2 > 0, _mask(step, octet) << index // halves * step
        )
        for index in range(2 if paired else parts)
    )
    group = 2 if paired else 1
    channel, part = np.full((words // group, WORD_BITS), -1, np.int64), np.zeros(WORD_BITS, np.int64)
    for number in range(words // group):
        for slot in slots:
            first = (number * group + slot.word) * each
            for c in range(first, min(first + each, channels)):
                at = (c % 4 * _OCTET + c % each // 4 * 2 + slot.odd if octet else c % each) + slot.up
                channel[number, at], part[at] = c, slot.part
    return Lanes(bits, words // group, group, parts, columns, slots, channel, part)


def _power(size: int) -> int:
    return min(1 << (size - 1).bit_length(), WORD_BITS)


def _mask(step: int, octet: bool) -> int:
    return ((1 << step) - 1) * 0x01010101 if octet else (1 << step) - 1


def planes(values: np.ndarray, count: int) -> np.ndarray:
    """Bits of lanes' values: uint32 [..., count] of [..., 32]."""
    bits = values[..., None, :] >> np.arange(count)[:, None] & 1
    return (bits << np.arange(WORD_BITS)).sum(axis=-1).astype(np.uint32)


@dataclass(frozen=True, eq=False)
class Products:
    """Weights as planes.

    Attributes:
        words: uint32 [groups, taps, each].
        sign: whether there are signs, first of each tap.
        masks: of each bit of a magnitude: whether it is in no weight (""), in "all", or in "some", which have a plane.
        most: int64 [filters]: the largest sum.
        moved: int64 [filters]: what is added to the sum of |w| q' for that of w q.
    """

    words: np.ndarray
    sign: bool
    masks: tuple[str, ...]
    most: np.ndarray
    moved: np.ndarray


def products_of(weights: np.ndarray, lanes: Lanes) -> Products:
    """
    Args:
        weights: int64 [filters, taps].
    """
    top = 2**lanes.bits - 1
    # Unused lanes have weights of the first channel, and thresholds that are never reached.
    of_lane = weights[np.maximum(lanes.channel, 0)].swapaxes(1, 2)
    sizes, negative = np.abs(of_lane), of_lane < 0
    count = int(sizes.max()).bit_length()
    bits = [sizes >> bit & 1 for bit in range(count)]
    masks = tuple("all" if found.all() else "some" if found.any() else "" for found in bits)
    chosen = [negative.astype(np.int64)] if negative.any() else []
    chosen += [found for found, kind in zip(bits, masks, strict=True) if kind == "some"]
    words = (
        np.stack([planes(found, 1)[..., 0] for found in chosen], axis=-1) if chosen else np.zeros((len(of_lane), 0, 0))
    )
    size = np.abs(weights)
    return Products(
        words.astype(np.uint32),
        bool(negative.any()),
        masks,
        top * size.sum(axis=1),
        -top * np.where(weights < 0, size, 0).sum(axis=1),
    )


class Step(NamedTuple):
    """An operation on planes.

    Attributes:
        kind: "x" (`a` is the plane of a tap, `b` the word of its sign or -1), "and" (of `a` and word `b`), "full" and
            "half" (adds `a`, and `b`, to `to`; the carry is `name`), or "last" (adds `a` to `to`, without a carry).
    """

    kind: str
    name: str
    to: str = ""
    a: str | int = ""
    b: str | int = ""


def sum_steps(products: Products, taps: int, bits: int) -> tuple[list[Step], list[str]]:
    """Steps that add all products, and the names of the sum's planes, lowest first; "" for one that is 0."""
    count = int(products.most.max()).bit_length()
    each = products.words.shape[-1]
    steps: list[Step] = []
    waiting: list[list[str]] = [[] for _ in range(count)]

    def carry(kind: str, at: int, *operands: str) -> None:
        if at + 1 == count:
            steps.extend(Step("last", "", waiting[at][0], one) for one in operands)
            return
        name = f"c{len(steps)}"
        steps.append(Step(kind, name, waiting[at][0], *operands))
        add(name, at + 1)

    def add(name: str, at: int) -> None:
        waiting[at].append(name)
        if len(waiting[at]) == 3:
            second, third = waiting[at][1:]
            del waiting[at][1:]
            carry("full", at, second, third)

    for tap in range(taps):
        for plane in range(bits):
            x = f"x{tap}_{plane}"
            steps.append(Step("x", x, "", tap * bits + plane, tap * each if products.sign else -1))
            word = tap * each + products.sign
            for bit, kind in enumerate(products.masks):
                if kind == "some":
                    name = f"p{tap}_{plane}_{bit}"
                    steps.append(Step("and", name, "", x, word))
                    word += 1
                    add(name, plane + bit)
            for bit, kind in enumerate(products.masks):
                if kind == "all":
                    # It is added to in place, so that others have used it by now.
                    copied = "all" in products.masks[bit + 1 :]
                    name = f"p{tap}_{plane}_{bit}" if copied else x
                    if copied:
                        steps.append(Step("copy", name, "", x))
                    add(name, plane + bit)
    for at in range(count):
        if len(waiting[at]) == 2:
            carry("half", at, waiting[at].pop())
    return steps, [found[0] if found else "" for found in waiting]


@dataclass(frozen=True, eq=False)
class Steps:
    """Thresholds of sums as planes.

    Attributes:
        words: uint32 [groups, areas, words of an area].
        count: planes of a threshold.
        rows, columns: uint16: word of the area of each row of outputs, and what each column of a part adds to it; empty
            if all have the same thresholds.
    """

    words: np.ndarray
    count: int
    rows: np.ndarray
    columns: np.ndarray


def thresholds_of(
    rising: Epilogue,
    products: Products,
    lanes: Lanes,
    weights: np.ndarray,
    geometry: tuple[Axis, Axis],
    line: tuple[int, int],
) -> Steps:
    """
    Args:
        rising: the epilogue of sums.
        weights: int64 [filters, KH, KW].
        line: unit and offset of codes' integers; taps outside the input have code 0, and count as integer 0.
    """
    unit, offset = line
    rows, columns = geometry
    total = weights.reshape(len(weights), -1).sum(axis=1)
    start = unit * products.moved + offset * total
    kinds_of_rows, of_rows = _kinds([[_inside(rows, y)] for y in range(rows.output)], offset)
    each = [[_inside(columns, x + part * lanes.columns) for part in range(lanes.parts)] for x in range(lanes.columns)]
    kinds_of_columns, of_columns = _kinds(each, offset)
    count, found = int(products.most.max() + 1).bit_length(), []
    for of_row in kinds_of_rows:
        for of_parts in kinds_of_columns:
            lane = np.full((lanes.groups, WORD_BITS, 2**lanes.bits - 1), 2**count - 1, np.int64)
            for part, inside in enumerate(of_parts):
                there = np.outer(of_row[0], inside)
                lost = 0 if not offset else offset * (weights * ~there).sum(axis=(1, 2))
                at = _thresholds(rising, start - lost, unit, products.most, 2**lanes.bits - 1, 2**count - 1)
                used = (lanes.channel >= 0) & (lanes.part == part)
                lane[used] = at[lanes.channel[used]]
            found.append(_words(lane, count))
    words = np.stack(found, axis=1)
    if len(found) == 1:
        return Steps(words, count, np.zeros(0, np.uint16), np.zeros(0, np.uint16))
    size = words.shape[2]
    return Steps(
        words, count, (of_rows * len(kinds_of_columns) * size).astype(np.uint16), (of_columns * size).astype(np.uint16)
    )


def _words(thresholds: np.ndarray, count: int) -> np.ndarray:
    """Planes of what is compared with, complements: of one threshold; or of the middle one of three, and in turn of the
    lowest and of its difference from the highest.
    """
    below = planes(~thresholds.swapaxes(1, 2), count)
    if below.shape[1] == 1:
        return below[:, 0]
    both = np.stack([below[:, 0], below[:, 0] ^ below[:, 2]], axis=-1)
    return np.concatenate([below[:, 1], both.reshape(len(below), -1)], axis=1)


def _thresholds(rising: Epilogue, start: np.ndarray, unit: int, most: np.ndarray, codes: int, never: int) -> np.ndarray:
    """Least sums with each code but 0: int64 [filters, codes]; `never` for those that are not reached."""
    sums = np.arange(int(most.max()) + 1)[:, None]
    found = np.where(sums > most, codes, rising.apply(start + unit * sums))
    least = np.stack([(found < code).sum(axis=0) for code in range(1, codes + 1)], axis=-1)
    return np.where(least > most[:, None], never, least)


def _inside(axis: Axis, output: int) -> tuple[bool, ...]:
    first = output * axis.stride - axis.before
    return tuple(0 <= first + tap * axis.dilation < axis.input for tap in range(axis.kernel))


def _kinds(places: list[list[tuple[bool, ...]]], offset: int) -> tuple[list[list[tuple[bool, ...]]], np.ndarray]:
    """Distinct kinds of places, and that of each; one if taps outside need no correction."""
    if not offset:
        return [places[0]], np.zeros(len(places), np.int64)
    kinds = list(dict.fromkeys(tuple(place) for place in places))
    return [list(kind) for kind in kinds], np.array([kinds.index(tuple(place)) for place in places])
