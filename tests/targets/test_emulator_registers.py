"""The register models, driven directly: what the reference manuals forbid, and what they promise."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tinygen.targets.boards import load_board
from tinygen.targets.emulator.core import DWT_BASE, SCS_BASE, core_peripherals, set_cache_sizes
from tinygen.targets.emulator.line import arriving
from tinygen.targets.emulator.peripheral import Forbidden, Peripheral, Port
from tinygen.targets.emulator.peripherals import board_peripherals
from tinygen.targets.emulator.uart import CmsdkUart, Uart

RCC, PWR, FLASH, GPIOD = 0x40023800, 0x40007000, 0x40023C00, 0x40020C00
CR, PLLCFGR, CFGR, AHB1ENR, APB1ENR = RCC, RCC + 4, RCC + 8, RCC + 0x30, RCC + 0x40
HSE = 1 << 16 | 1 << 18
PLL_216 = 4 | 216 << 6 | 1 << 22 | 9 << 24
USART3 = 0x40004800


class Bus:
    """A board's peripherals at their addresses, with a clock that the test turns."""

    def __init__(self, name: str) -> None:
        self.now = 0
        self.fpu: list[bool] = []
        board = load_board(name)
        self.peripherals: list[Peripheral]
        self.uart: Uart
        self.peripherals, self.uart = board_peripherals(board, lambda: self.now)
        self.peripherals += core_peripherals(board.core, lambda: self.now, self.fpu.append)
        set_cache_sizes(self.peripherals, board.timing)

    def _at(self, address: int) -> tuple[Peripheral, int]:
        found = next(p for p in self.peripherals if p.base <= address < p.base + p.size)
        return found, address - found.base

    def read(self, address: int, size: int = 4) -> int:
        peripheral, offset = self._at(address)
        return peripheral.load(offset, size)

    def write(self, address: int, value: int, size: int = 4) -> None:
        peripheral, offset = self._at(address)
        peripheral.store(offset, size, value)

    def set(self, address: int, bits: int) -> None:
        self.write(address, self.read(address) | bits)

    def wait(self) -> None:
        """A millisecond, and more."""
        self.now += 50_000

    def full_speed(self) -> None:
        """F746 to 216 MHz, as RM0385 4.1.4 says."""
        steps: list[Callable[[], None]] = [
            lambda: self.write(CR, 0x81 | HSE),
            lambda: self.set(APB1ENR, 1 << 28),
            lambda: self.write(PLLCFGR, PLL_216),
            lambda: self.set(CR, 1 << 24),
            lambda: self.set(PWR, 1 << 16),
            lambda: self.set(PWR, 1 << 17),
            lambda: self.write(FLASH, 7),
            lambda: self.write(CFGR, 5 << 10 | 4 << 13),
            lambda: self.set(CFGR, 2),
        ]
        for step in steps:
            step()
            self.wait()


@pytest.fixture
def bus() -> Bus:
    return Bus("f746zg")


def test_full_speed(bus: Bus) -> None:
    bus.full_speed()
    assert bus.read(CFGR) & 0xF == 0b1010


def test_nothing_is_ready_at_once(bus: Bus) -> None:
    bus.write(CR, 0x81 | HSE)
    assert not bus.read(CR) & 1 << 17
    bus.wait()
    assert bus.read(CR) & 1 << 17


def test_switching_to_a_clock_that_is_not_ready(bus: Bus) -> None:
    bus.write(CR, 0x81 | HSE)
    with pytest.raises(Forbidden, match="SW selects HSE, which is not ready"):
        bus.write(CFGR, 1)
    with pytest.raises(Forbidden, match="SW selects the PLL, which is not ready"):
        bus.write(CFGR, 2)
    with pytest.raises(Forbidden, match="SW = 3 is not allowed"):
        bus.write(CFGR, 3)


