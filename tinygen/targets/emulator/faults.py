"""What went wrong on an emulated board, in words: what, where, by how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tinygen.errors import BoardError
from tinygen.targets.board import Board
from tinygen.targets.emulator.symbols import Symbols

_STACK_REACH = 64 * 1024


@dataclass(frozen=True)
class Fault:
    """An access the board has no answer to.

    Attributes:
        kind: "read", "write", "fetch", "flash write", or "exception" (then `address` is its number).
        address, size: bytes.
    """

    kind: str
    address: int
    size: int


def fault_error(
    board: Board,
    symbols: Symbols,
    pc: int,
    registers: Mapping[str, int],
    forbidden: Exception | None,
    access: Fault | None,
    failure: Exception | None,
    limited: int,
) -> BoardError:
    """The error for a machine that stopped.

    Args:
        pc: where.
        registers: sp and lr at that moment.
        forbidden: the rule a peripheral found broken.
        access: the access without an answer.
        failure: what the CPU emulator itself said.
        limited: instructions executed, when the budget ran out.
    """
    where = f"{board.name}: {symbols.place(pc)}"
    context = f"sp {registers['sp']:#010x}, called from {symbols.place(registers['lr'] & ~1)}"
    if forbidden is not None:
        return BoardError(f"the board forbids this: {forbidden}", where=where, fix=f"({context})")
    if limited:
        return BoardError(f"still running after {limited:,} instructions", where=where, fix=f"({context})")
    if access is not None and access.kind != "exception":
        overflow = _stack_overflow(symbols, registers["sp"], access.address)
        if overflow:
            bottom, top = symbols.address("__stack_bottom"), symbols.address("__stack_top")
            return BoardError(
                f"stack overflow by at least {overflow} bytes: the stack has {top - bottom}, "
                f"from {bottom:#010x} to {top:#010x}; {access.kind} at {access.address:#010x}",
                where=where,
                fix=f"Build with a larger --stack ({context}).",
            )
        return BoardError(_describe(board, access), where=where, fix=f"({context})")
    reason = f"exception {access.address}" if access is not None else str(failure)
    return BoardError(f"the core cannot execute this instruction ({reason})", where=where, fix=f"({context})")


def _stack_overflow(symbols: Symbols, sp: int, address: int) -> int:
    """By how many bytes the stack is overrun; 0 when it is not."""
    bottom = symbols.by_name.get("__stack_bottom", 0)
    lowest = min(sp, address)
    near = bottom - _STACK_REACH <= address < bottom and abs(address - sp) <= _STACK_REACH
    return bottom - lowest if near else 0


def _describe(board: Board, access: Fault) -> str:
    """`write of 4 bytes to 0x20050000, 4 bytes beyond the end of SRAM2`."""
    address = access.address
    if access.kind == "flash write":
        inside = [m.name for m in board.memories for o in (m.origin, *m.aliases) if o <= address < o + m.size]
        return f"write to {inside[0] if inside else 'flash'} at {address:#010x}, which is read-only"
    nearest, distance, side = "", 1 << 62, ""
    for memory in board.memories:
        for origin in (memory.origin, *memory.aliases):
            below, above = origin - address, address - (origin + memory.size) + 1
            if 0 < below < distance:
                nearest, distance, side = memory.name, below, "before the start of"
            if 0 < above < distance:
                nearest, distance, side = memory.name, above, "beyond the end of"
    place = f"{distance} bytes {side} {nearest}" if distance < 1 << 24 else "where the board has nothing"
    return f"{access.kind} of {access.size} bytes at {address:#010x}, {place}"
