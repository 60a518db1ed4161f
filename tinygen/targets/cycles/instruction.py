"""The facts about an instruction that pipeline models need, independent of its encoding."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

FLAGS, GE_FLAGS = "flags", "ge"


class Kind(Enum):
    """The unit an instruction occupies."""

    NOP = auto()
    ALU = auto()  # add, logic, move, compare, with a register or a plain constant
    SHIFT = auto()  # a shift by itself
    SHIFTED = auto()  # an operation whose second operand goes through the shifter
    BITS = auto()  # SIMD without multiplication, extension, bit fields, saturation
    MAC = auto()
    LONG_MAC = auto()  # 32 x 32 to 64 bits
    DIVIDE = auto()
    LOAD = auto()
    STORE = auto()
    LOAD_MULTIPLE = auto()
    STORE_MULTIPLE = auto()
    BRANCH = auto()
    TABLE_BRANCH = auto()
    IT = auto()
    BARRIER = auto()
    FLOAT = auto()  # add, multiply, convert, compare
    FLOAT_MAC = auto()
    FLOAT_DIVIDE = auto()
    FLOAT_MOVE = auto()  # between register files, or of the FPU's flags


LOADS = frozenset({Kind.LOAD, Kind.LOAD_MULTIPLE})
STORES = frozenset({Kind.STORE, Kind.STORE_MULTIPLE})
MACS = frozenset({Kind.MAC, Kind.LONG_MAC})
FLOATS = frozenset({Kind.FLOAT, Kind.FLOAT_MAC, Kind.FLOAT_DIVIDE, Kind.FLOAT_MOVE})
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
        address, size: where, in bytes.
        name: without condition, suffix and operands: "add".
        text: as an assembler writes it.
        kind: see `Kind`.
        reads, writes: registers, `FLAGS` and `GE_FLAGS` included; `updated_base` is not among `writes`.
        address_registers: those of `reads` that form an address.
        shifted: those that go through the inline shifter.
        accumulated: those that are added only in the last stage of a multiplier.
        stored: those whose value goes to memory.
        updated_base: the base register that pre- or post-indexing writes, "" for none.
        words: 32-bit words that a multiple load or store moves.
        access_bytes: of a single load or store; 0 otherwise.
        base, offset, index: of a load or store; the offset is that of the access itself.
        float_access: the load or store is the FPU's.
        double: in double precision.
        conditional: executes, or branches, only under a condition.
        target: of a direct branch.
        writes_pc: does not fall through to the next instruction (unless `conditional`).
        is_call: leaves a return address.
        operands: registers and immediates as written, the first is what is written.
        left_shift: of the last register among `operands`, or of `index`; None for another kind of shift.
        memory: which bus or memory a load goes to, "" when not known.
    """

    address: int
    size: int
    name: str
    text: str
    kind: Kind
    reads: frozenset[str] = _NONE
    writes: frozenset[str] = _NONE
    address_registers: frozenset[str] = _NONE
    shifted: frozenset[str] = _NONE
    accumulated: frozenset[str] = _NONE
    stored: frozenset[str] = _NONE
    updated_base: str = ""
    words: int = 0
    access_bytes: int = 0
    base: str = ""
    offset: int = 0
    index: str = ""
    float_access: bool = False
    double: bool = False
    conditional: bool = False
    target: int | None = None
    writes_pc: bool = False
    is_call: bool = False
    operands: tuple[str | int, ...] = ()
    left_shift: int | None = 0
    memory: str = ""

    @property
    def end(self) -> int:
        """Address behind it."""
        return self.address + self.size

    @property
    def all_writes(self) -> frozenset[str]:
        """`writes` and the updated base."""
        return self.writes | {self.updated_base} if self.updated_base else self.writes
