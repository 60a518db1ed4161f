"""Whether a board file agrees with its part; what only shows when the firmware runs, the emulated board checks."""

from __future__ import annotations

from tinygen.errors import BoardError
from tinygen.targets.board import Board
from tinygen.targets.parts.known import ALL, find_part, known_parts
from tinygen.targets.parts.part import Part

_ANY_ISA = {"c99", "scalar"}
_NOT_EMULATED = "none"


def check_part(board: Board) -> None:
    """Raises:
    BoardError: the part is unknown, or something in the file belongs to another one (key, what, fix).
    """
    if board.is_host:
        return
    part = find_part(board.part)
    if part is None:
        if board.emulator.engine != _NOT_EMULATED:
            raise _unknown(board)
        return
    _check_core(board, part)
    _check_memories(board, part)
    _check_start_up(board, part)
    _check_other_emulator(board, part, "qemu_machine", part.qemu_machines)
    _check_other_emulator(board, part, "labwired_chip", part.labwired_chips)
    if part.fixed_hz and board.core_hz != part.fixed_hz:
        what = f"the start-up code of {part.name} sets {part.fixed_hz} Hz, not {board.core_hz}"
        raise _error(board, "clock.sysclk_hz", what, f"Write {part.fixed_hz}.")


def _error(board: Board, key: str, what: str, fix: str) -> BoardError:
    return BoardError(what, where=f"{board.path}: {key}", fix=fix)


def _unknown(board: Board) -> BoardError:
    given = f"{board.part!r} is not a part whose limits tinygen knows" if board.part else "the key is missing"
    fix = (
        "Write `part:` and the chip's order code, at least up to its flash size. "
        f"{known_parts()} Another part needs an entry in tinygen/targets/parts/; or write `engine: {_NOT_EMULATED}` "
        "under `emulator`: `tinygen export` then writes C for its core, and nothing is checked on a board."
    )
    return _error(board, "part", given, fix)


def _check_other_emulator(board: Board, part: Part, key: str, known: tuple[str, ...]) -> None:
    name = getattr(board.emulator, key)
    if name and name not in known:
        fix = f"With it: {', '.join(known)}." if known else "Leave it out."
        raise _error(board, f"emulator.{key}", f"{name} has another part than {part.name}", fix)


def _check_core(board: Board, part: Part) -> None:
    if board.core != part.core:
        raise _error(board, "core", f"{part.name} has a {part.core}, not a {board.core}", f"Write {part.core}.")
    foreign = [name for name in board.isa if name not in _ANY_ISA and name not in part.isa]
    if foreign:
        has = ", ".join(part.isa) or "no extension"
        raise _error(board, "isa", f"{part.name} lacks {', '.join(foreign)}", f"It has: {has}.")


def _check_memories(board: Board, part: Part) -> None:
    for memory in board.memories:
        for origin in (memory.origin, *memory.aliases):
            if not any(
                area.kind == memory.kind and area.origin <= origin and origin + memory.size <= area.origin + area.size
                for area in part.areas
            ):
                what = f"{part.name} has no {memory.kind} of {memory.size:#x} bytes at {origin:#x} ({memory.name})"
                has = ", ".join(f"{a.kind} {a.origin:#x} to {a.origin + a.size - 1:#x}" for a in part.areas)
                raise _error(board, "memories", what, f"It has: {has} ({part.source}).")


def _check_start_up(board: Board, part: Part) -> None:
    given = {*board.sources, *board.include_dirs}
    foreign = sorted(given & {path for other in ALL for path in other.start_up} - set(part.start_up))
    if foreign:
        needed = ", ".join(part.start_up) or "none of its own"
        raise _error(board, "sources", f"{', '.join(foreign)} is not for {part.name}", f"It needs: {needed}.")
    missing = [path for path in part.start_up if path not in given]
    if missing and board.emulator.engine != _NOT_EMULATED:
        key = "include_dirs" if "." not in missing[0] else "sources"
        raise _error(board, key, f"{part.name} is started by {', '.join(missing)}, too", "Add it.")
