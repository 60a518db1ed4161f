"""The board's memories: host buffers that the CPU emulator sees, aliases as the same bytes."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from tinygen.errors import BoardError
from tinygen.targets.board import Memory

PAGE = 0x1000
_READ, _WRITE, _EXEC = 1, 2, 4


class Memories:
    """All memories of a board, filled from the firmware's load segments.

    Args:
        uc: the Unicorn engine to map them in.
        memories: of the board.
        elf: the firmware.
        hidden: names of memories that the CPU sees only where `show` says.

    Raises:
        BoardError: a segment lies outside the memories.
    """

    def __init__(self, uc: Any, memories: Sequence[Memory], elf: Path, hidden: Collection[str] = ()) -> None:
        self._uc, self._memories = uc, tuple(memories)
        self._buffers = {memory.name: mmap.mmap(-1, -(-memory.size // PAGE) * PAGE) for memory in memories}
        for memory in memories:
            if memory.name not in hidden:
                self._map(uc, memory)
        self._load(elf)

    def _map(self, uc: Any, memory: Memory) -> None:
        buffer = self._buffers[memory.name]
        address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        protection = _READ | _EXEC | (_WRITE if memory.kind == "ram" else 0)
        for origin in (memory.origin, *memory.aliases):
            uc.mem_map_ptr(origin, len(buffer), protection, address)

    def show(self, name: str, offset: int, size: int, address: int) -> None:
        """Lets the CPU read part of a hidden memory at `address`, which must be free.

        Args:
            name: of the memory.
            offset, size: of the part, in bytes.
        """
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._buffers[name])) + offset
        self._uc.mem_map_ptr(address, size, _READ | _EXEC, start)

    def hide(self, address: int, size: int) -> None:
        """Unmaps what `show` has mapped there."""
        self._uc.mem_unmap(address, size)

    def _load(self, elf: Path) -> None:
        with elf.open("rb") as file:
            for segment in ELFFile(file).iter_segments():
                if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]:
                    try:
                        self.write(segment["p_paddr"], segment.data())
                    except BoardError as error:
                        raise BoardError(f"cannot be flashed: {error.what}", where=str(elf), fix=error.fix) from error

    def _place(self, address: int, size: int) -> tuple[mmap.mmap, int]:
        for memory in self._memories:
            for origin in (memory.origin, *memory.aliases):
                if origin <= address < origin + memory.size:
                    over = address + size - origin - memory.size
                    if over > 0:
                        raise BoardError(f"{size} bytes at {address:#010x} reach {over} beyond {memory.name}")
                    return self._buffers[memory.name], address - origin
        names = ", ".join(f"{m.name} {m.origin:#010x}-{m.end - 1:#010x}" for m in self._memories)
        raise BoardError(f"{size} bytes at {address:#010x} are outside the board's memories", fix=f"It has: {names}.")

    def read(self, address: int, size: int) -> bytes:
        """Bytes, as a debugger reads them.

        Raises:
            BoardError: they are not all in one memory.
        """
        buffer, start = self._place(address, size)
        return buffer[start : start + size]

    def write(self, address: int, data: bytes) -> None:
        """Writes bytes, flash too, as a debugger does. Code that has run must not be changed.

        Raises:
            BoardError: they are not all in one memory.
        """
        buffer, start = self._place(address, len(data))
        buffer[start : start + len(data)] = data
