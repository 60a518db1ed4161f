"""Board files: the facts in ours, and what is said about wrong ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tinygen.errors import BoardError
from tinygen.paths import resource
from tinygen.project.firmware import rcc_cfgr_dividers
from tinygen.targets.boards import list_boards, load_board

TEXT = (resource("boards") / "f746zg.yaml").read_text(encoding="utf-8")


def test_the_boards_are_listed_by_name() -> None:
    names = list(list_boards())
    assert names == sorted(names)
    assert {"disco-f746ng", "f411re", "f746zg", "f767zi", "g474re", "host", "l476rg", "l4r5zi"} <= set(names)
    assert all(load_board(name).name == name for name in list_boards())


def test_f746zg_has_one_contiguous_ram_over_three_memories() -> None:
    board = load_board("f746zg")
    assert (board.link_ram.origin, board.link_ram.size) == (0x20000000, 320 * 1024)
    assert (board.link_flash.origin, board.flash_bytes) == (0x08000000, 1 << 20)
    assert board.core_hz == 216_000_000
    assert str(board.uart.tx if board.uart else "") == "PD8"


def test_a_gap_ends_the_linked_ram() -> None:
    board = load_board("netduinoplus2")
    assert board.ram_bytes == 128 * 1024
    assert board.memory("CCM").use == ()


def test_what_lies_behind_a_gap_is_not_linked(tmp_path: Path) -> None:
    assert TEXT.count("size: 0x3C000") == 1
    path = tmp_path / "gap.yaml"
    path.write_text(TEXT.replace("size: 0x3C000", "size: 0x38000"), encoding="utf-8")
    assert load_board(path).ram_bytes == 0x10000 + 0x38000


def test_the_core_runs_at_the_divided_clock() -> None:
    clock = load_board("f746zg").clock
    assert clock is not None and replace(clock, ahb_div=4).hclk_hz == clock.sysclk_hz // 4


@pytest.mark.parametrize(("name", "kbytes"), [("f767zi", 512), ("disco-f746ng", 320), ("l476rg", 96), ("g474re", 128)])
def test_ram_that_is_linked(name: str, kbytes: int) -> None:
    """TCM and SRAM in one, and G474's CCM, which is behind the rest, too; but not L476's SRAM2, which is elsewhere."""
    board = load_board(name)
    assert (board.link_ram.origin, board.ram_bytes) == (0x20000000, kbytes * 1024)


def test_the_host_has_no_memories_of_its_own() -> None:
    board = load_board("host")
    assert board.is_host and board.ram_bytes == 0 and board.core_hz == 0


def test_clock_dividers_are_those_of_the_reference_manual() -> None:
    clock = load_board("f746zg").clock
    assert clock is not None
    # RM0385 5.3.3: PPRE1 = 101 (divided by 4) at bit 10, PPRE2 = 100 (by 2) at bit 13, HPRE = 0 (not divided)
    assert rcc_cfgr_dividers(clock) == (0b101 << 10) | (0b100 << 13)


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ("baud: 115200", "baud: fast", "uart.baud", "'fast' is not an integer"),
        ("baud: 115200", "baud: 0", "uart.baud", "out of range"),
        ("tx: PD8", "tx: PD16", "uart.tx", "'PD16' is not a pin"),
        ("tx: PD8", "txx: PD8", "uart.txx", "unknown"),
        ("core: cortex-m7", "kernel: cortex-m7", "core", "missing"),
        ("isa: [c99, dsp, fpu-sp, dual-issue]", "isa: [c99, avx]", "isa", "'avx' does not belong"),
        ("kind: flash", "kind: rom", "memories[0].kind", "'rom' is unknown"),
        ("origin: 0x20010000", "origin: 0x20008000", "memories", "DTCM and SRAM1 overlap"),
        ("use: [stack, data]", "use: [data]", "memories", "no ram memory is for stack"),
        ("n: 216", "n: 200", "clock.sysclk_hz", "give 200000000 Hz"),
        ("apb1_div: 4", "apb1_div: 5", "clock.apb1_div", "not a divider"),
        ("ahb_div: 1", "ahb_div: 1\n  axi_div: 3", "clock.axi_div", "not a divider"),
        ("stack_bytes: 4096", "stack_bytes: 4100", "stack_bytes", "multiple of 8"),
        ("stack_bytes: 4096", "stack_bytes: 327680", "stack_bytes", "all the RAM"),
        ("engine: unicorn", "engine: magic", "emulator.engine", "'magic' is unknown"),
        ("name: f746zg", "name: F 746", "name", "is not a name"),
        ("volts: 3.3", "volts: 3.3\n  interval: 30", "run_current.interval", "no fraction"),
        ("volts: 3.3", "volts: 3.3\n  interval: 1", "run_current.interval", "no fraction"),
        ("bytes: 4096", "bytes: 4000", "timing.code_cache.bytes", "no cache"),
        ("line: 32", "line: 48", "timing.code_cache.line", "no cache"),
        ("ways: 2", "ways: 0", "timing.code_cache.ways", "out of range"),
        ("{FLASH: 8}", "{FLASHH: 8}", "timing.code_cache.miss_cycles.FLASHH", "unknown"),
        ("{FLASH: 8}", "{}", "timing.code_cache.miss_cycles", "0 memories"),
        ("data_cache:", "data_cash:", "timing.data_cache", "missing"),
        ("clock:", "clock: 7\nother:", "clock", "not a mapping"),
    ],
)
def test_a_wrong_file_is_refused_with_file_key_and_reason(
    tmp_path: Path, old: str, new: str, where: str, what: str
) -> None:
    path = tmp_path / "mine.yaml"
    assert old in TEXT
    path.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BoardError) as caught:
        load_board(path)
    assert caught.value.where == f"{path}: {where}"
    assert what in caught.value.what
    assert caught.value.fix


@pytest.mark.parametrize("text", ["", "- a\n", "a: [", "\x00"])
def test_what_is_no_board_file_at_all_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BoardError):
        load_board(path)


def test_a_misspelt_key_is_answered_with_the_right_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT.replace("stack_bytes:", "stack_byte:"), encoding="utf-8")
    with pytest.raises(BoardError, match="missing"):
        load_board(path)
    path.write_text(TEXT + "platfromio: null\n", encoding="utf-8")
    with pytest.raises(BoardError) as caught:
        load_board(path)
    assert caught.value.fix == "Did you mean `platformio`?"


def test_an_unknown_board_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match="no board called nucleo") as caught:
        load_board("nucleo")
    assert "f746zg" in caught.value.fix
    with pytest.raises(BoardError, match="no such file"):
        load_board(tmp_path / "absent.yaml")
