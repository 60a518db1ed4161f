"""Inner loops over the live parts of sparse convolutions: which words of activations each unit of weights is multiplied
with, and in what order.

A unit is a set of weights that is pruned as a whole: the kernel of one input channel, or a few neighbouring channels of
a 1x1 window. Its weights are pairs of int16, each multiplied with a word of activations; the activations of some pixels
are loaded once for all weights that use them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

_REGISTERS = 14
"""Of a core, for all that an inner loop holds."""
_GROUP = 3
"""Weights of one row that are in registers at once."""
_AHEAD = 3
"""Products between a load and its first use, on cores that issue two instructions at once."""


@dataclass(frozen=True)
class Product:
    """One multiply-accumulate: weight word `weight` times the word at `offset`, added to the sum of `pixel`.

    Attributes:
        kind: "" for both halves, "BB" and "BT" for the weight's lower half times the lower and the upper half.
    """

    weight: int
    offset: int
    pixel: int
    kind: str = ""


@dataclass(frozen=True, order=True)
class _Load:
    """A load of a register: its text, first use and where the register becomes free."""

    text: str
    first: int
    free: int
    activations: bool
    register: str


@dataclass(frozen=True)
class Loop:
    """The code of one unit for some pixels at once.

    Attributes:
        before, body: lines of C, ahead of the loop and in it.
        names: of weights and words of activations in registers.
        record: words that the loop reads per unit: the offset to its activations, and its weights.
        products, loads: per unit.
    """

    before: tuple[str, ...]
    body: tuple[str, ...]
    names: tuple[str, ...]
    record: int
    products: int
    loads: int


def products(rows: Sequence[Sequence[int]], pixels: int, step: int, *, halves: bool = False) -> list[list[Product]]:
    """Products in the order of execution, in groups whose weights fit the registers.

    Args:
        rows: words from a pixel's first to each that its unit takes, row by row.
        pixels: at once.
        step: words from one pixel to the next.
        halves: a word holds two pixels, and weights are single.
    """
    found = []
    first = 0
    for row in rows:
        for start in range(0, len(row), _GROUP):
            part = row[start : start + _GROUP]
            group = []
            for number, word in enumerate(part):
                for pixel in range(pixels):
                    at = word + (pixel // 2 if halves else pixel) * step
                    kind = ("BB", "BT")[pixel % 2] if halves else ""
                    group.append(Product(first + start + number, at, pixel, kind))
            found.append(sorted(group, key=lambda p: (p.offset, p.weight, p.pixel)))
        first += len(row)
    return found


def registers(groups: Sequence[Sequence[Product]], dual: bool) -> int:
    """How many of `_REGISTERS` the loop needs."""
    sums, weights = _counts(groups)
    return sums + weights + (_dual_words(groups) + 3 if dual else 2 + 2)


def fits(groups: Sequence[Sequence[Product]], dual: bool) -> bool:
    """Whether the loop's values fit the registers."""
    return registers(groups, dual) <= _REGISTERS


def loop(groups: Sequence[Sequence[Product]], *, dual: bool) -> Loop:
    """The loop for cores that issue two instructions at once, or one."""
    return _dual(groups) if dual else _single(groups)


def _counts(groups: Sequence[Sequence[Product]]) -> tuple[int, int]:
    sums = 1 + max(p.pixel for group in groups for p in group)
    return sums, max(len({p.weight for p in group}) for group in groups)


def _positions(groups: Sequence[Sequence[Product]]) -> list[tuple[int, int, list[Product]]]:
    """(group, offset, products) in order."""
    return [
        (number, offset, list(part))
        for number, group in enumerate(groups)
        for offset, part in groupby(group, key=lambda p: p.offset)
    ]


def _dual_words(groups: Sequence[Sequence[Product]]) -> int:
    """Two registers, and a third if an odd number of words would end in the register that the next unit begins with."""
    return 2 + len(_positions(groups)) % 2


def _mac(product: Product, weight: str, word: str) -> str:
    return f"TG_MAC{'_' + product.kind if product.kind else ''}(a{product.pixel}, {weight}, {word});"


