"""Instructions and addresses that a real core faults on, and Unicorn alone would let pass."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.targets.build import build, model_with_invoke
from tinygen.errors import BoardError
from tinygen.hil.client import DeviceClient
from tinygen.targets.board import Board, Memory
from tinygen.targets.boards import load_board
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.emulator.faults import Fault, describe_access


@pytest.fixture(scope="module")
def board() -> Board:
    return load_board("f746zg")


def crash(board: Board, folder: Path, body: str) -> BoardError:
    """The error of a model whose inference is `body`."""
    elf = build(board, "zig", folder, model_with_invoke("", body)).elf
    client = DeviceClient(EmulatedBoard(board, elf))
    client.wait_for_boot()
    with pytest.raises(BoardError) as caught:
        client.run()
    return caught.value


@pytest.mark.parametrize(
    "instruction",
    ["ldm r3, {r0, r1}", "ldrd r0, r1, [r3]", "strd r0, r1, [r3, #8]", "vldr s0, [r3]", "vstmia r3, {d0}"],
)
def test_unaligned(board: Board, tmp_path: Path, instruction: str) -> None:
    clobbered = '"r0", "r1", "r3", "s0", "memory"'
    body = f'    __asm volatile("ldr r3, =0x20008002\\n {instruction}\\n" ::: {clobbered});'
    error = crash(board, tmp_path, body)
    assert "unaligned access through 0x20008002: this instruction needs a multiple of 4" in error.what


def test_plain_loads_may_be_unaligned(board: Board, tmp_path: Path) -> None:
    body = '    __asm volatile("ldr r3, =0x20008002\\n ldr r0, [r3]\\n strh r0, [r3, #1]" ::: "r0", "r3", "memory");'
    client = DeviceClient(EmulatedBoard(board, build(board, "zig", tmp_path, model_with_invoke("", body)).elf))
    client.wait_for_boot()
    client.run()


def test_double_precision_on_a_single_precision_core(board: Board, tmp_path: Path) -> None:
    # vadd.f64 d0, d0, d0, as halfwords: the assembler refuses it for this core.
    error = crash(board, tmp_path, '    __asm volatile(".short 0xee30, 0x0b00");')
    assert "FPU has single precision only" in error.what
    assert error.where.startswith("f746zg: invoke (app_model.c:")


def test_double_precision_where_the_fpu_has_it(tmp_path: Path) -> None:
    """The compiler uses it, and the result is right."""
    f767 = load_board("f767zi")
    body = (
        '    volatile double x = 0.1;\n    __asm volatile("vadd.f64 d0, d0, d0" ::: "d0");\n'
        "    if (x * 3.0 != 0x1.3333333333334p-2) { __builtin_trap(); }"
    )
    client = DeviceClient(EmulatedBoard(f767, build(f767, "zig", tmp_path, model_with_invoke("", body)).elf))
    client.wait_for_boot()
    client.run()


def test_an_address_without_thumb_bit(board: Board, tmp_path: Path) -> None:
    error = crash(board, tmp_path, '    __asm volatile("ldr r3, =0x08000400\\n blx r3" ::: "r3", "lr");')
    assert "not in Thumb state" in error.what
    assert "called from invoke (app_model.c:" in error.fix


def test_a_dead_board_stays_dead(board: Board, tmp_path: Path) -> None:
    elf = build(board, "zig", tmp_path, model_with_invoke("", '    __asm volatile(".short 0xde00");')).elf
    emulated = EmulatedBoard(board, elf)
    client = DeviceClient(emulated)
    client.wait_for_boot()
    with pytest.raises(BoardError, match="undefined instruction") as first:
        client.run()
    executed = emulated.instructions
    with pytest.raises(BoardError) as second:
        client.info()
    assert second.value is first.value and emulated.instructions == executed


def test_a_sleeping_core_is_only_silent(board: Board, tmp_path: Path) -> None:
    elf = build(board, "zig", tmp_path, model_with_invoke("", '    for (;;) { __asm volatile("wfi"); }')).elf
    emulated = EmulatedBoard(board, elf)
    DeviceClient(emulated).wait_for_boot()
    emulated.write(b"tg-run%")
    assert emulated.read(1, timeout=3600.0) == b""


def test_the_fpu_must_be_enabled(board: Board, tmp_path: Path) -> None:
    """Without CPACR, what the compiler may use anywhere faults; here it is used before the firmware enables it."""
    elf = build(board, "zig", tmp_path, model_with_invoke("", '    __asm volatile("vmov s0, r0" ::: "s0");')).elf
    emulated = EmulatedBoard(board, elf)
    DeviceClient(emulated).wait_for_boot()
    emulated._fpu_switched(False)
    emulated.write(b"tg-run%")
    with pytest.raises(BoardError, match="CPACR does not enable the FPU"):
        emulated.read(1, timeout=1.0)


def test_an_interrupt_is_refused(board: Board, tmp_path: Path) -> None:
    error = crash(board, tmp_path, "    *(volatile uint32_t *)(uintptr_t)0xE000E100U = 1U;")
    assert "NVIC_ISER0 = 0x1: enables an interrupt" in error.what


def test_a_peripheral_without_clock(board: Board, tmp_path: Path) -> None:
    error = crash(board, tmp_path, "    *(volatile uint32_t *)(uintptr_t)0x40020800U = 1U;")
    assert "GPIOC+0x0 = 0x1: accessed while its clock is off in RCC (RM0385 5.3)" in error.what


def test_aliases_are_the_same_memory(board: Board, tmp_path: Path) -> None:
    twice = dataclasses.replace(board.memory("SRAM2"), aliases=(0x60000000,))
    memories = tuple(twice if memory.name == "SRAM2" else memory for memory in board.memories)
    body = "    *(volatile uint32_t *)(uintptr_t)0x60000100U = 0x12345678U;"
    elf = build(board, "zig", tmp_path, model_with_invoke("", body)).elf
    emulated = EmulatedBoard(dataclasses.replace(board, memories=memories), elf)
    client = DeviceClient(emulated)
    client.wait_for_boot()
    client.run()
    assert emulated.memories.read(twice.origin + 0x100, 4) == bytes.fromhex("78563412")


def test_firmware_for_another_board(tmp_path: Path) -> None:
    elf = build(load_board("mps2-an500"), "zig", tmp_path).elf
    flash = Memory("FLASH", 0, 0x1000, "flash", ("code",))
    ram = Memory("RAM", 0x20000000, 0x1000, "ram", ("stack",))
    small = dataclasses.replace(load_board("mps2-an500"), memories=(flash, ram))
    with pytest.raises(BoardError, match=r"cannot be flashed: .* beyond FLASH"):
        EmulatedBoard(small, elf)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (0x1FFFFFFC, "4 bytes before the start of DTCM (0x20000000-0x2000ffff)"),
        (0x20050010, "16 bytes beyond the end of SRAM2 (0x2004c000-0x2004ffff)"),
        (0x00300000, "just beyond the end of FLASH (0x00200000-0x002fffff)"),
        (0xA0000000, "where the board has nothing"),
        (0x2004FFFE, "across the end of SRAM2"),
    ],
)
def test_where_an_access_went(board: Board, address: int, text: str) -> None:
    assert describe_access(board.memories, Fault("read", address, 4)) == f"read of 4 bytes at {address:#010x}, {text}"
