"""Espressif's RISC-V cores without a board: calls of single functions, what is counted, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinygen.bench.run import BenchOptions, bench
from tinygen.errors import BoardError
from tinygen.targets.bare_cores import bare_cores
from tinygen.targets.board import CacheTiming, MemoryTiming
from tinygen.targets.cycles import core_cost
from tinygen.targets.cycles.elf_code import ElfCode
from tinygen.targets.emulator import BareCore
from tinygen.targets.emulator.counting import Watch
from tinygen.targets.toolchain import HostCode, build_flat, find_toolchain

SOURCE = """
#include <stdint.h>
int32_t table[3] = {10, 20, 30};
static int32_t calls;
int32_t ten(int32_t a, int32_t b, int32_t c, int32_t d, int32_t e, int32_t f, int32_t g, int32_t h, int32_t i,
            int32_t j);
int32_t ten(int32_t a, int32_t b, int32_t c, int32_t d, int32_t e, int32_t f, int32_t g, int32_t h, int32_t i,
            int32_t j)
{
    calls++;
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j;
}
int32_t called(void);
int32_t called(void) { return calls; }
int32_t sum(const int8_t *x, uint32_t n);
int32_t sum(const int8_t *x, uint32_t n)
{
    int32_t s = 0;
    for (uint32_t i = 0; i < n; i++) {
        __asm volatile("add %0, %0, %1" : "+r"(s) : "r"((int32_t)x[i]));
    }
    return s + table[1];
}
uint32_t cycles(uint32_t on);
uint32_t cycles(uint32_t on)
{
    uint32_t start;
    uint32_t end;
    __asm volatile("csrwi 0x7e0, 1\\n csrw 0x7e1, %2\\n csrwi 0x7e2, 0\\n csrr %0, 0x7e2\\n nop\\n csrr %1, 0x7e2"
                   : "=&r"(start), "=&r"(end) : "r"(on));
    return end - start;
}
uint32_t deep(uint32_t n);
uint32_t deep(uint32_t n)
{
    volatile uint32_t pad[64];
    pad[0] = n;
    return pad[0] == 0U ? 0U : deep(n - 1U) + pad[0];
}
void forever(void);
void forever(void) { for (volatile int i = 0;;) { (void)i; } }
void stray(volatile uint32_t *p);
void stray(volatile uint32_t *p) { *p = 1U; }
uint32_t word(const uint32_t *p);
uint32_t word(const uint32_t *p) { return *p; }
void illegal(void);
void illegal(void) { __asm volatile(".2byte 0"); }
void breakpoint(void);
void breakpoint(void) { __asm volatile("ebreak"); }
void call_supervisor(void);
void call_supervisor(void) { __asm volatile("ecall"); }
void floating(void);
void floating(void) { __asm volatile(".4byte 0x00b50553"); }
void floating_load(void);
void floating_load(void) { __asm volatile(".2byte 0x6100"); }
void atomic(uint32_t *p);
void atomic(uint32_t *p) { __asm volatile("mv a0, %0\\n .4byte 0x0005252f" :: "r"(p) : "a0", "memory"); }
"""
NAMES = (
    "ten",
    "called",
    "sum",
    "cycles",
    "deep",
    "forever",
    "stray",
    "word",
    "illegal",
    "breakpoint",
    "call_supervisor",
    "floating",
    "floating_load",
    "atomic",
)


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("riscv")
    (folder / "x.c").write_text(SOURCE)
    toolchain = find_toolchain("zig", bare_cores()["esp32c3-core"])
    return build_flat(HostCode(folder, ("x.c",)), folder / "x.elf", toolchain, entries=NAMES, optimize="-O1")


@pytest.fixture(params=[True, False], ids=["native", "python"])
def core(elf: Path, request: pytest.FixtureRequest) -> BareCore:
    return BareCore(elf, "esp32c3", Watch(native=request.param, cost=core_cost("esp32c3", ElfCode(elf).read)))


def test_calls(core: BareCore) -> None:
    numbers = list(range(3, 13))
    want = sum((i + 1) * n for i, n in enumerate(numbers))
    assert core.call("ten", *numbers) == want
    assert core.call("ten", *numbers) == want
    assert core.call("called") == 2


def test_counts_are_exact(core: BareCore) -> None:
    """Per element: load, add, pointer and branch; the cycles are those of the model."""
    core.map("data", 0x30000000, 64)
    core.write(0x30000000, bytes(range(40)))
    counts, cycles = [], []
    for n in (10, 20, 40):
        before = core.instructions, core.cycles
        assert core.call("sum", 0x30000000, n) == sum(range(n)) + 20
        counts.append(core.instructions - before[0])
        cycles.append(core.cycles - before[1])
    assert counts[1] - counts[0] == 10 * 4 and counts[2] - counts[1] == 20 * 4
    # A load takes 2 cycles, a taken branch 3 (ctrlsrc).
    assert cycles[2] - cycles[1] == 20 * (2 + 1 + 1 + 3)


def test_the_cycle_counter_is_espressifs_own(core: BareCore) -> None:
    assert 0 < core.call("cycles", 1) < 20
    assert core.call("cycles", 0) == 0


def test_unaligned_access_is_allowed(core: BareCore) -> None:
    """esp-idf, migration guide 5.0, gcc: all ESP chips allow it."""
    core.map("words", 0x30000000, 4096)
    core.write(0x30000000, bytes(range(8)))
    assert core.call("word", 0x30000001) == 0x04030201


@pytest.mark.parametrize(
    ("function", "what"),
    [
        ("illegal", "an illegal instruction"),
        ("breakpoint", "EBREAK: a breakpoint without a debugger"),
        ("call_supervisor", "ECALL: the firmware has no supervisor"),
        ("floating", "a floating-point instruction, but the core has no FPU"),
        ("floating_load", "a floating-point instruction, but the core has no FPU"),
    ],
)
def test_what_the_core_cannot_execute(core: BareCore, function: str, what: str) -> None:
    with pytest.raises(BoardError, match=f"the core cannot execute this instruction.*{what}") as caught:
        core.call(function)
    assert caught.value.where.startswith(f"esp32c3: {function} (x.c:")
    assert " ra=" in caught.value.fix and "a0=" in caught.value.fix
    assert core.call("called") == 0  # the core still works


def test_atomics_are_the_c6s_only(elf: Path) -> None:
    for native in (True, False):
        small = BareCore(elf, "esp32c3", Watch(native=native))
        small.map("words", 0x30000000, 4096)
        with pytest.raises(BoardError, match="lacks RISC-V's A extension"):
            small.call("atomic", 0x30000000)
        large = BareCore(elf, "esp32c6", Watch(native=native))
        large.map("words", 0x30000000, 4096)
        large.call("atomic", 0x30000000)


def test_what_is_wrong_is_said(core: BareCore) -> None:
    with pytest.raises(BoardError, match="still running after 10,000 instructions"):
        core.call("forever", budget=10_000)
    with pytest.raises(BoardError, match="write of 4 bytes at 0x60000000") as caught:
        core.call("stray", 0x60000000)
    assert "stray (x.c:" in caught.value.where
    with pytest.raises(BoardError, match="write of 4 bytes at 0x3ffdff"):
        core.call("deep", 10_000)
    assert core.call("deep", 20) == 210


def test_loads_through_a_shared_cache(elf: Path) -> None:
    """Code and data share lines: a table that fills the cache throws the code out; both counters say the same."""
    region = (0, 0x40000000, 100)
    timing = MemoryTiming(CacheTiming(1024, 32, 2, (region,)), CacheTiming(1024, 32, 2, (region,)))
    shared = MemoryTiming(timing.code, timing.code)
    stalls: dict[tuple[str, bool], list[int]] = {}
    for name, kind in (("apart", timing), ("shared", shared)):
        for native in (True, False):
            cost = core_cost("esp32c3", ElfCode(elf).read, timing=kind)
            core = BareCore(elf, "esp32c3", Watch(native=native, cost=cost))
            core.map("data", 0x30000000, 4096)
            found = []
            for _ in range(2):
                before = sum(row.stalls for row in core.blocks())
                core.call("sum", 0x30000000, 1024)
                found.append(sum(row.stalls for row in core.blocks()) - before)
            stalls[name, native] = found
    assert stalls["apart", True] == stalls["apart", False] and stalls["shared", True] == stalls["shared", False]
    # 32 lines of data and those of the code; the second time what else is read, a line, has thrown out a few.
    first, second = stalls["apart", True]
    assert 3200 < first < 4000 and second < 500
    # The data alone are as large as the cache: code and data throw each other out.
    assert stalls["shared", True][1] > second


SMALL = (
    "fc_64_12",
    "avgpool_3x3_18_12x12",
    "maxpool_2x2_32_16x16",
    "softmax_12",
    "conv_1x1_7_5_9x9_s1",
    "fc_101_35",
    "dw_3x3_19_11x13_s1",
)


@pytest.mark.parametrize("only", [SMALL, pytest.param((), marks=pytest.mark.long, id="all")])
def test_kernels_are_bit_exact(only: tuple[str, ...]) -> None:
    report = bench([], ["int8-kernels"], BenchOptions(board="esp32c3-core", only=only, kernels=("tinygen",), jobs=1))
    assert len(report.rows) == (len(only) or 25)
    assert [row["case"] for row in report.rows if row["error"] or row["max_abs_diff"] != 0] == []
