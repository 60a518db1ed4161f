"""The PLL of ESP32-C3 and -C6 is off at first: each step that the firmware leaves out is seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.targets.build import build
from tinygen.errors import BoardError
from tinygen.targets.boards import load_board
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.emulator.esp32 import EspUart
from tinygen.targets.emulator.esp32_pll import CALIBRATION_SECONDS, AnalogC3, AnalogC6, Pll
from tinygen.targets.emulator.peripheral import Peripheral

CHIPS = ("esp32c3", "esp32c6")
PLL, REGULATORS, LOW_POWER, BIAS = 0x66, 0x6D, 0x61, 0x6A


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {chip: build(load_board(chip), "zig", tmp_path_factory.mktemp(chip)).elf for chip in CHIPS}


def pll_of(board: EmulatedBoard) -> Pll:
    return next(p.pll for p in board.peripherals if isinstance(p, (AnalogC3, AnalogC6)))


def lose(peripheral: Peripheral, offset: int, bits: int) -> None:
    """As if the firmware did not write there where any of `bits` are concerned: what they are stays."""
    write = peripheral.write

    def lossy(at: int, value: int) -> None:
        if at == offset:
            value = value & ~bits | peripheral.read(at) & bits
        write(at, value)

    peripheral.write = lossy  # type: ignore[method-assign]


# Peripheral, register, bits; and what comes of it when the firmware does not change them.
STEPS: dict[str, list[tuple[str, int, int, str]]] = {
    "esp32c3": [
        ("RTC_CNTL", 0x00, 1 << 10, "does not answer"),
        ("RTC_CNTL", 0x00, 1 << 8, "does not answer"),
        ("RTC_CNTL", 0x00, 1 << 6, "does not answer"),
        ("I2C_MST", 0x44, 1 << 17, "does not answer"),
        ("I2C_MST", 0x40, 1 << 3, "it is not calibrated"),
        ("I2C_MST", 0x40, 1 << 2, "it is not calibrated"),
    ],
    "esp32c6": [
        ("PMU", 0xCC, 1 << 30, "does not answer"),
        ("PMU", 0xCC, 1 << 29, "does not answer"),
        ("PMU", 0xCC, 1 << 28, "does not answer"),
        ("PMU", 0xCC, 1 << 25, "does not answer"),
        ("PMU", 0x0C, 3 << 30, "the bus of the analogue blocks has no clock"),
        ("PMU", 0xD0, 1 << 28, "the bus of the analogue blocks has no clock"),
        ("PMU", 0xDC, 1 << 31, "the bus of the analogue blocks has no clock"),
        ("MODEM_LPCON", 0x18, 1 << 2, "the bus of the analogue blocks has no clock"),
        ("MODEM_LPCON", 0x20, 15 << 24, "the bus of the analogue blocks has no clock"),
        ("MODEM_LPCON", 0x20, 15 << 28, "the bus of the analogue blocks has no clock"),
        ("MODEM_SYSCON", 0x0C, 15 << 28, "the bus of the analogue blocks has no clock"),
        ("I2C_ANA_MST", 0x1C, 1 << 7, "does not answer"),
        ("I2C_ANA_MST", 0x18, 1 << 3, "is not calibrated in time"),
        ("I2C_ANA_MST", 0x18, 1 << 2, "is not calibrated in time"),
    ],
}
SETTINGS = [(chip, at) for chip in CHIPS for at in (2, 3, 4, 5, 6, 9) if (chip, at) != ("esp32c6", 4)]


def outcome(board: EmulatedBoard) -> str:
    """What the board says of its clock; or why it stood still."""
    assert isinstance(board.uart, EspUart)
    try:
        said = board.read(600, timeout=0.05).decode()
    except BoardError as error:
        return str(error)
    assert board.uart.core_hz() == (40_000_000 if "e-[clock: " in said else 160_000_000)
    return said


@pytest.mark.parametrize("chip", CHIPS)
def test_it_runs(chip: str, plain: dict[str, Path]) -> None:
    board = EmulatedBoard(load_board(chip), plain[chip])
    assert pll_of(board).problem() != ""
    assert "m-tg-boot" in (said := outcome(board)) and "e-[" not in said
    assert pll_of(board).problem() == ""


@pytest.mark.parametrize(
    ("chip", "name", "offset", "bits", "why"), [(chip, *step) for chip, steps in STEPS.items() for step in steps]
)
def test_a_step_that_is_left_out(
    chip: str, name: str, offset: int, bits: int, why: str, plain: dict[str, Path]
) -> None:
    board = EmulatedBoard(load_board(chip), plain[chip])
    lose(next(p for p in board.peripherals if p.name == name), offset, bits)
    assert why in outcome(board)


@pytest.mark.parametrize(("chip", "at"), SETTINGS)
def test_a_register_that_is_left_out(chip: str, at: int, plain: dict[str, Path]) -> None:
    board = EmulatedBoard(load_board(chip), plain[chip])
    pll = pll_of(board)
    write = pll.write

    def lossy(block: int, number: int, value: int) -> None:
        if (block, number) != (PLL, at):
            write(block, number, value)

    pll.write = lossy  # type: ignore[method-assign]
    assert ("does not answer" if at == 3 else f"its register {at} is 0xff") in outcome(board)


@pytest.mark.parametrize("chip", CHIPS)
def test_other_bits_are_kept(chip: str, plain: dict[str, Path]) -> None:
    board = EmulatedBoard(load_board(chip), plain[chip])
    outcome(board)
    assert pll_of(board).read(PLL, 5) == 0xFF & ~0x77 and pll_of(board).read(PLL, 9) == 0xFE


def test_calibration_takes_its_time() -> None:
    now = [0.0]
    pll = Pll({}, seconds=lambda: now[0], settles=CALIBRATION_SECONDS)
    pll.calibrate(True)
    assert pll.problem() == "it is not calibrated"
    pll.calibrate(False)
    now[0] = 2 * CALIBRATION_SECONDS
    assert not pll.is_calibrated()  # it was stopped too early
    pll.calibrate(True)
    now[0] += CALIBRATION_SECONDS
    pll.calibrate(False)
    assert pll.is_calibrated() and pll.problem() == ""


def efuses(minor: int, core: int, measured: Callable[[str], int]) -> dict[int, int]:
    """Block 1 of an ESP32-C3's fuses (efuse_reg.h): revision 0.`minor`, and what the factory has measured."""
    v_core = measured("core at 20")
    return {
        0x50: (minor & 7) << 18,
        0x54: measured("step") << 7 | measured("core step") << 14 | measured("at 20") << 21 | (v_core & 7) << 29,
        0x58: v_core >> 3 | core << 5 | (minor >> 3) << 23,
    }


