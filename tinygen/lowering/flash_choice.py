"""Chooses a kernel for each layer within a limit of flash: the Pareto frontier of bytes and cycles.

Layers share code and constants, so the bytes of a kernel depend on the other layers' kernels. Choices are found by
Lagrange relaxation (H. Everett, "Generalized Lagrange multiplier method", Operations Research 11, 1963): for a given
price per byte, layers in turn take the kernel of least total cost until none changes. Then single layers are changed.
The search does not use the limit, so a larger limit never gives a slower choice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tinygen.ir.ops.base import Node
from tinygen.lowering.select import alternatives, flash_of

_FASTEST = 2
"""Kernels of a layer that are measured: so many, the lightest, the slowest, which is short, and those of families."""
_PRICES = 64
_ROUNDS = 8
"""In which layers take turns at one price."""
_WIDTH = 256
"""Points from which single layers are changed."""
_PASSES = 3
_NEAR = 64
"""Bytes that two firmwares may differ beside their parts, by which helpers are in line and where literals lie."""


@dataclass(frozen=True)
class Option:
    """A kernel for a layer.

    Attributes:
        kernel: its name.
        cycles: of one inference of the layer.
        parts: bytes of flash of its functions and constants, by key; equal keys are stored once.
    """

    kernel: str
    cycles: int
    parts: Mapping[Hashable, int]


@dataclass(frozen=True)
class Point:
    """A choice for all layers.

    Attributes:
        chosen: the option of each layer.
        flash_bytes: of all parts.
        cycles: of all layers together; of branches, the slowest.
    """

    chosen: tuple[int, ...]
    flash_bytes: int
    cycles: int


@dataclass(frozen=True)
class Shortlist:
    """The kernels of a layer that are worth measuring.

    Attributes:
        kernels: names, the fastest first.
        compact, default: indices of the kernels that family "compact" and the family asked for would choose.
    """

    kernels: tuple[str, ...]
    compact: int
    default: int


def shortlist(node: Node, family: str, isa: Collection[str], *, coded: bool) -> Shortlist:
    """
    Args:
        coded: those that have their weights as code, too.
    """
    every = alternatives(node, family, isa, coded=coded)
    found, (default, _, compact) = every.choices, every.usual
    wanted = [*found[:_FASTEST], min(found, key=flash_of), found[-1], *every.usual]
    kept = [choice for choice in found if any(choice is one for one in wanted)]
    return Shortlist(tuple(choice.kernel.name for choice in kept), kept.index(compact), kept.index(default))


Way = tuple[tuple[Hashable, int], ...]
"""The branches that a layer lies in, from the outermost: which operator chooses, and the branch's number."""


def cycles_at_worst(ways: Sequence[Way], cycles: Sequence[int]) -> int:
    """Cycles of an inference that takes the slowest branch everywhere.

    Args:
        ways, cycles: of each layer.
    """
    sums: dict[Way, int] = {}
    for way, count in zip(ways, cycles, strict=True):
        sums[way] = sums.get(way, 0) + count
    for depth in range(max(map(len, ways), default=0), 0, -1):
        slowest: dict[tuple[Way, Hashable], int] = {}
        for way, total in sums.items():
            if len(way) == depth:
                key = way[:-1], way[-1][0]
                slowest[key] = max(slowest.get(key, 0), total)
        for (outer, _), total in slowest.items():
            sums[outer] = sums.get(outer, 0) + total
    return sums.get((), 0)


def frontier(
    layers: Sequence[Sequence[Option]], starts: Iterable[Sequence[int]] = (), ways: Sequence[Way] = ()
) -> list[Point]:
    """Pareto-optimal choices in bytes and cycles, the smallest first.

    Args:
        ways: options of each layer; of layers in branches, the slowest branch counts.
        starts: choices to start from, besides the smallest and the fastest options. The search does not find choices
            that pay only if several layers change together, such as constants shared by switches, unless it starts
            there.
    """
    search = _Search(layers, ways if any(ways) else ())
    points = _pareto(search.priced(starts))
    for _ in range(_PASSES):
        more = _pareto([*points, *search.changed(_spread(points))])
        if more == points:
            break
        points = more
    return points


