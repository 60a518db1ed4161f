"""Addresses of a block's loads, as expressions of the registers at its start, so that they are known at every pass.

Within a block, copies and sums with constants are followed. A pointer that is itself loaded, multiplied or masked
in the block is not known; its loads are taken to hit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tinygen.targets.cycles.instruction import Instruction, Kind
from tinygen.targets.emulator.stalls import NO_REGISTER, Access

ARM = {f"r{n}": n for n in range(13)} | {"sb": 9, "sl": 10, "fp": 11, "ip": 12, "sp": 13, "lr": 14}
RISCV = (
    {"ra": 1, "sp": 2, "gp": 3, "tp": 4, "s0": 8, "s1": 9}
    | {f"t{n}": 5 + n if n < 3 else 25 + n for n in range(7)}
    | {f"a{n}": 10 + n for n in range(8)}
    | {f"s{n}": 16 + n for n in range(2, 12)}
)
"""Numbers of the registers, by name, as `TimedCost.attach` counts them."""
_MERGE_GAP = 32


@dataclass(frozen=True)
class Value:
    """A sum of registers at the start of the block, each times a power of two, and a constant."""

    terms: tuple[tuple[str, int], ...]  # (register, shift)
    constant: int = 0

    def plus(self, other: Value) -> Value | None:
        """The sum; None when it has too many terms to be an address."""
        terms = (*self.terms, *other.terms)
        return Value(terms, self.constant + other.constant) if len(terms) <= 2 else None

    def shifted(self, places: int) -> Value:
        """Times 2 to the `places`."""
        terms = tuple((register, shift + places) for register, shift in self.terms)
        return Value(terms, self.constant << places)

    def access(self, size: int, numbers: Mapping[str, int] = ARM) -> Access | None:
        """As an `Access`; None when two registers are shifted."""
        terms = sorted(self.terms, key=lambda term: term[1])
        plain = [r for r, shift in terms if shift == 0]
        base = plain[0] if plain else ""
        rest = [term for term in terms if term != (base, 0)] or ([(base, 0)] if len(plain) == 2 else [])
        if len(rest) > 1 or any(r not in numbers for r, _ in terms):
            return None
        index, shift = rest[0] if rest else ("", 0)
        return Access(numbers.get(base, NO_REGISTER), numbers.get(index, NO_REGISTER), shift, self.constant, size)


@dataclass
class _Tracker:
    """Registers whose values are known; one that is missing still has its value from the start."""

    known: dict[str, Value | None] = field(default_factory=lambda: {"zero": Value(())})

    def value(self, register: str) -> Value | None:
        return self.known.get(register, Value(((register, 0),)))

    def step(self, new: Instruction) -> None:
        """Follows what `new` does to the registers."""
        result = None if new.conditional else self._result(new)
        for register in new.writes:
            self.known[register] = None
        if len(new.operands) >= 1 and result is not None:
            self.known[str(new.operands[0])] = result
        if new.updated_base:
            base, step = self.value(new.updated_base), _step(new)
            self.known[new.updated_base] = base.plus(Value((), step)) if base and step is not None else None

    def _result(self, new: Instruction) -> Value | None:
        operands = new.operands
        if new.kind not in (Kind.ALU, Kind.SHIFTED, Kind.SHIFT) or new.left_shift is None or len(operands) < 2:
            return None
        values = [self.value(o) if isinstance(o, str) else Value((), o) for o in operands[1:]]
        if new.name in ("add", "addw", "addi", "slli", "sub", "subw") and len(operands) == 2:
            values.insert(0, self.value(str(operands[0])))
        if any(value is None for value in values):
            return None
        first, last = values[0], values[-1]
        assert first is not None and last is not None
        if new.name == "lui":
            return first.shifted(12)
        if new.name in ("mov", "movw", "mv", "li"):
            return first.shifted(new.left_shift) if len(values) == 1 else None
        if new.name == "movt" and not first.terms:
            low = self.value(str(operands[0]))
            return Value((), low.constant & 0xFFFF | first.constant << 16) if low and not low.terms else None
        if new.name in ("lsl", "slli") and len(values) == 2 and not last.terms:
            return first.shifted(last.constant)
        if new.name in ("add", "addw", "addi") and len(values) == 2:
            return first.plus(last.shifted(new.left_shift))
        if new.name in ("sub", "subw") and len(values) == 2 and not last.terms:
            return first.plus(Value((), -last.constant))
        return None


def _step(new: Instruction) -> int | None:
    """What pre- or post-indexing adds to the base register; None when a register says."""
    if new.kind in (Kind.LOAD_MULTIPLE, Kind.STORE_MULTIPLE) and not new.access_bytes:
        down = new.name in ("push", "vpush", "ldmdb", "stmdb", "vldmdb", "vstmdb")
        return -4 * new.words if down else 4 * new.words
    last = new.operands[-1] if new.operands else None
    if new.offset:
        return new.offset  # pre-indexed
    return last if isinstance(last, int) else None


def loads(code: Sequence[Instruction], numbers: Mapping[str, int] = ARM) -> list[Access | None]:
    """For each instruction, the access that it makes; None if it reads nothing or its address is unknown."""
    tracker = _Tracker()
    found = []
    for new in code:
        found.append(_access(tracker, new, numbers) if new.kind in (Kind.LOAD, Kind.LOAD_MULTIPLE) else None)
        tracker.step(new)
    return found


def _access(tracker: _Tracker, new: Instruction, numbers: Mapping[str, int]) -> Access | None:
    size = new.access_bytes or 4 * new.words
    if new.base == "pc":
        return None if new.index else Value((), (new.address + 4 & ~3) + new.offset).access(size)
    value = tracker.value(new.base)
    if value is not None and new.index:
        index = tracker.value(new.index)
        value = value.plus(index.shifted(new.left_shift)) if index and new.left_shift is not None else None
    if value is None:
        return None
    down = new.name in ("ldmdb", "vldmdb")
    return value.plus(Value((), new.offset - (size if down else 0))).access(size, numbers)  # type: ignore[union-attr]


def merged(accesses: Sequence[Access | None]) -> list[Access]:
    """The same bytes in fewer pieces: accesses through the same registers that lie close together become one."""
    runs: list[Access] = []
    for access in sorted({a for a in accesses if a is not None}):
        last = runs[-1] if runs else None
        if last and last[:3] == access[:3] and access.offset <= last.offset + last.size + _MERGE_GAP:
            end = max(last.offset + last.size, access.offset + access.size)
            runs[-1] = last._replace(size=end - last.offset)
        else:
            runs.append(access)
    return runs
