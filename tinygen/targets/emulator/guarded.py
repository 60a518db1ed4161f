"""A cost function whose exceptions are kept, as they cannot pass through C."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinygen.targets.emulator.counting import Cost
from tinygen.targets.emulator.stalls import Access, Cache, TimedCost


class GuardedCost:
    """`cost`, but an exception goes to `keep` and counts as no cycles: none can pass through the C of the emulator.

    A `TimedCost`, whether or not `cost` is one.
    """

    def __init__(self, cost: Cost, keep: Callable[[Exception], None]) -> None:
        self._cost, self._keep = cost, keep
        self._timed = cost if isinstance(cost, TimedCost) else None
        self.caches: tuple[Cache, Cache] | None = self._timed.caches if self._timed else None
        self.accesses: Sequence[Access] = ()

    def __call__(self, address: int, size: int, instructions: int) -> int:
        self.accesses = ()
        try:
            cycles = self._cost(address, size, instructions)
        except Exception as error:
            self._keep(error)
            return 0
        if self._timed is not None:
            self.accesses = self._timed.accesses
        return cycles

    def attach(self, register: Callable[[int], int]) -> None:
        """See `TimedCost`."""
        if self._timed is not None:
            self._timed.attach(register)