@pytest.mark.parametrize(
    ("address", "value", "rule"),
    [
        (CR, 0x81 | HSE, "RCC_CR = 0x50081: switches off the clock that drives the core"),
        (CR, 0x80 | HSE | 1 << 24, ""),
        (PLLCFGR, PLL_216 + 64, "RCC_PLLCFGR = .*written while the PLL is on"),
        (FLASH, 6, "FLASH_ACR = 0x6: HCLK 216000000 Hz needs 7 flash wait states, 6 are set .RM0385 table 7"),
        (CFGR, 4 << 10 | 4 << 13 | 2, "APB1 108000000 Hz, at most 54000000 with over-drive"),
        (CFGR, 5 << 10 | 2, "APB2 216000000 Hz, at most 108000000 with over-drive"),
        (PWR, 0xC000, "PWR_CR1 = 0xc000: over-drive switched while the PLL drives the core"),
        (PWR, 0x34000, "VOS changed while the PLL is on"),
        (CR, 0x81 | 1 << 16 | 1 << 24, "HSEBYP changed while HSE is on"),
    ],
)
def test_forbidden_at_full_speed(bus: Bus, address: int, value: int, rule: str) -> None:
    bus.full_speed()
    if not rule:
        bus.write(address, value)
        return
    with pytest.raises(Forbidden, match=rule):
        bus.write(address, value)


@pytest.mark.parametrize(
    ("config", "rule"),
    [
        (3 | 216 << 6 | 1 << 22 | 9 << 24, "VCO input 2666667 Hz"),
        (4 | 49 << 6 | 1 << 22 | 9 << 24, "PLLN 49 not 50 to 432"),
        (4 | 217 << 6 | 1 << 22 | 9 << 24, "VCO 434000000 Hz"),
        (4 | 216 << 6 | 1 << 22 | 1 << 24, "PLLQ 1 not 2 to 15"),
        (8 | 150 << 6 | 3 << 16 | 1 << 22 | 9 << 24, "PLL output 18750000 Hz"),
    ],
)
def test_forbidden_pll(bus: Bus, config: int, rule: str) -> None:
    bus.write(CR, 0x81 | HSE)
    bus.wait()
    bus.write(PLLCFGR, config)
    with pytest.raises(Forbidden, match=rule):
        bus.set(CR, 1 << 24)


def test_over_drive_in_order(bus: Bus) -> None:
    with pytest.raises(Forbidden, match=r"PWR.0x0 = 0x1c000: accessed while its clock is off"):
        bus.write(PWR, 0x1C000)
    bus.set(APB1ENR, 1 << 28)
    bus.set(PWR, 1 << 16)
    assert not bus.read(PWR + 4) & 1 << 16
    with pytest.raises(Forbidden, match="ODSWEN set before ODRDY"):
        bus.set(PWR, 1 << 17)
    bus.wait()
    bus.set(PWR, 1 << 17)
    bus.wait()
    assert bus.read(PWR + 4) >> 16 & 3 == 3


def test_accelerator_reset_while_on(bus: Bus) -> None:
    with pytest.raises(Forbidden, match=r"resets a cache that is on .RM0385 3.7.1"):
        bus.write(FLASH, 1 << 11 | 1 << 9)
    with pytest.raises(Forbidden, match=r"resets a cache that is on .RM0090 3.9.1"):
        Bus("netduinoplus2").write(FLASH, 1 << 12 | 1 << 10)


