"""The register models of STM32H743: what they forbid, and what they promise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.targets.build import build, model_with_invoke, project_with
from tests.targets.test_emulator_registers import Bus
from tinygen.errors import BoardError
from tinygen.hil.client import DeviceClient
from tinygen.targets.board import Board
from tinygen.targets.boards import load_board
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.emulator.peripheral import Forbidden, Peripheral
from tinygen.targets.toolchain import build_elf, find_toolchain

RCC, PWR, SYSCFG, FLASH = 0x58024400, 0x58024800, 0x58000400, 0x52002000
CR, CFGR, D1CFGR, D2CFGR, D3CFGR = RCC, RCC + 0x10, RCC + 0x18, RCC + 0x1C, RCC + 0x20
PLLCKSELR, PLLCFGR, PLL1DIVR, AHB4ENR, APB1LENR, APB4ENR = (RCC + o for o in (0x28, 0x2C, 0x30, 0xE0, 0xE8, 0xF4))
CSR1, CR3, D3CR, PWRCR = PWR + 4, PWR + 0x0C, PWR + 0x18, SYSCFG + 0x2C
GPIOD, USART3 = 0x58020C00, 0x40004800
HSE, PLL1ON, VOSRDY = 1 << 16 | 1 << 18, 1 << 24, 1 << 13
SOURCE, CONFIG, DIVISORS = 2 | 2 << 4, 2 << 2 | 1 << 16, 239 | 1 << 9
SLOW_BUSES = [(D1CFGR, 8 | 4 << 4), (D2CFGR, 4 << 4 | 4 << 8), (D3CFGR, 4 << 4)]


def supplied() -> Bus:
    """The LDO chosen, its voltage there."""
    bus = Bus("h743zi")
    bus.write(CR3, 2)
    bus.wait()
    return bus


def scaled(vos: int = 3, *, over_drive: bool = True) -> Bus:
    """Supplied, at a voltage scale."""
    bus = supplied()
    bus.write(D3CR, vos << 14)
    bus.wait()
    if over_drive:
        bus.set(APB4ENR, 2)
        bus.write(PWRCR, 1)
        bus.wait()
    return bus


def oscillating(bus: Bus) -> Bus:
    """HSE ready."""
    bus.set(CR, HSE)
    bus.wait()
    return bus


def locked(bus: Bus, source: int = SOURCE, config: int = CONFIG, divisors: int = DIVISORS) -> Bus:
    """HSE and PLL1 ready."""
    oscillating(bus)
    for register, value in ((PLLCKSELR, source), (PLLCFGR, config), (PLL1DIVR, divisors)):
        bus.write(register, value)
    bus.set(CR, PLL1ON)
    bus.wait()
    return bus


def prepared(bus: Bus, flash: int = 0x24) -> Bus:
    """PLL1 ready, buses divided, flash wait states set."""
    locked(bus)
    for register, value in SLOW_BUSES:
        bus.write(register, value)
    bus.write(FLASH, flash)
    return bus


def test_full_speed() -> None:
    bus = prepared(scaled())
    bus.write(CFGR, 3)
    assert bus.read(CFGR) == 3 | 3 << 3
    assert bus.read(CR) & 1 << 25


def test_nothing_is_ready_at_once() -> None:
    bus = Bus("h743zi")
    bus.write(CR3, 2)
    assert not bus.read(CSR1) & VOSRDY
    bus.wait()
    assert bus.read(CSR1) & VOSRDY
    bus.write(D3CR, 3 << 14)
    assert not bus.read(D3CR) & VOSRDY
    bus.wait()
    assert bus.read(D3CR) == 3 << 14 | VOSRDY
    bus.set(APB4ENR, 2)
    bus.write(PWRCR, 1)
    assert not bus.read(D3CR) & VOSRDY
    bus.set(CR, HSE)
    assert not bus.read(CR) & 1 << 17
    bus.wait()
    assert bus.read(CR) & 1 << 17


def forbidden(rule: str, *steps: Callable[[], object]) -> None:
    """All steps but the last go well."""
    for step in steps[:-1]:
        step()
    with pytest.raises(Forbidden, match=rule):
        steps[-1]()


def test_supply_comes_first_and_once() -> None:
    bus = Bus("h743zi")
    forbidden("VOS written before the supply is chosen", lambda: bus.write(D3CR, 3 << 14))
    forbidden("the board feeds the core through the LDO", lambda: bus.write(CR3, 1))
    forbidden("VOS written before the supply", lambda: bus.write(CR3, 2), lambda: bus.write(D3CR, 3 << 14))
    forbidden("chosen once after power-up", lambda: bus.write(CR3, 2), lambda: bus.write(CR3, 1))


def test_voltage_scale() -> None:
    bus = supplied()
    forbidden("VOS = 0 is reserved", lambda: bus.write(D3CR, 0))
    bus.set(APB4ENR, 2)
    forbidden("ODEN set before voltage scale 1 is ready", lambda: bus.write(PWRCR, 1))
    bus.write(D3CR, 3 << 14)
    forbidden("ODEN set before voltage scale 1 is ready", lambda: bus.write(PWRCR, 1))
    bus.wait()
    bus.write(PWRCR, 1)
    forbidden("VOS written while over-drive is on", lambda: bus.write(D3CR, 2 << 14))
    other = scaled(over_drive=False)
    forbidden(r"SYSCFG.0x2c = 0x1: accessed while its clock is off", lambda: other.write(PWRCR, 1))


@pytest.mark.parametrize(("vos", "most"), [(3, 400), (2, 300), (1, 200)], ids=["scale-1", "scale-2", "scale-3"])
def test_core_clock_by_scale(vos: int, most: int) -> None:
    bus = prepared(scaled(vos, over_drive=False))
    forbidden(f"core 480000000 Hz, at most {most}000000 at voltage scale {4 - vos}", lambda: bus.write(CFGR, 3))


@pytest.mark.parametrize(
    ("register", "value", "rule"),
    [
        (D1CFGR, 4 << 4, "AXI 480000000 Hz, at most 240000000"),
        (D2CFGR, 4 << 8, "APB1 240000000 Hz, at most 120000000"),
        (D2CFGR, 4 << 4, "APB2 240000000 Hz, at most 120000000"),
        (D1CFGR, 8, "APB3 240000000 Hz, at most 120000000"),
        (D3CFGR, 0, "APB4 240000000 Hz, at most 120000000"),
        (FLASH, 0x23, r"AXI 240000000 Hz needs 4 flash wait states, 3 are set, at voltage scale 0 .RM0433 table 17"),
        (FLASH, 0x14, "AXI 240000000 Hz needs WRHIGHFREQ 2, 1 is set, at voltage scale 0"),
    ],
)
def test_buses_and_flash(register: int, value: int, rule: str) -> None:
    bus = prepared(scaled())
    forbidden(rule, lambda: bus.write(register, value), lambda: bus.write(CFGR, 3))
    bus = prepared(scaled())
    forbidden(rule, lambda: bus.write(CFGR, 3), lambda: bus.write(register, value))


def test_over_drive_is_not_left_at_full_speed() -> None:
    bus = prepared(scaled())
    forbidden("SYSCFG_PWRCR = 0x0: core 480000000 Hz", lambda: bus.write(CFGR, 3), lambda: bus.write(PWRCR, 0))


@pytest.mark.parametrize(
    ("source", "config", "divisors", "rule"),
    [
        (2 | 1 << 4, CONFIG, DIVISORS, "VCO 1920000000 Hz from 8000000 is not 192000000 to 960000000"),
        (2 | 4 << 4, CONFIG, DIVISORS, "PLL input 2000000 Hz is not 4000000 to 8000000, as PLL1RGE says"),
        (SOURCE, CONFIG, 255 | 1 << 9, "VCO 1024000000 Hz from 4000000 is not 192000000 to 960000000"),
        (SOURCE, CONFIG | 2, DIVISORS, "VCO 960000000 Hz from 4000000 is not 150000000 to 420000000"),
        (SOURCE, CONFIG, 239 | 2 << 9, "DIVP1 3 is odd"),
        (SOURCE, 2 << 2, DIVISORS, "output P, which feeds the core, is off"),
        (2, CONFIG, DIVISORS, "DIVM1 is 0"),
        (SOURCE, CONFIG, 2 | 1 << 9, "DIVN1 3"),
        (3 | 2 << 4, CONFIG, DIVISORS, "PLLSRC is 3: no clock"),
        (1 | 1 << 4, CONFIG, DIVISORS, "PLL1 on before its source is ready"),
    ],
)
def test_pll(source: int, config: int, divisors: int, rule: str) -> None:
    forbidden(rule, lambda: locked(scaled(), source, config, divisors))


def test_low_input_takes_the_medium_vco() -> None:
    forbidden("below 2 MHz medium only", lambda: locked(scaled(), 2 | 8 << 4, 1 << 16, 399 | 1 << 9))
    assert locked(scaled(), 2 | 8 << 4, 2 | 1 << 16, 399 | 1 << 9).read(CR) & 1 << 25


def test_order_of_switching() -> None:
    bus = Bus("h743zi")
    forbidden("SW selects a clock that is not ready", lambda: bus.write(CFGR, 3))
    forbidden("HSEBYP is 0, but the board has a clock signal", lambda: bus.set(CR, 1 << 16))
    oscillating(bus)
    forbidden("HSEBYP changed while HSE is on", lambda: bus.write(CR, 1 | 1 << 16))
    bus = prepared(scaled())
    for register in (PLLCKSELR, PLLCFGR, PLL1DIVR):
        forbidden("written while PLL1 is on", lambda register=register: bus.write(register, 0))
    bus.write(CFGR, 3)
    for needed in (PLL1ON, 1 << 16):
        forbidden("switches off the clock that drives", lambda bit=needed: bus.write(CR, bus.read(CR) & ~bit))


def speaking(divisor: int = 1042) -> Bus:
    """At full speed, USART3 on its pins."""
    bus = prepared(scaled())
    bus.write(CFGR, 3)
    bus.set(AHB4ENR, 1 << 3)
    bus.write(GPIOD + 0x24, 0x77)
    bus.write(GPIOD, 0b1010 << 16)
    bus.set(APB1LENR, 1 << 18)
    bus.write(USART3 + 0x0C, divisor)
    bus.write(USART3, 0b1101)
    return bus


def test_uart() -> None:
    bus = speaking()
    bus.write(USART3 + 0x28, ord("A"))
    assert bytes(bus.uart.sent) == b"A"
    bus = Bus("h743zi")
    forbidden("USART3.0x28 = 0x41: accessed while its clock is off", lambda: bus.write(USART3 + 0x28, 0x41))


@pytest.fixture(scope="module")
def board() -> Board:
    return load_board("h743zi")


def refused(board: Board, elf: Path) -> BoardError:
    """What the emulated board says of a firmware that must not boot."""
    with pytest.raises(BoardError) as caught:
        DeviceClient(EmulatedBoard(board, elf)).wait_for_boot()
    return caught.value


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"voltage_scale": 1}, "core 480000000 Hz, at most 400000000 at voltage scale 1"),
        ({"axi_div": 1}, "AXI 480000000 Hz, at most 240000000"),
        ({"apb1_div": 1}, "APB1 240000000 Hz, at most 120000000"),
        ({"bypass": False}, "HSEBYP is 0, but the board has a clock signal on OSC_IN"),
    ],
)
def test_forbidden_clock(board: Board, tmp_path: Path, changes: dict[str, object], rule: str) -> None:
    assert board.clock is not None
    clock = dataclasses.replace(board.clock, **changes)  # type: ignore[arg-type]
    error = refused(board, build(dataclasses.replace(board, clock=clock), "zig", tmp_path).elf)
    assert rule in error.what
    assert "clock.c:" in error.where


def test_no_supply_no_boot(board: Board, tmp_path: Path) -> None:
    """A start-up that leaves the supply alone."""
    project = project_with(board, tmp_path)
    config = tmp_path / "board/board_config.h"
    config.write_text(config.read_text(encoding="utf-8").replace("SUPPLY_FIRST 1", "SUPPLY_FIRST 0"), encoding="utf-8")
    error = refused(board, build_elf(project, find_toolchain("zig", board)).elf)
    assert "VOS written before the supply is chosen" in error.what


def test_an_older_revision_stays_slow(board: Board, tmp_path: Path) -> None:
    """Revision Y is for 400 MHz: the firmware says so, at the speed that reset leaves."""
    emulated = EmulatedBoard(board, build(board, "zig", tmp_path).elf)
    _named(emulated, "DBGMCU").registers[0] = 0x1003_0450
    assert b"this revision of the silicon is for 400 MHz at most" in emulated.read(4096, 0.1)
    assert DeviceClient(emulated).info().clock_hz == 64_000_000


@pytest.mark.parametrize(("identity", "written"), [(0x1003_0450, {0x108: 1}), (0x2000_0450, {}), (0x2003_0450, {})])
def test_older_revisions_read_the_axi_sram_one_by_one(
    identity: int, written: dict[int, int], board: Board, tmp_path: Path
) -> None:
    """ES0392: READ_ISS_OVERRIDE of AXI_TARG7_FN_MOD, on what is older than revision B."""
    emulated = EmulatedBoard(board, build(board, "zig", tmp_path).elf)
    _named(emulated, "DBGMCU").registers[0] = identity
    DeviceClient(emulated).wait_for_boot()
    assert _named(emulated, "AXI_TARG7").registers == written


def _named(board: EmulatedBoard, name: str) -> Peripheral:
    return next(p for p in board.peripherals if p.name == name)


def test_unmapped(board: Board, tmp_path: Path) -> None:
    """SRAM1 has no clock, so it does not answer."""
    model = model_with_invoke("", "    *(volatile unsigned *)0x30000000U = 1U;")
    client = DeviceClient(EmulatedBoard(board, build(board, "zig", tmp_path, model).elf))
    client.wait_for_boot()
    with pytest.raises(BoardError, match="write of 4 bytes at 0x30000000, where the board has nothing"):
        client.run()
