"""Forces branches, whatever the gates say: a branch operator's index is overwritten when its function begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinygen.targets.emulator.counting import Registers
from tinygen.targets.emulator.symbols import Symbols

_ARM_FIRST, _RISCV_FIRST = 0, 10
"""Registers with a function's first argument: of a branch operator, the address of its index."""


class ForcedBranches:
    """Forced branches of one emulated core.

    Args:
        uc: Unicorn's engine.
        registers: of its architecture.
        symbols: of the firmware.
    """

    def __init__(self, uc: Any, registers: Registers, symbols: Symbols) -> None:
        self._uc, self._symbols = uc, symbols
        self._first = registers.ids[_RISCV_FIRST if registers.riscv else _ARM_FIRST]
        self._codes: Mapping[int, bytes] = {}
        self._watched: set[int] = set()

    def choose(self, indices: Mapping[str, bytes]) -> None:
        """Sets the indices to force, as stored in memory, by their operator's function; others are not affected.

        A function must not have run before it is named here for the first time.
        """
        import unicorn  # an extra

        self._codes = {self._symbols.by_name[name] & ~1: codes for name, codes in indices.items()}
        for address in self._codes.keys() - self._watched:
            self._uc.hook_add(unicorn.UC_HOOK_CODE, self._entered, begin=address, end=address)
            self._watched.add(address)

    def _entered(self, uc: Any, address: int, size: int, user: Any) -> None:
        codes = self._codes.get(address)
        if codes is not None:
            uc.mem_write(uc.reg_read(self._first), codes)
