"""Parts: a board file must name one that is known, and is held against that one's limits, whatever C it is built of."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest

from tests.targets.build import build
from tinygen.errors import BoardError
from tinygen.hil.client import DeviceClient
from tinygen.paths import resource
from tinygen.targets.boards import list_boards, load_board
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.emulator.peripheral import Forbidden
from tinygen.targets.emulator.peripherals import board_peripherals
from tinygen.targets.parts import Part, find_part, known_parts, part_of
from tinygen.targets.parts.known import ALL

ROOT = Path(__file__).parents[2]
VOLTAGE = "firmware/stm32f4/voltage_f4"


def copied(name: str, folder: Path, *changes: tuple[str, str]) -> Path:
    """A user's board file: a copy of one of ours with other text in it."""
    text = (resource("boards") / f"{name}.yaml").read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path) -> BoardError:
    with pytest.raises(BoardError) as caught:
        load_board(path)
    return caught.value


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (("part: STM32F746ZG\n", ""), "the key is missing"),
        (("part: STM32F746ZG", "part: STM32F401RE"), "'STM32F401RE' is not a part whose limits tinygen knows"),
        (("part: STM32F746ZG", "part: STM32F746"), "'STM32F746' is not a part"),
        (("part: STM32F746ZG", "part: STM32F746ZI"), "'STM32F746ZI' is not a part"),
    ],
)
def test_a_part_that_is_missing_or_unknown(tmp_path: Path, change: tuple[str, str], what: str) -> None:
    """The answer says what to write, which parts there are, and what to do about another one."""
    error = refused(copied("f746zg", tmp_path, change))
    assert error.where == f"{tmp_path / 'mine.yaml'}: part" and what in error.what
    for said in ("Write `part:`", "STM32F746xE/G", "ESP32-C3", "tinygen/targets/parts/", "`engine: none`"):
        assert said in error.fix


def test_without_an_emulated_board_an_unknown_part_is_nobodys_business(tmp_path: Path) -> None:
    changes = ("part: STM32F746ZG", "part: STM32F401RE"), ("engine: unicorn", "engine: none")
    board = load_board(copied("f746zg", tmp_path, *changes))
    with pytest.raises(BoardError, match="STM32F401RE") as caught:
        board_peripherals(board, lambda: 0)
    assert "STM32F746xE/G" in caught.value.fix


@pytest.mark.parametrize(
    ("name", "changes", "where", "what", "fix"),
    [
        (
            "f411re",
            [("part: STM32F411RE", "part: STM32F405RG")],
            "sources",
            f"{VOLTAGE}11.c is not for STM32F405RG",
            f"{VOLTAGE}05.c",
        ),
        ("f411re", [(f"  - {VOLTAGE}11.c\n", "")], "sources", f"is started by {VOLTAGE}11.c, too", "Add"),
        (
            "l476rg",
            [(", firmware/stm32l4/l476]", "]")],
            "include_dirs",
            "is started by firmware/stm32l4/l476, too",
            "Add",
        ),
        (
            "netduinoplus2",
            [("part: STM32F405RG", "part: STM32F411RE")],
            "memories",
            "STM32F411RE has no flash of 0x100000 bytes at 0x8000000 (FLASH)",
            "flash 0x8000000 to 0x807ffff",
        ),
        (
            "f411re",
            [("size: 0x20000\n", "size: 0x30000\n")],
            "memories",
            "STM32F411RE has no ram of 0x30000 bytes",
            "ram 0x20000000 to 0x2001ffff",
        ),
        ("f746zg", [("core: cortex-m7", "core: cortex-m4")], "core", "has a cortex-m7, not a cortex-m4", "cortex-m7"),
        ("f746zg", [("fpu-sp,", "fpu-sp, fpu-dp,")], "isa", "STM32F746ZG lacks fpu-dp", "dsp, fpu-sp, dual-issue"),
        (
            "f411re",
            [("engine: unicorn", "engine: qemu\n  qemu_machine: netduinoplus2")],
            "emulator.qemu_machine",
            "netduinoplus2 has another part than STM32F411RE",
            "Leave it out",
        ),
        (
            "f411re",
            [("stm32f411ceu6", "stm32f405")],
            "emulator.labwired_chip",
            "stm32f405 has another part than STM32F411RE",
            "With it: stm32f411ceu6",
        ),
        (
            "esp32c3",
            [("  source_hz: 160000000\n  sysclk_hz: 160000000", "  source_hz: 80000000\n  sysclk_hz: 80000000")],
            "clock.sysclk_hz",
            "ESP32-C3 sets 160000000 Hz, not 80000000",
            "160000000",
        ),
    ],
)
def test_facts_of_another_part(
    tmp_path: Path, name: str, changes: list[tuple[str, str]], where: str, what: str, fix: str
) -> None:
    error = refused(copied(name, tmp_path, *changes))
    assert error.where == f"{tmp_path / 'mine.yaml'}: {where}"
    assert what in error.what and fix in error.fix