def test_uart_needs_clock_pins_rate_and_enable(bus: Bus) -> None:
    with pytest.raises(Forbidden, match=r"USART3.0x28 = 0x41: accessed while its clock is off"):
        bus.write(USART3 + 0x28, 0x41)
    bus.set(APB1ENR, 1 << 18)
    with pytest.raises(Forbidden, match="before UE and TE are set"):
        bus.write(USART3 + 0x28, 0x41)
    bus.write(USART3, 0b1101)
    with pytest.raises(Forbidden, match="its TX pin is not in its alternate function"):
        bus.write(USART3 + 0x28, 0x41)
    bus.set(AHB1ENR, 1 << 3)
    bus.write(GPIOD + 0x24, 0x77)
    bus.write(GPIOD, 0b1010 << 16)
    with pytest.raises(Forbidden, match="USART3_BRR = 0x0: 0 baud"):
        bus.write(USART3 + 0x28, 0x41)
    with pytest.raises(Forbidden, match="may be written only while UE is 0"):
        bus.write(USART3 + 0x0C, 139)
    bus.write(USART3, 0)
    bus.write(USART3 + 0x0C, 142)
    bus.write(USART3, 0b1101)
    with pytest.raises(Forbidden, match="112676 baud from a bus at 16000000 Hz, the line runs at 115200"):
        bus.write(USART3 + 0x28, 0x41)
    bus.write(USART3, 0)
    bus.write(USART3 + 0x0C, 139)
    bus.write(USART3, 0b1101)
    bus.write(USART3 + 0x28, 0x41)
    assert bytes(bus.uart.sent) == b"A"
    bus.uart.received.extend(b"xy")
    assert bus.read(USART3 + 0x1C) & 1 << 5
    assert bus.read(USART3 + 0x24) == ord("x")
    bus.write(USART3, 0b1101 | 1 << 10)
    with pytest.raises(Forbidden, match="not 8 data bits, no parity"):
        bus.read(USART3 + 0x24)


def test_oversampling_by_8(bus: Bus) -> None:
    bus.set(APB1ENR, 1 << 18)
    bus.set(AHB1ENR, 1 << 3)
    bus.write(GPIOD + 0x24, 0x77)
    bus.write(GPIOD, 0b1010 << 16)
    bus.write(USART3 + 0x0C, 278 & ~15 | (278 & 15) >> 1)
    bus.write(USART3, 0b1101 | 1 << 15)
    bus.write(USART3 + 0x28, 0x42)
    assert bytes(bus.uart.sent) == b"B"


def test_pins(bus: Bus) -> None:
    bus.set(AHB1ENR, 1 << 3)
    bus.write(GPIOD, 0b01)
    bus.write(GPIOD + 0x18, 1)
    assert bus.read(GPIOD + 0x10) == 1
    bus.write(GPIOD + 0x18, 1 << 16)
    assert bus.read(GPIOD + 0x14) == 0
    bus.write(GPIOD + 0x15, 0x80, size=1)
    assert bus.read(GPIOD + 0x14) == 0x8000
    assert bus.read(GPIOD + 0x15, size=1) == 0x80


def test_f405_limits() -> None:
    bus = Bus("netduinoplus2")
    bus.write(CR, 0x81 | 1 << 16)
    bus.wait()
    bus.write(PLLCFGR, 25 | 336 << 6 | 1 << 22 | 7 << 24)
    bus.set(CR, 1 << 24)
    bus.write(CFGR, 5 << 10 | 4 << 13)
    bus.wait()
    bus.write(FLASH, 4)
    with pytest.raises(Forbidden, match=r"needs 5 flash wait states, 4 are set .RM0090 table 10"):
        bus.set(CFGR, 2)


def f411(pll: int = 4 | 100 << 6 | 1 << 22 | 5 << 24) -> Bus:
    """An F411 with its PLL at 100 MHz, or what else is asked for, the regulator still at scale 2."""
    bus = Bus("f411re")
    bus.write(CR, 0x81 | HSE)
    bus.wait()
    bus.write(PLLCFGR, pll)
    bus.set(APB1ENR, 1 << 28)
    return bus


def test_f411_limits() -> None:
    bus = f411()
    with pytest.raises(Forbidden, match=r"VOS = 0 is reserved .RM0383, PWR_CR"):
        bus.write(PWR, 0)
    bus.set(CR, 1 << 24)
    with pytest.raises(Forbidden, match="VOS changed while the PLL is on"):
        bus.write(PWR, 0xC000)
    bus.wait()
    bus.write(FLASH, 3)
    bus.write(CFGR, 4 << 10)
    with pytest.raises(Forbidden, match="HCLK 100000000 Hz, at most 84000000 without over-drive at voltage scale 2"):
        bus.set(CFGR, 2)


