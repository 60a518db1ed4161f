"""Emulators that this project did not write: what they lack ends a test as a gap, which the report names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import capstone
import pytest
from elftools.elf.elffile import ELFFile

from hil.place import Place
from tinygen.errors import BoardError
from tinygen.hil.exchange import FaultedError
from tinygen.hil.ports import LABWIRED

_UNDEFINED = re.compile(r"fault: usage pc=([0-9a-f]{8}) .*cfsr=00010000")
_STOPPED = re.compile(r"labwired stopped: Instruction decoding error at 0x([0-9a-f]+)")
_NO_INSTRUCTION = (bytes(2), bytes.fromhex("731000c0"))
"""What RISC-V compilers make of __builtin_trap: c.unimp, and unimp, which writes a counter that is read only."""


@contextmanager
def gaps_of(place: Place, folder: Path, of: str) -> Iterator[None]:
    """Skips the test where labwired does not know an instruction that a folder's firmware came to, and the core does.

    Args:
        of: what the firmware is of.
    """
    try:
        yield
    except FaultedError as error:
        found = _UNDEFINED.search(error.what)
        text = instruction(folder / "firmware.elf", int(found[1], 16)) if found else ""
        if place.port != LABWIRED or text in ("", "udf"):
            raise
        pytest.skip(f"labwired does not know {text}: {of}")


@contextmanager
def no_exception_of(place: Place, elf: Path) -> Iterator[None]:
    """Skips the test where labwired stops at an instruction that no core has, instead of raising the core's exception.

    Args:
        elf: the firmware that has this instruction.
    """
    try:
        yield
    except BoardError as error:
        found = _STOPPED.search(error.what)
        code = _code_at(elf, int(found[1], 16)) if found else b""
        if place.port != LABWIRED or not code.startswith(_NO_INSTRUCTION):
            raise
        pytest.skip("labwired stops at an instruction that no core has: there is no exception that firmware can report")


def skip_slow_clock(place: Place, clock_hz: int | None) -> None:
    """Skips where the emulator lacks what the firmware waits for before it goes to full speed."""
    if place.port == LABWIRED and clock_hz != place.board.core_hz:
        pytest.skip(f"labwired lacks a flag of the clocks or supplies: the core stays at {clock_hz} Hz")


def instruction(elf: Path, address: int) -> str:
    """What there is at an address, without registers and numbers: "ssat asr"; "" where that is no instruction."""
    decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    for _, _, name, operands in decoder.disasm_lite(_code_at(elf, address), address, 1):
        return " ".join([name, *re.findall(r"\b(?:lsl|lsr|asr|ror)\b", operands)])
    return ""


def _code_at(elf: Path, address: int) -> bytes:
    """The four bytes at an address, fewer at the end of a section; none where there is no section."""
    with elf.open("rb") as file:
        for section in ELFFile(file).iter_sections():
            begin = section["sh_addr"]
            if section["sh_type"] == "SHT_PROGBITS" and begin <= address < begin + section["sh_size"]:
                code: bytes = section.data()[address - begin :][:4]
                return code
    return b""