def test_limits_are_the_parts_whatever_start_up_code_the_board_has() -> None:
    """Scale 1 of an F411 is written 3, which an F405 reserves."""
    f411 = load_board("f411re")
    for part, reserved in (("STM32F411RE", 0), ("STM32F405RG", 3), ("STM32F407VG", 2)):
        peripherals, _ = board_peripherals(dataclasses.replace(f411, part=part), lambda: 0)
        rcc, power = (next(p for p in peripherals if p.name == name) for name in ("RCC", "PWR"))
        rcc.store(0x40, 4, 1 << 28)
        with pytest.raises(Forbidden, match=f"VOS = {reserved} is reserved"):
            power.store(0x00, 4, reserved << 14)


TOO_FAST = [
    ("f411re", ("n: 100", "n: 102"), 102, "PLL output 102000000 Hz is not 24000000 to 100000000"),
    ("netduinoplus2", ("n: 336", "n: 340"), 170, "PLL output 170000000 Hz is not 24000000 to 168000000"),
    ("f746zg", ("n: 216", "n: 220"), 220, "VCO 440000000 Hz is not 100000000 to 432000000"),
    ("f767zi", ("over_drive: true", "over_drive: false"), 216, "HCLK 216000000 Hz, at most 180000000 without"),
    ("l476rg", ("n: 20", "n: 22"), 88, "PLL output 88000000 Hz, at most 80000000"),
    ("l4r5zi", ("n: 60", "n: 61"), 122, "PLL output 122000000 Hz, at most 120000000"),
    ("g474re", ("n: 85", "n: 86"), 172, "PLL output 172000000 Hz, at most 170000000"),
    ("h743zi", ("n: 240", "n: 242"), 484, "VCO 968000000 Hz from 4000000 is not 192000000 to 960000000"),
    ("u575zi-q", ("n: 80", "n: 82"), 164, "HCLK 164000000 Hz, at most 160000000 in voltage range 1"),
]


@pytest.mark.parametrize(
    ("name", "change", "mhz", "rule"),
    [case if case[0] == "f411re" else pytest.param(*case, marks=pytest.mark.long) for case in TOO_FAST],
)
def test_a_clock_that_the_part_does_not_allow(
    tmp_path: Path, name: str, change: tuple[str, str], mhz: int, rule: str
) -> None:
    """The user's board file is well formed; its firmware breaks its part's rule in the emulated board."""
    was = load_board(name).core_hz
    path = copied(name, tmp_path, change, (f"sysclk_hz: {was}", f"sysclk_hz: {mhz}000000"))
    board = load_board(path)
    with pytest.raises(BoardError) as caught:
        DeviceClient(EmulatedBoard(board, build(board, "zig", tmp_path / "built").elf)).wait_for_boot()
    assert rule in caught.value.what


def test_an_order_code_may_go_on() -> None:
    ours = find_part("STM32F746ZG")
    assert ours is not None
    for name in ("STM32F746ZGT6", "STM32F746NGH6", "STM32L4R5ZIT6P"):
        assert find_part(name) is not None
    flash = [(area.origin, area.size) for area in ours.areas if area.kind == "flash"]
    assert flash == [(0x08000000, 1 << 20), (0x00200000, 1 << 20)]
    assert find_part("STM32F746Z") is find_part("stm32f746zg") is find_part("ESP32-C3X") is None


@pytest.mark.parametrize("part", ALL, ids=lambda part: part.name)
def test_every_entry(part: Part) -> None:
    """It has sources, memory that does not overlap, start-up code that exists, and a line in the page on boards."""
    assert part.source and part.flash_bytes
    assert f"| {part.code} | {part.source} |" in (ROOT / "docs" / "boards.md").read_text(encoding="utf-8")
    assert part.code in known_parts()
    areas = sorted(part.areas, key=lambda area: area.origin)
    assert all(low.origin + low.size <= high.origin for low, high in itertools.pairwise(areas))
    assert all((ROOT / path).exists() for path in part.start_up)


def test_every_board_of_ours_has_a_part_that_its_title_names() -> None:
    for name in list_boards():
        board = load_board(name)
        if not board.is_host:
            assert part_of(board).name == board.part
            assert board.part in board.title.replace("Arm MPS2 ", ""), name