@pytest.mark.parametrize(
    ("n", "p", "waits", "apb1", "rule"),
    [
        (100, 2, 3, 4, ""),
        (100, 2, 2, 4, r"HCLK 100000000 Hz needs 3 flash wait states, 2 are set .RM0383, FLASH_ACR"),
        (64, 2, 1, 4, ""),
        (130, 4, 1, 4, "HCLK 65000000 Hz needs 2 flash wait states"),
        (182, 4, 2, 4, "HCLK 91000000 Hz needs 3 flash wait states"),
        (100, 2, 3, 0, "APB1 100000000 Hz, at most 50000000"),
        (102, 2, 3, 4, "PLL output 102000000 Hz is not 24000000 to 100000000"),
    ],
)
def test_f411_clocks(n: int, p: int, waits: int, apb1: int, rule: str) -> None:
    bus = f411(4 | n << 6 | (p // 2 - 1) << 16 | 1 << 22 | 5 << 24)
    bus.write(PWR, 0xC000)

    def switch() -> None:
        bus.set(CR, 1 << 24)
        bus.wait()
        bus.write(FLASH, waits)
        bus.write(CFGR, apb1 << 10)
        bus.set(CFGR, 2)

    if not rule:
        switch()
        return
    with pytest.raises(Forbidden, match=rule):
        switch()


def test_crystal_of_the_discovery_kit() -> None:
    bus = Bus("disco-f746ng")
    with pytest.raises(Forbidden, match="HSEBYP is 1, but the board has a crystal on OSC_IN"):
        bus.write(CR, 0x81 | HSE)
    bus.write(CR, 0x81 | 1 << 16)
    assert not bus.read(CR) & 1 << 17
    bus.wait()
    assert bus.read(CR) & 1 << 17


def test_cycle_counter_needs_trace_and_key(bus: Bus) -> None:
    ctrl, count, lock, demcr = DWT_BASE, DWT_BASE + 4, DWT_BASE + 0xFB0, SCS_BASE + 0xDFC
    bus.write(ctrl, 1)
    bus.now += 10
    assert bus.read(count) == 0
    bus.write(demcr, 1 << 24)
    bus.write(ctrl, 1)
    assert bus.read(ctrl) == 0
    bus.write(lock, 0xC5ACCE55)
    bus.write(ctrl, 1)
    bus.now += 10
    assert bus.read(count) == 10
    bus.write(count, 0xFFFFFFF0)
    bus.now += 32
    assert bus.read(count) == 16


def test_systick(bus: Bus) -> None:
    csr, rvr, cvr = (SCS_BASE + offset for offset in (0x10, 0x14, 0x18))
    bus.write(rvr, 99)
    bus.write(cvr, 0)
    bus.write(csr, 0b101)
    bus.now += 30
    assert bus.read(cvr) == 70
    bus.now += 80
    assert bus.read(cvr) == 90
    assert bus.read(csr) == 0b101 | 1 << 16
    assert bus.read(csr) == 0b101
    with pytest.raises(Forbidden, match="SYST_CSR = 0x7: enables an interrupt"):
        bus.write(csr, 0b111)


@pytest.mark.parametrize(
    ("name", "core_id", "cache"),
    [("f746zg", 0x410FC271, 4096), ("f767zi", 0x410FC271, 16384), ("netduinoplus2", 0x410FC241, 0)],
)
def test_system_control(name: str, core_id: int, cache: int) -> None:
    bus = Bus(name)
    assert bus.read(SCS_BASE + 0xD00) == core_id
    bus.write(SCS_BASE + 0xD14, 3 << 16)
    has_caches = cache > 0
    assert bus.read(SCS_BASE + 0xD14) >> 16 & 3 == 3 * has_caches
    for level_1_instructions, ways in ((0, 4), (1, 2)):
        bus.write(SCS_BASE + 0xD84, level_1_instructions)
        size_id = bus.read(SCS_BASE + 0xD80)
        if has_caches:
            assert ((size_id >> 13 & 0x7FFF) + 1) * ((size_id >> 3 & 0x3FF) + 1) * 32 == cache
            assert (size_id >> 3 & 0x3FF) + 1 == ways
    bus.write(SCS_BASE + 0xD88, 0xF << 20)
    bus.write(SCS_BASE + 0xD88, 0)
    assert bus.fpu == [True, False]
    with pytest.raises(Forbidden, match="SCB_VTOR"):
        bus.write(SCS_BASE + 0xD08, 0x40)
    with pytest.raises(Forbidden, match="resets itself"):
        bus.write(SCS_BASE + 0xD0C, 0x05FA0004)


def test_cmsdk_uart() -> None:
    uart = CmsdkUart("UART0", 0x40004000, 0x1000, baud=115200, bus_hz=25_000_000)
    with pytest.raises(Forbidden, match="BAUDDIV = 0xf: at least 16"):
        uart.store(0x10, 4, 15)
    with pytest.raises(Forbidden, match="before TX is enabled"):
        uart.store(0x00, 4, 0x41)
    uart.store(0x08, 4, 3)
    uart.store(0x10, 4, 16)
    with pytest.raises(Forbidden, match="1562500 baud from a bus at 25000000 Hz"):
        uart.store(0x00, 4, 0x41)
    uart.store(0x10, 4, 217)
    uart.store(0x00, 4, 0x41)
    assert bytes(uart.sent) == b"A"


@pytest.mark.parametrize("byte", [0x00, 0x41, 0x55, 0xA5, 0xFF])
def test_a_byte_at_the_wrong_rate_is_heard_as_others(byte: int) -> None:
    assert arriving(byte, 115_200, 114_000) == bytes([byte])
    # Twelve bits of the receiver last one of the sender: a zero byte is heard in every run of zeros.
    runs = f"{byte:08b}0".split("1")
    assert arriving(byte, 9600, 115_200) == bytes(len([run for run in runs if run]))
    # The other way round, all of a byte passes within the start bit.
    assert arriving(byte, 115_200, 9600) in ((b"", b"\xff"))


def test_uart_follows_the_rate_that_the_firmware_sets(bus: Bus) -> None:
    bus.set(APB1ENR, 1 << 18)
    bus.set(AHB1ENR, 1 << 3)
    bus.write(GPIOD + 0x24, 0x77)
    bus.write(GPIOD, 0b1010 << 16)
    bus.write(USART3 + 0x0C, 16_000_000 // 9600)
    bus.write(USART3, 0b1101)
    bus.write(USART3 + 0x28, 0x41)
    assert bytes(bus.uart.sent) == arriving(0x41, 9600, 115_200) != b"A"
    bus.uart.received.extend(b"\x0f\x3f")  # the second is taken for a glitch
    assert [bus.read(USART3 + 0x1C) >> 5 & 1, bus.read(USART3 + 0x24)] == [1, 0xFF]
    assert not bus.read(USART3 + 0x1C) >> 5 & 1
    bus.uart.sent.clear()
    bus.uart.baud = 9600
    bus.write(USART3 + 0x28, 0x41)
    bus.uart.received.append(0x42)
    assert bytes(bus.uart.sent) == b"A" and bus.read(USART3 + 0x24) == 0x42


def test_changes_of_a_watched_pin_are_told(bus: Bus) -> None:
    seen: list[bool] = []
    port = next(p for p in bus.peripherals if isinstance(p, Port) and p.name == "GPIOD")
    port.watched[13] = seen.append
    bus.set(AHB1ENR, 1 << 3)
    bus.write(GPIOD + 0x18, 1 << 13)
    assert seen == []  # no output yet
    bus.write(GPIOD, 1 << 26)
    bus.write(GPIOD + 0x18, 1 << 13 | 1 << 12)
    bus.write(GPIOD + 0x18, 1 << 29)
    bus.write(GPIOD + 0x14, 1 << 13)
    assert seen == [True, False, True]
