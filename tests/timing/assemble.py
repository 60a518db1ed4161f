"""Assembles snippets with the clang in the ziglang package: all of a test module in one call."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from elftools.elf.elffile import ELFFile

_TARGETS = {
    "thumb": (["-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m7+fp_armv8d16sp"], ".syntax unified\n.thumb\n"),
    "riscv": (["-target", "riscv32-freestanding-none", "-mcpu=generic_rv32+m+c"], ""),
}


def assemble(snippets: Mapping[str, str], folder: Path, isa: str = "thumb") -> dict[str, bytes]:
    """Machine code of each snippet; `;` separates instructions. Every snippet starts at a multiple of 8 bytes.

    A snippet may branch to itself at `1:`.
    """
    flags, head = _TARGETS[isa]
    parts = [head, ".text\n"]
    for index, text in enumerate(snippets.values()):
        lines = "\n".join(part.strip() for part in text.split(";"))
        parts.append(f".p2align 3\n.globl s{index}\ns{index}:\n{lines}\n.globl e{index}\ne{index}:\n")
    source, built = folder / f"{isa}.s", folder / f"{isa}.o"
    source.write_text("".join(parts))
    command = [sys.executable, "-m", "ziglang", "cc", *flags, "-c", str(source), "-o", str(built)]
    subprocess.run(command, check=True, capture_output=True)
    with built.open("rb") as file:
        elf = ELFFile(file)
        code = elf.get_section_by_name(".text").data()
        at = {s.name: int(s["st_value"]) for s in elf.get_section_by_name(".symtab").iter_symbols()}
    return {name: code[at[f"s{i}"] : at[f"e{i}"]] for i, name in enumerate(snippets)}
