"""The register models of STM32L4+: what they forbid, and what they promise."""

from __future__ import annotations

import pytest

from tests.targets.test_emulator_registers import Bus
from tinygen.targets.emulator.peripheral import Forbidden

RCC, FLASH, PWR, GPIOG, LPUART1 = 0x40021000, 0x40022000, 0x40007000, 0x48001800, 0x40008000
CR, CFGR, PLLCFGR, AHB2ENR, APB1ENR1, APB1ENR2 = RCC, RCC + 8, RCC + 12, RCC + 0x4C, RCC + 0x58, RCC + 0x5C
CCIPR = RCC + 0x88
PLL_120 = 2 | 3 << 4 | 60 << 8 | 1 << 24


def l4() -> Bus:
    return Bus("l4r5zi")


def locked(pll: int = PLL_120) -> Bus:
    """HSI16 and PLL on and ready, power clocked."""
    bus = l4()
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
    with pytest.raises(Forbidden, match="HCLK 120000000 Hz, at most 80000000"):
        bus.write(CFGR, 3)
    bus = full_speed()
    with pytest.raises(Forbidden, match="PWR_CR5"):
        bus.write(PWR + 0x80, 1 << 8)


def test_wait_states() -> None:
    bus = locked()
    bus.write(PWR + 0x80, 0)
    bus.write(FLASH, 4)
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