def _single(groups: Sequence[Sequence[Product]]) -> Loop:
    """Consecutive loads, which take one cycle each except the first."""
    sums, weights = _counts(groups)
    words = max(min(4, _REGISTERS - 1 - sums - weights - 2), 1)
    body = ["TG_LOAD(d, r, 0);"]
    loads = 1
    moved = False
    used: set[str] = set()
    for group in groups:
        own = sorted({p.weight for p in group})
        names = {weight: f"w{i}" for i, weight in enumerate(own)}
        used.update(names.values())
        body += [f"TG_LOAD({names[weight]}, r, {1 + weight});" for weight in own]
        if not moved:
            body.append("x += d;")
            moved = True
        positions = [(offset, list(part)) for offset, part in groupby(group, key=lambda p: p.offset)]
        loads += len(own) + len(positions)
        for start in range(0, len(positions), words):
            batch = positions[start : start + words]
            used.update(f"x{i}" for i in range(len(batch)))
            body += [f"TG_LOAD(x{i}, x, {offset});" for i, (offset, _) in enumerate(batch)]
            body += [_mac(p, names[p.weight], f"x{i}") for i, (_, part) in enumerate(batch) for p in part]
    record = 2 + max(p.weight for group in groups for p in group)
    body += [f"TG_ADVANCE(r, {record});", "TG_RECALL(d, last);"]
    count = sum(map(len, groups))
    return Loop((), tuple(body), tuple(sorted(used)), record, count, loads)


def _dual(groups: Sequence[Sequence[Product]]) -> Loop:
    """Loads between products, those of the next unit before this one ends."""
    positions = _positions(groups)
    words = _dual_words(groups)
    record = 2 + max(p.weight for group in groups for p in group)
    order: list[str] = []
    uses: dict[tuple[str, int], list[int]] = {}
    for number, (group, _, part) in enumerate(positions):
        word = _word_register(number, words)
        first = min(p.weight for p in groups[group])
        for p in part:
            uses.setdefault(("x", number), []).append(len(order))
            uses.setdefault(("w", p.weight), []).append(len(order))
            order.append(_mac(p, f"w{p.weight - first}", word))
    total = len(order)
    loads: list[_Load] = []
    for (kind, number), at in uses.items():
        if kind == "x":
            name = _word_register(number, words)
            same = [i for i in range(len(positions)) if _word_register(i, words) == name]
            text = f"TG_LOAD({name}, x, {positions[number][1]});"
        else:
            name = _weight_register(groups, number)
            same = [w for k, w in uses if k == "w" and _weight_register(groups, w) == name]
            # What is loaded for the next unit comes behind the step to its record.
            text = f"TG_LOAD({name}, r, {1 + number});"
        place = same.index(number)
        before = same[place - 1]
        free = uses[kind, before][-1] + 1 - (total if place == 0 else 0)
        loads.append(_Load(text, at[0], free, kind == "x", name))
    return _placed(order, loads, record)


def _word_register(number: int, words: int) -> str:
    if words == 2:
        return f"x{number % 2}"
    return "x2" if number == 0 else f"x{(number - 1) % 2}"


def _weight_register(groups: Sequence[Sequence[Product]], weight: int) -> str:
    first = next(min(p.weight for p in group) for group in groups if any(p.weight == weight for p in group))
    return f"w{weight - first}"


def _placed(order: Sequence[str], loads: Sequence[_Load], record: int) -> Loop:
    """Every load goes between two products, early enough and not before its register is free."""
    total = len(order)
    slots: dict[int, list[_Load]] = {}
    for load in sorted(loads, key=lambda one: one.first):
        wanted = max(load.free, load.first - _AHEAD)
        wanted = max(wanted, -total + 1)
        free = [s for s in range(wanted, load.first) if not slots.get(s % total)]
        slots.setdefault(free[0] if free else wanted, []).append(load)
    # What this unit still reads comes before the way to the next one's activations, and to its record.
    own = [(slot, load) for slot, some in slots.items() if slot >= 0 for load in some]
    move = max((slot for slot, load in own if load.activations), default=0)
    step = max((slot for slot, _ in own), default=move)
    early = sorted(
        (max(slot + total, move if load.activations else step), load.first, load)
        for slot, some in slots.items()
        if slot < 0
        for load in some
    )
    body: list[str] = []
    for index, text in enumerate(order):
        here = slots.get(index, [])
        body += [load.text for load in here]
        if index == max(move - 2, 0):
            body.append(f"TG_LOAD(d, r, {record});")
        if index == move:
            body.append("x += d;")
        if index == step:
            body += [f"TG_ADVANCE(r, {record});", "TG_RECALL(d, last);"]
        body += [load.text for slot, _, load in early if slot == index]
        body.append(text)
    before = ["TG_LOAD(d, r, 0);", "x += d;", *(load.text for _, _, load in early)]
    names = sorted({load.register for load in loads})
    return Loop(tuple(before), tuple(body), tuple(names), record, total, len(loads) + 1)
