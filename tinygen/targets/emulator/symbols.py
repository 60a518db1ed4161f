"""Names for addresses: functions from the symbol table, file and line from DWARF."""

from __future__ import annotations

import bisect
import struct
from functools import cached_property
from pathlib import Path

from elftools.elf.elffile import ELFFile

from tinygen.errors import BoardError

_FUNCTION = 2
"""STT_FUNC, the type of a symbol."""


class Symbols:
    """Symbols and debug information of an ELF by address.

    Attributes:
        entry: its entry point.
        by_name: address of every symbol.
    """

    def __init__(self, elf: Path) -> None:
        self.path = elf
        self.by_name: dict[str, int] = {}
        functions: list[tuple[int, int, str]] = []
        with elf.open("rb") as file:
            image = ELFFile(file)
            self.entry = int(image["e_entry"])
            table = image.get_section_by_name(".symtab")
            names = image.get_section(table["sh_link"]).data() if table else b""
            # Elf32_Sym of the System V ABI. pyelftools takes a second for the symbols of thirty firmwares.
            for at, value, size, info, _, _ in struct.iter_unpack("<IIIBBH", table.data() if table else b""):
                name = names[at : names.index(b"\0", at)].decode()
                self.by_name.setdefault(name, value)
                if info & 0xF == _FUNCTION:
                    functions.append((value & ~1, size, name))
        self._functions = sorted(functions)
        self._starts = [start for start, _, _ in self._functions]

    def address(self, name: str) -> int:
        """Address of a symbol.

        Raises:
            BoardError: the ELF has none of that name.
        """
        if name not in self.by_name:
            raise BoardError(f"has no symbol '{name}'", where=str(self.path), fix="Build it with tinygen build.")
        return self.by_name[name]

    def function(self, address: int) -> str:
        """The function that contains `address`, or its number."""
        index = bisect.bisect_right(self._starts, address) - 1
        if index >= 0:
            start, size, name = self._functions[index]
            if address < start + max(size, 2):
                return name
        return f"{address:#010x}"

    @cached_property
    def _lines(self) -> list[tuple[int, str]]:
        rows = []
        with self.path.open("rb") as file:
            elf = ELFFile(file)
            if not elf.has_dwarf_info():
                return []
            dwarf = elf.get_dwarf_info()
            for unit in dwarf.iter_CUs():
                program = dwarf.line_program_for_CU(unit)
                if program is None:
                    continue
                names = program.header["file_entry"]
                first = 0 if program.header["version"] >= 5 else 1
                for entry in program.get_entries():
                    state = entry.state
                    if state is not None and 0 <= state.file - first < len(names):
                        name = names[state.file - first].name.decode("utf-8", "replace")
                        rows.append((state.address, "" if state.end_sequence else f"{name}:{state.line}"))
        return sorted(rows)

    def line(self, address: int) -> str:
        """`serve.c:120`, or "" when DWARF does not say."""
        index = bisect.bisect_right(self._lines, (address, "\uffff")) - 1
        return self._lines[index][1] if index >= 0 else ""

    def place(self, address: int) -> str:
        """`function (file:line) at 0x08001234`, for messages."""
        line = self.line(address)
        return f"{self.function(address)}{f' ({line})' if line else ''} at {address:#010x}"
