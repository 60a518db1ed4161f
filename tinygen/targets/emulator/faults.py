"""Error messages for faults of an emulated board: what, where, by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinygen.errors import BoardError
from tinygen.targets.board import Memory
from tinygen.targets.emulator.counting import (
    ILLEGAL_ATOMIC,
    ILLEGAL_DOUBLE,
    ILLEGAL_FLOAT,
    ILLEGAL_FPU_OFF,
    ILLEGAL_UNALIGNED,
)
from tinygen.targets.emulator.symbols import Symbols

_STACK_REACH = 64 * 1024
_ILLEGAL = {
    ILLEGAL_FPU_OFF: "a floating-point instruction, but CPACR does not enable the FPU (DDI 0403 B3.2.20)",
    ILLEGAL_DOUBLE: "a double-precision instruction, but the core's FPU has single precision only",
    ILLEGAL_FLOAT: "a floating-point instruction, but the core has no FPU",
    ILLEGAL_ATOMIC: "an atomic operation, but the core lacks RISC-V's A extension",
}


@dataclass(frozen=True)
class Fault:
    """An access to which no memory or peripheral of the board responds.

    Attributes:
        kind: "read", "write", "fetch" or "flash write".
        address, size: bytes.
    """

    kind: str
    address: int
    size: int


@dataclass(frozen=True)
class Stop:
    """Everything known about a machine that stopped.

    Attributes:
        pc: of the instruction that could not be executed.
        registers: of the core, by name; sp is among them.
        link: the one with the return address.
        forbidden: the rule a peripheral found broken.
        access: the access without an answer.
        exception: what the core would take, in words.
        illegal, illegal_address: what the counter found: ILLEGAL_*, and the address accessed.
        failure: the CPU emulator's own error message.
        limit: the exhausted limit, e.g. "2,000,000 instructions in one call".
    """

    pc: int
    registers: Mapping[str, int]
    link: str = "lr"
    forbidden: Exception | None = None
    access: Fault | None = None
    exception: str = ""
    illegal: int = 0
    illegal_address: int = 0
    failure: Exception | None = None
    limit: str = ""


def fault_error(name: str, memories: Sequence[Memory], symbols: Symbols, stop: Stop) -> BoardError:
    """The error for a machine that stopped.

    Args:
        name: of the board.
        memories: its memory map.
        symbols: of the firmware.
    """
    where = f"{name}: {symbols.place(stop.pc)}"
    what, advice = _what(memories, symbols, stop)
    return BoardError(what, where=where, fix=f"{advice}{_context(symbols, stop)}")


def _what(memories: Sequence[Memory], symbols: Symbols, stop: Stop) -> tuple[str, str]:
    """The problem, and advice (with a trailing space, or "")."""
    sp = stop.registers["sp"]
    if stop.forbidden is not None:
        return f"the board forbids this: {stop.forbidden}", ""
    if stop.limit:
        return f"still running after {stop.limit}: an endless loop?", ""
    if stop.illegal == ILLEGAL_UNALIGNED:
        return (
            f"unaligned access through {stop.illegal_address:#010x}: this instruction needs a multiple of 4 "
            "(DDI 0403 A3.2.1)",
            "",
        )
    if stop.illegal:
        return f"the core cannot execute this instruction: {_ILLEGAL[stop.illegal]}", ""
    if overflow := stack_overflow(symbols, sp, stop.access.address if stop.access else sp):
        bottom, top = symbols.by_name["__stack_bottom"], symbols.by_name["__stack_top"]
        access = f"; {stop.access.kind} at {stop.access.address:#010x}" if stop.access else ""
        what = f"stack overflow by at least {overflow} bytes: the stack has {top - bottom}, from {bottom:#010x} "
        return f"{what}to {top:#010x}{access}", "Build with a larger --stack. "
    if stop.access is not None:
        return describe_access(memories, stop.access), ""
    return f"the core cannot execute this instruction ({stop.exception or stop.failure})", ""


def _context(symbols: Symbols, stop: Stop) -> str:
    values = " ".join(f"{name}={value:#x}" for name, value in stop.registers.items())
    return f"(called from {symbols.place(stop.registers[stop.link] & ~1)}; {values})"


def stack_overflow(symbols: Symbols, sp: int, address: int) -> int:
    """Number of bytes by which the stack overflowed; 0 if it did not."""
    bottom = symbols.by_name.get("__stack_bottom", 0)
    lowest = min(sp, address)
    near = bottom - _STACK_REACH <= address < bottom and abs(address - sp) <= _STACK_REACH
    return bottom - lowest if near or bottom - _STACK_REACH <= sp < bottom else 0


def describe_access(memories: Sequence[Memory], access: Fault) -> str:
    """`write of 4 bytes at 0x20050000, just beyond the end of SRAM2 (0x2004c000-0x2004ffff)`."""
    address = access.address
    spans = [(m, origin) for m in memories for origin in (m.origin, *m.aliases)]
    inside = [m.name for m, origin in spans if origin <= address < origin + m.size]
    if access.kind == "flash write":
        return f"write to {inside[0] if inside else 'flash'} at {address:#010x}, which is read-only"
    head = f"{access.kind} of {access.size} bytes at {address:#010x}"
    if inside:
        return f"{head}, across the end of {inside[0]}"
    best: tuple[int, str] | None = None
    for memory, origin in spans:
        span = f"{memory.name} ({origin:#010x}-{origin + memory.size - 1:#010x})"
        before, beyond = origin - address, address - (origin + memory.size)
        if before > 0 and (best is None or before < best[0]):
            best = before, f"{before} bytes before the start of {span}"
        if beyond >= 0 and (best is None or beyond < best[0]):
            best = beyond, f"{f'{beyond} bytes' if beyond else 'just'} beyond the end of {span}"
    if best is None or best[0] >= 1 << 24:
        return f"{head}, where the board has nothing"
    return f"{head}, {best[1]}"
