"""Calls of single functions, without firmware."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tinygen.errors import BoardError
from tinygen.targets.emulator import BareCore
from tinygen.targets.emulator.counting import Watch

SOURCE = """
#include <stdint.h>
int32_t table[3] = {10, 20, 30};
const int32_t fixed[2] = {5, 7};
static int32_t calls;
int32_t six(int32_t a, int32_t b, int32_t c, int32_t d, int32_t e, int32_t f)
{
    calls++;
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f;
}
int32_t called(void) { return calls; }
int32_t sum(const int8_t *x, uint32_t n)
{
    int32_t s = 0;
    for (uint32_t i = 0; i < n; i++) { s += x[i]; }
    return s + table[1] + fixed[0];
}
float half(int32_t x);
int32_t halves(int32_t x) { return (int32_t)((float)x * 0.5F); }
uint32_t deep(uint32_t n) { volatile uint32_t pad[64]; pad[0] = n; return pad[0] == 0 ? 0 : deep(n - 1) + pad[0]; }
void forever(void) { for (volatile int i = 0;;) { (void)i; } }
void stray(volatile uint32_t *p) { *p = 1; }
"""
SCRIPT = """
ENTRY(six)
SECTIONS {
    . = 0x10000;
    .text : { KEEP(*(.text*)) KEEP(*(.rodata*)) }
    . = 0x20000000;
    .data : { KEEP(*(.data*)) }
    .bss (NOLOAD) : { *(.bss*) }
}
"""


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bare")
    (folder / "x.c").write_text(SOURCE)
    (folder / "x.ld").write_text(SCRIPT)
    command = [
        sys.executable,
        "-m",
        "ziglang",
        "cc",
        "-target",
        "thumb-freestanding-eabihf",
        "-mcpu=cortex_m7+fp_armv8d16sp",
        "-O1",
        "-g",
        "-ffreestanding",
        "-nostdlib",
        "-Wl,-e,six",
        "-Wl,-T,x.ld",
        "-Wl,--no-gc-sections",
        "x.c",
        "-o",
        "x.elf",
    ]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "x.elf"


def test_arguments_and_result(elf: Path) -> None:
    core = BareCore(elf)
    assert core.call("six", 1, 2, 3, 4, 5, 6) == 91
    assert core.call("six", -1, 0, 0, 0, 0, 0) == 0xFFFFFFFF
    assert core.call(core.symbols.address("called")) == 2
    assert core.call("halves", 9) == 4


def test_memory(elf: Path) -> None:
    core = BareCore(elf)
    core.map("arena", 0x30000010, 5000)
    core.write(0x30000010, bytes([1, 2, 0xFF]))
    assert core.call("sum", 0x30000010, 3) == 2 + 20 + 5
    core.write(core.symbols.address("table") + 4, (100).to_bytes(4, "little"))
    assert core.call("sum", 0x30000010, 2) == 3 + 100 + 5
    assert core.read(core.symbols.address("fixed"), 4) == b"\5\0\0\0"
    with pytest.raises(BoardError, match="more overlaps arena at 0x30000000"):
        core.map("more", 0x30001000, 1)


@pytest.mark.parametrize("native", [True, False])
def test_counts(elf: Path, native: bool) -> None:
    core = BareCore(elf, watch=Watch(native=native))
    core.map("arena", 0x30000000, 4096)
    lengths = []
    for n in (64, 128, 192):
        before = core.instructions
        core.call("sum", 0x30000000, n)
        lengths.append(core.instructions - before)
    assert lengths[2] - lengths[1] == lengths[1] - lengths[0] > 64
    assert sum(row.instructions * row.passes for row in core.blocks()) == core.instructions == core.cycles
    core.clear_blocks()
    assert core.blocks() == []


def test_without_counting(elf: Path) -> None:
    core = BareCore(elf, watch=Watch(count=False))
    assert core.call("six", 0, 0, 0, 0, 0, 1) == 6
    assert core.instructions == 0


def test_faults(elf: Path) -> None:
    core = BareCore(elf)
    with pytest.raises(BoardError, match=r"write of 4 bytes at 0x50000000") as caught:
        core.call("stray", 0x50000000)
    assert "stray (x.c:" in caught.value.where
    with pytest.raises(BoardError, match="write to ELF code at 0x00010000, which is read-only"):
        core.call("stray", 0x10000)
    with pytest.raises(BoardError, match="bytes before the start of stack"):
        core.call("deep", 1_000_000)
    with pytest.raises(BoardError, match="still running after 10,000 instructions in one call"):
        core.call("forever", budget=10_000)
    with pytest.raises(BoardError, match="has no symbol 'nothing'"):
        core.call("nothing")
    assert core.call("six", 1, 0, 0, 0, 0, 0) == 1