# Worked out by hand from rtc_init.c: core = fuse + 4, at most 31; the always-on part reaches the core's less 25 mV.
TRIMS: list[tuple[int, int, dict[str, int], int, int]] = [
    (2, 20, {}, 28, 28),  # an early chip: the fuses do not count
    (3, 0, {}, 28, 28),  # nothing burnt
    (3, 20, {}, 24, 24),  # 10860 + 4 * 213 - 250 = 11462; 10800 + 3 * 215 is too little
    (4, 30, {}, 31, 31),  # 10860 + 11 * 213 - 250 = 12953; 10800 + 11 * 215 = 13165, a step less is 12950
    (11, 20, {"at 20": 0x80 | 30}, 24, 26),  # the always-on part gives 10200 at 20: 6 * 215 more are enough
    (4, 20, {"core at 20": 10, "core step": 7, "step": 64 | 15}, 24, 25),  # 11060 + 4 * 220 - 250; 10800 + 5 * 200
]


@pytest.mark.parametrize(("minor", "fuse", "measured", "core", "always_on"), TRIMS)
def test_regulators(
    minor: int, fuse: int, measured: dict[str, int], core: int, always_on: int, plain: dict[str, Path]
) -> None:
    board = EmulatedBoard(load_board("esp32c3"), plain["esp32c3"])
    pll = pll_of(board)
    pll.registers.update({(LOW_POWER, 0): 0, (BIAS, 1): 0xA0, (REGULATORS, 4): 0xE0, (REGULATORS, 6): 0x60})
    fuses = next(p for p in board.peripherals if p.name == "EFUSE")
    fuses.registers.update(efuses(minor, fuse, lambda name: measured.get(name, 0)))
    assert "e-[" not in outcome(board)
    assert pll.read(REGULATORS, 6) == 0x60 | core and pll.read(REGULATORS, 4) == 0xE0 | always_on
    assert pll.read(LOW_POWER, 0) == (1 << 4 if minor <= 3 else 0)
    assert pll.read(BIAS, 1) == (0xAC if minor <= 3 else 0xA0)
