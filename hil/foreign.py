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
from tinygen.hil.exchange import FaultedError
from tinygen.hil.ports import LABWIRED

_UNDEFINED = re.compile(r"fault: usage pc=([0-9a-f]{8}) .*cfsr=00010000")


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


def skip_slow_clock(place: Place, clock_hz: int | None) -> None:
    """Skips where the emulator lacks what the firmware waits for before it goes to full speed."""
    if place.port == LABWIRED and clock_hz != place.board.core_hz:
        pytest.skip(f"labwired lacks a flag of the clocks or supplies: the core stays at {clock_hz} Hz")


def instruction(elf: Path, address: int) -> str:
    """What there is at an address, without registers and numbers: "ssat asr"; "" where that is no instruction."""
    with elf.open("rb") as file:
        for section in ELFFile(file).iter_sections():
            begin = section["sh_addr"]
            if section["sh_type"] == "SHT_PROGBITS" and begin <= address < begin + section["sh_size"]:
                decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
                code = section.data()[address - begin :][:4]
                for _, _, name, operands in decoder.disasm_lite(code, address, 1):
                    return " ".join([name, *re.findall(r"\b(?:lsl|lsr|asr|ror)\b", operands)])
    return ""