class _Search:
    """The search over choices of options."""

    def __init__(self, layers: Sequence[Sequence[Option]], ways: Sequence[Way]) -> None:
        self.layers, self.ways = layers, ways

    def point(self, chosen: Sequence[int]) -> Point:
        options = [layer[index] for layer, index in zip(self.layers, chosen, strict=True)]
        parts = {key: size for option in options for key, size in option.parts.items()}
        return Point(tuple(chosen), sum(parts.values()), self._cycles(options))

    def _cycles(self, options: Sequence[Option]) -> int:
        cycles = [option.cycles for option in options]
        return cycles_at_worst(self.ways, cycles) if self.ways else sum(cycles)

    def priced(self, starts: Iterable[Sequence[int]]) -> Iterator[Point]:
        """The best choices for several prices per byte, the highest first, starting with the fastest options.

        Counts all branches as if they ran, so that equally slow branches get faster together.
        """
        sizes = [[sum(option.parts.values()) for option in layer] for layer in self.layers]
        smallest = [min(range(len(row)), key=row.__getitem__) for row in sizes]
        fastest = [min(range(len(layer)), key=lambda i, one=layer: one[i].cycles) for layer in self.layers]  # type: ignore[misc]
        highest = max((option.cycles for layer in self.layers for option in layer), default=1) + 1.0
        prices = [highest * 10 ** (-8 * step / _PRICES) for step in range(_PRICES)]
        for start, order in ((smallest, prices), (fastest, prices[::-1]), *((start, prices) for start in starts)):
            yield self.point(start)
            chosen = list(start)
            for price in order:
                self._settle(chosen, price)
                yield self.point(chosen)

    def _settle(self, chosen: list[int], price: float) -> None:
        """Layers choose in turn until none changes."""
        uses = _uses(self._options(chosen))
        for _ in range(_ROUNDS):
            changed = False
            for index, layer in enumerate(self.layers):
                _drop(uses, layer[chosen[index]])
                best = min(
                    range(len(layer)),
                    key=lambda i, one=layer: one[i].cycles + price * _added(uses, one[i]),  # type: ignore[misc]
                )
                changed |= best != chosen[index]
                chosen[index] = best
                _take(uses, layer[best])
            if not changed:
                return

    def changed(self, points: Iterable[Point]) -> Iterator[Point]:
        """Every choice that differs from one of the points in a single layer."""
        for point in points:
            uses = _uses(self._options(point.chosen))
            for index, layer in enumerate(self.layers):
                now = layer[point.chosen[index]]
                _drop(uses, now)
                freed = _added(uses, now)
                for other, option in enumerate(layer):
                    if option is not now:
                        chosen = (*point.chosen[:index], other, *point.chosen[index + 1 :])
                        size = point.flash_bytes - freed + _added(uses, option)
                        cycles = (
                            self._cycles(self._options(chosen))
                            if self.ways
                            else point.cycles - now.cycles + option.cycles
                        )
                        yield Point(chosen, size, cycles)
                _take(uses, now)

    def _options(self, chosen: Sequence[int]) -> list[Option]:
        return [layer[index] for layer, index in zip(self.layers, chosen, strict=True)]


def _uses(options: Iterable[Option]) -> dict[Hashable, int]:
    """How many layers use each part."""
    uses: dict[Hashable, int] = {}
    for option in options:
        _take(uses, option)
    return uses


def _take(uses: dict[Hashable, int], option: Option) -> None:
    for key in option.parts:
        uses[key] = uses.get(key, 0) + 1


def _drop(uses: dict[Hashable, int], option: Option) -> None:
    for key in option.parts:
        uses[key] -= 1


def _added(uses: Mapping[Hashable, int], option: Option) -> int:
    """Bytes of the parts that no other layer uses."""
    return sum(size for key, size in option.parts.items() if not uses.get(key))


def _pareto(points: Iterable[Point]) -> list[Point]:
    found: list[Point] = []
    for point in sorted(points, key=lambda one: (one.flash_bytes, one.cycles, one.chosen)):
        if not found or point.cycles < found[-1].cycles:
            found.append(point)
    return found


def _spread(points: Sequence[Point]) -> Sequence[Point]:
    """All points, or `count` of them evenly spread."""
    return points[:: -(-len(points) // _WIDTH)] if points else points


def fastest_within(points: Sequence[Point], limit: int) -> int:
    """The index of the last point of a frontier within the limit; -1 if there is none."""
    return max((index for index, point in enumerate(points) if point.flash_bytes <= limit), default=-1)


Measure = Callable[[int], int | None]
"""Bytes of the firmware of the point of that index, as linked; None where it cannot be."""


def fitting(points: Sequence[Point], limit: int, measure: Measure, links: int) -> tuple[int, dict[int, int]]:
    """The fastest point whose firmware is within the limit.

    A firmware's size is estimated from its parts plus the overhead of the firmware linked last. Between the largest
    point known to fit and the smallest known not to fit, the last one that is expected to fit is linked next.

    Args:
        limit: bytes.
        links: firmwares that may be linked before the smallest is tried.

    Returns:
        Its index, -1 if none was found; and the bytes of all linked firmwares.
    """
    made: dict[int, int] = {}
    low, high, rest = -1, len(points), 0
    while high - low > 1 and len(made) < links:
        guess = fastest_within(points[:high], limit - rest)
        if guess <= low:
            if low >= 0 and points[low + 1].flash_bytes > limit - rest + _NEAR:
                break
            guess = low + 1
        size = measure(guess)
        if size is not None:
            made[guess] = size
            rest = size - points[guess].flash_bytes
        low, high = (guess, high) if size is not None and size <= limit else (low, guess)
    if low < 0 < high:
        size = measure(0)
        made |= {} if size is None else {0: size}
        low = 0 if size is not None and size <= limit else -1
    return low, made
