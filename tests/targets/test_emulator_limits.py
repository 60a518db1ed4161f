"""Highest clocks of register models, from both sides: a megahertz more is refused. Figures are the datasheets'."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.targets.test_emulator_registers import AHB1ENR, APB1ENR, CFGR, CR, FLASH, GPIOD, HSE, PLLCFGR, PWR, Bus
from tinygen.errors import BoardError
from tinygen.targets.board import Memory
from tinygen.targets.emulator.faults import stack_overflow
from tinygen.targets.emulator.memory import Memories
from tinygen.targets.emulator.peripheral import Forbidden


def _run_at(mhz: int, scale: int, over_drive: bool) -> None:
    """An F746 at a whole number of MHz by its PLL, as RM0385 4.1.4 says; 2 MHz * N / 2."""
    bus = Bus("f746zg")
    pll = 4 | mhz << 6 | 1 << 22 | 9 << 24
    steps = [
        (CR, 0x81 | HSE),
        (APB1ENR, 1 << 28),
        (PWR, (4 - scale) << 14),
        (PLLCFGR, pll),
        (CR, 0x81 | HSE | 1 << 24),
    ]
    if over_drive:
        steps += [(PWR, (4 - scale) << 14 | 1 << 16), (PWR, (4 - scale) << 14 | 3 << 16)]
    for address, value in [*steps, (FLASH, 7), (CFGR, 5 << 10 | 4 << 13), (CFGR, 5 << 10 | 4 << 13 | 2)]:
        bus.write(address, value)
        bus.wait()


@pytest.mark.parametrize(
    ("scale", "over_drive", "most"),
    [(1, False, 180), (1, True, 216), (2, False, 168), (2, True, 180), (3, False, 144), (3, True, 144)],
)
def test_f746_core_clock(scale: int, over_drive: bool, most: int) -> None:
    """DS10916 table 17; VCO and PLL end at 216 MHz by themselves."""
    _run_at(most, scale, over_drive)
    with pytest.raises(Forbidden, match=f"HCLK {most + 1}000000 Hz, at most {most}000000|VCO {2 * most + 2}000000 Hz"):
        _run_at(most + 1, scale, over_drive)


class _Engine:
    """Takes any mapping."""

    def mem_map_ptr(self, address: int, size: int, protection: int, start: int) -> None:
        pass


@pytest.fixture
def memories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Memories:
    monkeypatch.setattr(Memories, "_load", lambda self, elf: None)
    both = [Memory("FLASH", 0x08000000, 0x1000, "flash"), Memory("SRAM", 0x20000000, 0x2000, "ram")]
    return Memories(_Engine(), both, tmp_path / "none.elf")


def test_bytes_across_the_end_of_a_memory(memories: Memories) -> None:
    memories.write(0x20001FFC, b"last")
    assert memories.read(0x20001FFC, 4) == b"last"
    for address, size, beyond in ((0x20001FFD, 4, 1), (0x08000FF0, 32, 16), (0x20000000, 0x2001, 1)):
        with pytest.raises(BoardError, match=f"reach {beyond} beyond"):
            memories.write(address, bytes(size))
        with pytest.raises(BoardError, match=f"reach {beyond} beyond"):
            memories.read(address, size)
    with pytest.raises(BoardError, match="outside the board's memories"):
        memories.read(0x20002000, 1)


def test_a_pin_that_is_set_and_reset_at_once_is_set() -> None:
    """RM0385 6.4.7: BSx has priority."""
    bus = Bus("f746zg")
    bus.set(AHB1ENR, 1 << 3)
    bus.write(GPIOD, 0x55555555)
    bus.write(GPIOD + 0x18, 0x00F0)
    bus.write(GPIOD + 0x18, 0x0030 | 0x00FF << 16)
    assert bus.read(GPIOD + 0x14) == bus.read(GPIOD + 0x10) == 0x0030


def test_parts_of_a_register() -> None:
    bus = Bus("f746zg")
    bus.set(AHB1ENR, 1 << 3)
    bus.write(GPIOD + 4, 0x12345678)
    bus.write(GPIOD + 5, 0xAB, 1)
    bus.write(GPIOD + 6, 0xCDEF, 2)
    assert bus.read(GPIOD + 4) == 0xCDEFAB78
    assert (bus.read(GPIOD + 5, 1), bus.read(GPIOD + 6, 2)) == (0xAB, 0xCDEF)


@pytest.mark.parametrize(
    ("sp", "address", "overrun"),
    [
        (0x2000_1010, 0x2000_1004, 0),
        (0x2000_1010, 0x2000_0F00, 0x100),
        (0x2000_0FF8, 0x2000_1010, 8),
        (0x2000_0F80, 0x2000_0F90, 0x80),
        (0x2000_1010, 0x4002_0000, 0),
        (0x2000_1010, 0x1FFF_0000, 0),
    ],
)
def test_how_far_a_stack_is_overrun(sp: int, address: int, overrun: int) -> None:
    symbols = SimpleNamespace(by_name={"__stack_bottom": 0x2000_1000, "__stack_top": 0x2000_2000})
    assert stack_overflow(symbols, sp, address) == overrun  # type: ignore[arg-type]
