"""Code bytes of an ELF by address, without an emulator."""

from __future__ import annotations

from pathlib import Path

from elftools.elf.elffile import ELFFile

from tinygen.errors import BoardError


class ElfCode:
    """The loaded bytes of an ELF, at the addresses where they are when it runs."""

    def __init__(self, elf: Path) -> None:
        self.elf = elf
        with elf.open("rb") as file:
            segments = [s for s in ELFFile(file).iter_segments() if s["p_type"] == "PT_LOAD" and s["p_filesz"]]
            self._segments = [(int(s["p_vaddr"]), s.data()) for s in segments]

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes at `address`.

        Raises:
            BoardError: the ELF has none there.
        """
        for start, data in self._segments:
            if start <= address and address + size <= start + len(data):
                return bytes(data[address - start : address - start + size])
        raise BoardError(
            f"has no code at {address:#010x}",
            where=str(self.elf),
            fix="The program ran code that is not in its ELF; cycles can be predicted only for code that is.",
        )
