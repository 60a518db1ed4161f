"""Memory stalls while code runs, looked up in C and in Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.targets.build import build
from tinygen.hil.client import DeviceClient
from tinygen.targets.board import CacheTiming, MemoryTiming
from tinygen.targets.boards import load_board
from tinygen.targets.cycles import board_cost, core_cost
from tinygen.targets.emulator import BareCore, EmulatedBoard, Profile
from tinygen.targets.emulator.counting import BlockRow, Watch

WEIGHTS, STREAM = 0x08000000, 16384
TIMING = MemoryTiming(
    code=CacheTiming(4096, 32, 2, ((0x10000, 0x20000, 8),)),
    data=CacheTiming(4096, 32, 4, ((WEIGHTS, WEIGHTS + STREAM, 9),)),
)
SOURCE = """
.syntax unified
.thumb
.globl sum, chase
.type sum, %function
.type chase, %function
.p2align 5
sum:                        /* r1 bytes at r0 */
    movs r2, #0
1:  ldrsb.w r3, [r0], #1
    add r2, r3
    subs r1, r1, #1
    bne 1b
    mov r0, r2
    bx lr
.size sum, . - sum
.p2align 5
chase:                      /* a word at the address in the word at r0: the second address is not known */
    ldr r0, [r0]
    ldr r0, [r0]
    bx lr
.size chase, . - chase
"""


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    (folder / "x.s").write_text(SOURCE)
    (folder / "x.ld").write_text("ENTRY(sum) SECTIONS { . = 0x10000; .text : { KEEP(*(.text*)) } }")
    command = [
        sys.executable,
        "-m",
        "ziglang",
        "cc",
        "-target",
        "thumb-freestanding-eabihf",
        "-mcpu=cortex_m7+fp_armv8d16sp",
        "-nostdlib",
        "-Wl,-e,sum",
        "-Wl,-T,x.ld",
        "-Wl,--no-gc-sections",
        "x.s",
        "-o",
        "x.elf",
    ]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "x.elf"


def prepared(elf: Path, native: bool) -> BareCore:
    core: BareCore
    cost = core_cost("cortex-m7", lambda address, size: core.read(address, size), timing=TIMING)
    core = BareCore(elf, watch=Watch(cost=cost, native=native))
    core.map("weights", WEIGHTS, STREAM, writable=False)
    core.map("ram", 0x20000000, STREAM)
    return core


def stalls(core: BareCore, function: str, *arguments: int) -> int:
    core.clear_blocks()
    core.call(function, *arguments)
    return sum(row.stalls for row in core.blocks())


@pytest.mark.parametrize("native", [True, False])
def test_stalls(elf: Path, native: bool) -> None:
    core = prepared(elf, native)
    # Code: one line of 32 bytes, 8. Data: one miss of 9 for 32 bytes.
    assert stalls(core, "sum", WEIGHTS, 2048) == 8 + 2048 // 32 * 9
    assert stalls(core, "sum", WEIGHTS, 2048) == 0
    assert stalls(core, "sum", WEIGHTS, STREAM) == (STREAM - 2048) // 32 * 9
    assert stalls(core, "sum", WEIGHTS, STREAM) == STREAM // 32 * 9  # four times the cache: nothing is left
    assert stalls(core, "sum", 0x20000000, STREAM) == 0
    before = core.cycles
    assert stalls(core, "sum", WEIGHTS, 32) == 9
    rows = sum(row.cycles * row.passes + row.stalls for row in core.blocks())
    assert core.cycles - before == rows


@pytest.mark.parametrize("native", [True, False])
def test_an_unknown_address_counts_as_a_hit(elf: Path, native: bool) -> None:
    core = prepared(elf, native)
    core.write(0x20000000, (WEIGHTS + 64).to_bytes(4, "little"))
    assert stalls(core, "chase", 0x20000000) == 8  # the code's line alone
    core.write(WEIGHTS, (WEIGHTS + 64).to_bytes(4, "little"))
    assert stalls(core, "chase", WEIGHTS) == 9


def test_in_c_and_in_python_the_same_on_a_board(tmp_path: Path) -> None:
    board = load_board("f746zg")
    elf = build(board, "zig", tmp_path).elf

    def profile(native: bool) -> tuple[Profile, list[BlockRow]]:
        emulated = EmulatedBoard(board, elf, Watch(cost=board_cost(board, elf), native=native))
        client = DeviceClient(emulated, nonce=0)
        client.wait_for_boot()
        client.load(0, bytes(range(16)))
        boot = sorted(emulated.counter.rows())
        emulated.clear_profile()
        layers, _ = client.profile()
        return emulated.profile(len(layers)), boot

    in_c, in_python = profile(True), profile(False)
    assert in_c == in_python
    assert sum(row.stalls for row in in_c[1]) > 0
    assert 0 < in_c[0].cycles != in_c[0].instructions
