"""The register models of STM32L4, L4+ and G4: what they forbid, and what they promise."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.targets.build import build, project_with
from tests.targets.test_emulator_registers import Bus
from tinygen.errors import BoardError, ToolchainError
from tinygen.hil.client import DeviceClient
from tinygen.targets.boards import load_board
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.emulator.peripheral import Forbidden
from tinygen.targets.toolchain import build_elf, find_toolchain

RCC, FLASH, PWR, GPIOG, LPUART1 = 0x40021000, 0x40022000, 0x40007000, 0x48001800, 0x40008000
CR, CFGR, PLLCFGR, AHB2ENR, APB1ENR1, APB1ENR2 = RCC, RCC + 8, RCC + 12, RCC + 0x4C, RCC + 0x58, RCC + 0x5C
CCIPR = RCC + 0x88
PLL_120 = 2 | 3 << 4 | 60 << 8 | 1 << 24
PLL_80 = 2 | 1 << 4 | 20 << 8 | 1 << 24
PLL_170 = 2 | 3 << 4 | 85 << 8 | 1 << 24
HALF = 8 << 4


def l4() -> Bus:
    return Bus("l4r5zi")


def locked(pll: int = PLL_120, board: str = "l4r5zi") -> Bus:
    """HSI16 and PLL on and ready, power clocked."""
    bus = Bus(board)
    bus.set(APB1ENR1, 1 << 28)
    bus.set(CR, 1 << 8)
    bus.wait()
    bus.write(PLLCFGR, pll)
    bus.set(CR, 1 << 24)
    bus.wait()
    return bus


def full_speed() -> Bus:
    bus = locked()
    bus.write(PWR + 0x80, 0)
    bus.write(FLASH, 5)
    bus.write(CFGR, 3 | HALF)
    bus.wait()
    bus.write(CFGR, 3)
    return bus


def test_full_speed() -> None:
    bus = full_speed()
    assert bus.read(CFGR) >> 2 & 3 == 3
    assert bus.read(CR) & 1 << 25


def test_nothing_is_ready_at_once() -> None:
    bus = l4()
    bus.set(CR, 1 << 8)
    assert not bus.read(CR) & 1 << 10
    bus.wait()
    assert bus.read(CR) & 1 << 10


def test_boost_is_needed_above_80_mhz() -> None:
    bus = locked()
    bus.write(FLASH, 5)
    bus.write(CFGR, 3 | HALF)
    bus.wait()
    with pytest.raises(Forbidden, match="HCLK 120000000 Hz, at most 80000000"):
        bus.write(CFGR, 3)
    bus = full_speed()
    with pytest.raises(Forbidden, match="PWR_CR5"):
        bus.write(PWR + 0x80, 1 << 8)


def test_wait_states() -> None:
    bus = locked()
    bus.write(PWR + 0x80, 0)
    bus.write(FLASH, 4)
    bus.write(CFGR, 3 | HALF)
    bus.wait()
    with pytest.raises(Forbidden, match="needs 5 flash wait states, 4 are set"):
        bus.write(CFGR, 3)


@pytest.mark.parametrize(
    ("pll", "why"),
    [
        (PLL_120 & ~(1 << 24), "PLLREN = 0"),
        (2 | 7 << 4 | 60 << 8 | 1 << 24, "VCO input 2000000"),
        (2 | 3 << 4 | 127 << 8 | 1 << 24, "64 to 344 MHz"),
        (PLL_120 & ~3, "the PLL's source"),
    ],
)
def test_pll_factors(pll: int, why: str) -> None:
    with pytest.raises(Forbidden, match=why):
        locked(pll)


@pytest.mark.parametrize(("board", "pll", "hz"), [("l4r5zi", PLL_120, 120), ("g474re", PLL_170, 170)])
def test_half_the_speed_first(board: str, pll: int, hz: int) -> None:
    bus = locked(pll, board)
    bus.write(PWR + 0x80, 0)
    bus.write(FLASH, 5)
    with pytest.raises(Forbidden, match="SW selects more than 80 MHz with HPRE not dividing"):
        bus.write(CFGR, 3)
    bus.write(CFGR, 3 | HALF)
    bus.now += hz // 2 - 2
    with pytest.raises(Forbidden, match="HPRE changed within 1 us of the switch"):
        bus.write(CFGR, 3)
    bus.now += 2
    bus.write(CFGR, 3)


@pytest.mark.parametrize(
    ("board", "pll", "why"),
    [
        ("l476rg", 2 | 3 << 4 | 87 << 8 | 2 << 25 | 1 << 24, "8 to 86 times"),
        ("l476rg", 2 | 4 << 4 | 60 << 8 | 1 << 24, "VCO input 3200000 Hz"),
        ("l476rg", 2 | 8 << 4 | 60 << 8 | 1 << 24, r"divided by 9"),
        ("l476rg", 2 | 1 << 4 | 21 << 8 | 1 << 24, "PLL output 84000000 Hz, at most 80000000 .RM0351"),
        ("g474re", 2 | 0 << 4 | 20 << 8 | 1 << 24, "VCO input 16000000 Hz"),
        ("g474re", 2 | 3 << 4 | 86 << 8 | 1 << 24, "PLL output 172000000 Hz, at most 170000000 .RM0440"),
        ("g474re", PLL_170 & ~3 | 1, "the PLL's source"),
    ],
)
def test_pll_of_other_parts(board: str, pll: int, why: str) -> None:
    with pytest.raises(Forbidden, match=why):
        locked(pll, board)


@pytest.mark.parametrize(
    ("n", "waits", "rule"),
    [
        (20, 4, ""),
        (20, 3, "HCLK 80000000 Hz needs 4 flash wait states, 3 are set .RM0351"),
        (16, 3, ""),
        (16, 2, "HCLK 64000000 Hz needs 3 flash wait states"),
    ],
)
def test_l476_wait_states(n: int, waits: int, rule: str) -> None:
    bus = locked(2 | 1 << 4 | n << 8 | 1 << 24, "l476rg")
    bus.write(FLASH, waits)
    if not rule:
        bus.write(CFGR, 3)
        return
    with pytest.raises(Forbidden, match=rule):
        bus.write(CFGR, 3)


def test_l476_has_no_boost_and_little_in_range_2() -> None:
    bus = locked(PLL_80, "l476rg")
    with pytest.raises(Forbidden, match="PWR_CR5 = 0x0: there is no such register"):
        bus.write(PWR + 0x80, 0)
    bus.write(PWR, 2 << 9)
    bus.write(FLASH, 4)
    with pytest.raises(Forbidden, match="HCLK 80000000 Hz, at most 26000000 with this regulator setting"):
        bus.write(CFGR, 3)


def test_g474_starts_from_hsi16() -> None:
    bus = Bus("g474re")
    assert bus.read(CFGR) == 5 and bus.read(CR) == 0x500
    assert bus.read(FLASH) & 1 << 18, "the debugger is let in"
    with pytest.raises(Forbidden, match=r"switches off the clock that drives the core .RM0440"):
        bus.write(CR, 0)
    with pytest.raises(Forbidden, match="SW selects a clock that is not ready"):
        bus.write(CFGR, 0)


def test_g474_has_one_supply() -> None:
    bus = locked(PLL_170, "g474re")
    with pytest.raises(Forbidden, match="PWR_CR2 = 0x200: bit 9 is reserved"):
        bus.write(PWR + 4, 1 << 9)


@pytest.mark.parametrize(
    ("boost", "waits", "rule"),
    [
        (True, 3, "HCLK 170000000 Hz needs 4 flash wait states, 3 are set"),
        (False, 4, "HCLK 170000000 Hz, at most 150000000"),
    ],
)
def test_g474_limits(boost: bool, waits: int, rule: str) -> None:
    bus = locked(PLL_170, "g474re")
    bus.write(PWR + 0x80, 0 if boost else 1 << 8)
    bus.write(FLASH, waits)
    bus.write(CFGR, 3 | HALF)
    bus.wait()
    with pytest.raises(Forbidden, match=rule):
        bus.write(CFGR, 3)


def test_firmware_that_goes_to_full_speed_at_once(tmp_path: Path) -> None:
    board = load_board("g474re")
    project = project_with(board, tmp_path)
    clock = tmp_path / "firmware/stm32l4/clock.c"
    text = clock.read_text(encoding="utf-8")
    pause = text[text.index("    const deadline_t deadline") : text.index("    RCC_CFGR = RCC_CFGR_SW_PLL")]
    clock.write_text(text.replace(pause, ""), encoding="utf-8")
    with pytest.raises(BoardError, match="HPRE changed within 1 us of the switch") as caught:
        DeviceClient(EmulatedBoard(board, build_elf(project, find_toolchain("zig", board)).elf)).wait_for_boot()
    assert "clock.c" in caught.value.where


def test_crystals_are_not_for_this_firmware(tmp_path: Path) -> None:
    board = load_board("g474re")
    assert board.clock is not None and board.clock.pll is not None
    pll = dataclasses.replace(board.clock.pll, m=6)
    crystal = dataclasses.replace(board.clock, source="hse", source_hz=24_000_000, pll=pll)
    with pytest.raises(ToolchainError, match="the PLL runs on HSI16 here"):
        build(dataclasses.replace(board, clock=crystal), "zig", tmp_path)


def test_order_of_switching() -> None:
    bus = l4()
    with pytest.raises(Forbidden, match="SW selects a clock that is not ready"):
        bus.write(CFGR, 3)
    bus.write(PLLCFGR, PLL_120)
    with pytest.raises(Forbidden, match="PLL on before its source is ready"):
        bus.set(CR, 1 << 24)
    bus = full_speed()
    with pytest.raises(Forbidden, match="switches off the clock that drives the core"):
        bus.write(CR, bus.read(CR) & ~(1 << 8))
    with pytest.raises(Forbidden, match="written while the PLL is on"):
        bus.write(PLLCFGR, PLL_120 | 1 << 25)


def test_voltage_range() -> None:
    bus = l4()
    with pytest.raises(Forbidden, match="clock is off"):
        bus.write(PWR, 1 << 9)
    bus.set(APB1ENR1, 1 << 28)
    with pytest.raises(Forbidden, match="VOS is 01 or 10"):
        bus.write(PWR, 0)


def speaking(divisor: int, *, io_supply: bool = True) -> Bus:
    """At full speed, the LPUART set up on its pins."""
    bus = full_speed()
    bus.write(PWR + 4, 1 << 9 if io_supply else 0)
    bus.set(AHB2ENR, 1 << 6)
    bus.write(GPIOG, 2 << 14 | 2 << 16)
    bus.write(GPIOG + 0x20, 8 << 28)
    bus.write(GPIOG + 0x24, 8)
    bus.set(APB1ENR2, 1)
    bus.write(LPUART1 + 0x0C, divisor)
    bus.write(LPUART1, 0b1101)
    return bus


def test_lpuart() -> None:
    bus = speaking(256 * 120_000_000 // 115_200)
    bus.write(LPUART1 + 0x28, ord("A"))
    assert bytes(bus.uart.sent) == b"A"
    bus.uart.received.append(ord("B"))
    assert bus.read(LPUART1 + 0x1C) & 1 << 5
    assert bus.read(LPUART1 + 0x24) == ord("B")


def test_lpuart_on_hsi16_reaches_9600_baud() -> None:
    bus = speaking(0xFFFFF)
    bus.write(LPUART1, 0)
    bus.write(CCIPR, 2 << 10)
    bus.write(LPUART1 + 0x0C, 256 * 16_000_000 // 9600)
    bus.write(LPUART1, 0b1101)
    bus.uart.baud = 9600
    bus.write(LPUART1 + 0x28, ord("A"))
    assert bytes(bus.uart.sent) == b"A"
    bus.write(CCIPR, 3 << 10)
    with pytest.raises(Forbidden, match="LPUART1SEL selects a clock that is not on"):
        bus.write(LPUART1 + 0x28, ord("A"))


@pytest.mark.parametrize(
    ("divisor", "supply", "why"),
    [
        (120_000_000 // 115_200, True, "29[0-9]* baud from a bus at 120000000 Hz"),
        (0x200, True, "is not 0x300 to 0xFFFFF"),
        (266_666, False, "TX pin is not in its alternate function"),
    ],
)
def test_lpuart_refuses(divisor: int, supply: bool, why: str) -> None:
    bus = speaking(divisor, io_supply=supply)
    with pytest.raises(Forbidden, match=why):
        bus.write(LPUART1 + 0x28, 0)
