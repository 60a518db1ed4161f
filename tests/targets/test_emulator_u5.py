"""The register models of STM32U575: what they forbid, and what they promise; and what compilers know of its core."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.targets.build import build, model_with_invoke
from tests.targets.test_emulator_registers import Bus
from tests.targets.tools import requires_tool
from tinygen.errors import BoardError
from tinygen.hil.client import DeviceClient
from tinygen.targets.board import Board
from tinygen.targets.boards import list_boards, load_board
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.emulator.core import SCS_BASE
from tinygen.targets.emulator.peripheral import Forbidden
from tinygen.targets.toolchain import find_toolchain

RCC, PWR, FLASH, ICACHE = 0x46020C00, 0x46020800, 0x40022000, 0x40030400
CR, CFGR1, CFGR2, PLL1CFGR, PLL1DIVR = RCC, RCC + 0x1C, RCC + 0x20, RCC + 0x28, RCC + 0x34
AHB2ENR1, AHB3ENR, APB2ENR = RCC + 0x8C, RCC + 0x94, RCC + 0xA4
CR3, VOSR, SVMCR, SVMSR = PWR + 8, PWR + 0x0C, PWR + 0x10, PWR + 0x3C
GPIOA, GPIOG, USART1 = 0x42020000, 0x42021800, 0x40013800
HSION, PLL1ON, BOOSTEN, BOOSTRDY, VOSRDY = 1 << 8, 1 << 24, 1 << 18, 1 << 14, 1 << 15
CONFIG, DIVISORS = 2 | 3 << 8 | 1 << 18, 79 | 1 << 24


def forbidden(rule: str, *steps: Callable[[], object]) -> None:
    """All steps but the last go well."""
    for step in steps[:-1]:
        step()
    with pytest.raises(Forbidden, match=rule):
        steps[-1]()


def powered(vos: int = 3) -> Bus:
    """Power clocked, at a voltage range (3 is range 1), HSI16 ready."""
    bus = Bus("u575zi-q")
    bus.set(AHB3ENR, 4)
    bus.write(VOSR, vos << 16)
    bus.set(CR, HSION)
    bus.wait()
    return bus


def locked(bus: Bus, config: int = CONFIG, divisors: int = DIVISORS, *, boost: bool = True) -> Bus:
    """PLL1 ready, and the booster."""
    bus.write(PLL1CFGR, config)
    bus.write(PLL1DIVR, divisors)
    if boost:
        bus.set(VOSR, BOOSTEN)
    bus.set(CR, PLL1ON)
    bus.wait()
    return bus


def full_speed() -> Bus:
    bus = locked(powered())
    bus.write(FLASH, 4)
    bus.write(CFGR1, 3)
    return bus


def test_full_speed() -> None:
    bus = full_speed()
    assert bus.read(CFGR1) == 3 | 3 << 2
    assert bus.read(CR) & 1 << 25


def test_nothing_is_ready_at_once() -> None:
    bus = Bus("u575zi-q")
    assert bus.read(CR) == 0x35
    bus.set(AHB3ENR, 4)
    bus.write(CR3, 2)
    assert not bus.read(SVMSR) & 2
    bus.write(VOSR, 3 << 16)
    assert not bus.read(VOSR) & VOSRDY
    bus.wait()
    assert bus.read(SVMSR) & 2
    assert bus.read(VOSR) == 3 << 16 | VOSRDY
    bus.set(CR, HSION)
    assert not bus.read(CR) & 1 << 10
    bus.wait()
    bus.write(PLL1CFGR, CONFIG)
    bus.set(VOSR, BOOSTEN)
    assert not bus.read(VOSR) & BOOSTRDY
    bus.wait()
    assert bus.read(VOSR) & BOOSTRDY


@pytest.mark.parametrize(("vos", "most"), [(2, 110), (1, 55)])
def test_core_clock_by_range(vos: int, most: int) -> None:
    bus = locked(powered(vos), boost=vos == 2)
    bus.write(FLASH, 4)
    forbidden(f"HCLK 160000000 Hz, at most {most}000000 in voltage range {4 - vos}", lambda: bus.write(CFGR1, 3))


def test_booster_above_55_mhz() -> None:
    for boosting in (False, True):
        bus = locked(powered(), boost=False)
        bus.write(FLASH, 4)
        if boosting:
            bus.set(VOSR, BOOSTEN)
        rule = "RCC_CFGR1 = 0xf: HCLK 160000000 Hz, at most 55000000 until BOOSTRDY"
        forbidden(rule, lambda bus=bus: bus.write(CFGR1, 3))
    bus = full_speed()
    forbidden("PWR_VOSR = 0x30000: HCLK 160000000 Hz, at most 55000000", lambda: bus.write(VOSR, 3 << 16))


def test_booster_needs_range_and_clock() -> None:
    bus = powered()
    forbidden("PLL1SRC is not MSIS or HSI16", lambda: bus.set(VOSR, BOOSTEN))
    bus.write(PLL1CFGR, CONFIG | 4 << 12)
    forbidden("without a clock of 4 to 16 MHz .* 2000000 Hz", lambda: bus.set(VOSR, BOOSTEN))
    bus.write(PLL1CFGR, CONFIG)
    bus.set(VOSR, BOOSTEN)
    forbidden("booster's clock changed while BOOSTEN is 1", lambda: bus.write(PLL1CFGR, CONFIG | 1 << 12))
    for vos in (1, 0):
        other = powered(vos)
        other.write(PLL1CFGR, CONFIG)
        forbidden("BOOSTEN set before range 1 or 2 is ready", lambda bus=other: bus.set(VOSR, BOOSTEN))


def test_range_in_steps() -> None:
    bus = Bus("u575zi-q")
    forbidden("PWR.0xc = 0x30000: accessed while its clock is off", lambda: bus.write(VOSR, 3 << 16))
    bus.set(AHB3ENR, 4)
    forbidden("VOS changed before VOSRDY", lambda: bus.write(VOSR, 3 << 16), lambda: bus.write(VOSR, 0))


@pytest.mark.parametrize("waits", range(4))
def test_wait_states(waits: int) -> None:
    bus = locked(powered())
    bus.write(FLASH, waits)
    forbidden(f"HCLK 160000000 Hz needs 4 flash wait states, {waits} are set, in range 1", lambda: bus.write(CFGR1, 3))
    forbidden("needs 4 flash wait states", full_speed, lambda: full_speed().write(FLASH, waits))


@pytest.mark.parametrize(
    ("config", "divisors", "rule"),
    [
        (CONFIG & ~(1 << 18), DIVISORS, "output R, which feeds the core, is off"),
        (2 | 1 << 18, DIVISORS, "PLL input 16000000 Hz is not 4000000 to 8000000, as PLL1RGE says"),
        (CONFIG | 3 << 2, DIVISORS, "PLL input 4000000 Hz is not 8000000 to 16000000"),
        (CONFIG, 2 | 1 << 24, "VCO 12000000 Hz, 3 times"),
        (CONFIG, 30, "VCO 124000000 Hz, 31 times: not 4 times or more, 128000000 to 544000000"),
        (CONFIG, 136 | 1 << 24, "VCO 548000000 Hz"),
        (CONFIG | 1, DIVISORS, "PLL1SRC is not MSIS or HSI16"),
    ],
)
def test_pll(config: int, divisors: int, rule: str) -> None:
    forbidden(rule, lambda: locked(powered(), config, divisors, boost=False))


def test_order_of_switching() -> None:
    bus = Bus("u575zi-q")
    forbidden("SW selects a clock that is not ready", lambda: bus.write(CFGR1, 3))
    forbidden("the board has nothing on OSC_IN", lambda: bus.set(CR, 1 << 16))
    bus.write(PLL1CFGR, CONFIG)
    forbidden("PLL1 on before its source is ready", lambda: bus.set(CR, PLL1ON))
    forbidden("PLL1 on in voltage range 4", lambda: locked(powered(0), boost=False))
    bus = full_speed()
    for register in (PLL1CFGR, PLL1DIVR):
        forbidden("written while PLL1 is on", lambda register=register: bus.write(register, 0))
    for needed in (PLL1ON, HSION):
        forbidden("switches off the clock that drives", lambda bit=needed: bus.write(CR, bus.read(CR) & ~bit))


def test_instruction_cache() -> None:
    bus = Bus("u575zi-q")
    assert bus.read(ICACHE) == 4
    bus.write(ICACHE, 5)
    forbidden("WAYSEL changed while the cache is on", lambda: bus.write(ICACHE, 1))


def test_port_g_needs_its_supply() -> None:
    bus = powered()
    bus.set(AHB2ENR1, 1 << 6)
    bus.write(GPIOG, 1 << 4)
    bus.write(GPIOG + 0x18, 1 << 2)
    port = next(p for p in bus.peripherals if p.name == "GPIOG")
    assert not port.is_high(2)  # type: ignore[attr-defined]
    bus.write(SVMCR, 1 << 29)
    assert port.is_high(2)  # type: ignore[attr-defined]


def test_uart() -> None:
    bus = full_speed()
    forbidden("USART1.0x28 = 0x41: accessed while its clock is off", lambda: bus.write(USART1 + 0x28, 0x41))
    bus.set(AHB2ENR1, 1)
    bus.write(GPIOA + 0x24, 0x770)
    bus.write(GPIOA, 0b1010 << 18)
    bus.set(APB2ENR, 1 << 14)
    bus.write(USART1 + 0x0C, 1389)
    bus.write(USART1, 0b1101)
    bus.write(USART1 + 0x28, 0x41)
    assert bytes(bus.uart.sent) == b"A"


def test_core() -> None:
    bus = Bus("u575zi-q")
    assert bus.read(SCS_BASE + 0xD00) == 0x410FD211
    bus.write(SCS_BASE + 0xD14, 3 << 16)
    assert bus.read(SCS_BASE + 0xD14) >> 16 & 3 == 0  # no caches of its own


@pytest.fixture(scope="module")
def board() -> Board:
    return load_board("u575zi-q")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"voltage_scale": 2}, "HCLK 160000000 Hz, at most 110000000 in voltage range 2"),
        ({"flash_wait_states": 3}, "needs 4 flash wait states, 3 are set, in range 1"),
    ],
)
def test_forbidden_clock(board: Board, tmp_path: Path, changes: dict[str, object], rule: str) -> None:
    assert board.clock is not None
    clock = dataclasses.replace(board.clock, **changes)  # type: ignore[arg-type]
    with pytest.raises(BoardError) as caught:
        DeviceClient(
            EmulatedBoard(board, build(dataclasses.replace(board, clock=clock), "zig", tmp_path).elf)
        ).wait_for_boot()
    assert rule in caught.value.what
    assert "clock.c:" in caught.value.where


def test_unmapped(board: Board, tmp_path: Path) -> None:
    model = model_with_invoke("", "    *(volatile unsigned *)0x200C0000U = 1U;")
    client = DeviceClient(EmulatedBoard(board, build(board, "zig", tmp_path, model).elf))
    client.wait_for_boot()
    with pytest.raises(BoardError, match="write of 4 bytes at 0x200c0000, just beyond the end of SRAM3"):
        client.run()


DSP = "#if !defined(__ARM_FEATURE_DSP) || !defined(__ARM_FEATURE_SIMD32)\n#error no DSP extension\n#endif\nint here;\n"
WITH_DSP = [name for name in list_boards() if "dsp" in load_board(name).isa]


@pytest.mark.parametrize("toolchain", ["zig", pytest.param("gcc", marks=requires_tool("arm-none-eabi-gcc"))])
@pytest.mark.parametrize("name", WITH_DSP)
def test_compilers_know_the_dsp_extension(name: str, toolchain: str, tmp_path: Path) -> None:
    """Without it every kernel falls back to plain C: the same results in three times the time."""
    (tmp_path / "dsp.c").write_text(DSP, encoding="utf-8")
    result = find_toolchain(toolchain, load_board(name)).run(["-c", "dsp.c", "-o", "dsp.o"], tmp_path)
    assert result.returncode == 0, result.stderr
