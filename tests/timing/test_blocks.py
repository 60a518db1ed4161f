"""From schedules to cycles of executed code: entries of blocks, loops, whole functions in a bare core."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.timing.assemble import assemble
from tinygen.errors import BoardError
from tinygen.targets.cycles import core_cost, explain
from tinygen.targets.cycles.__main__ import main
from tinygen.targets.emulator import BareCore
from tinygen.targets.emulator.counting import Watch

SOURCE = """
.syntax unified
.thumb
.globl count, nested, calls, memory
.type count, %function
.type nested, %function
.type calls, %function
.p2align 3
count:                      /* r0 times */
    subs r0, r0, #1
    bne count
    bx lr
.size count, . - count
.p2align 3
nested:                     /* r0 times r1 times */
    mov r2, r1
2:  subs r2, r2, #1
    bne 2b
    subs r0, r0, #1
    bne nested
    bx lr
.size nested, . - nested
.p2align 3
calls:
    push {r4, lr}
    bl count
    pop {r4, pc}
.size calls, . - calls
"""
SCRIPT = "ENTRY(count) SECTIONS { . = 0x10000; .text : { KEEP(*(.text*)) } }"


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blocks")
    (folder / "x.s").write_text(SOURCE)
    (folder / "x.ld").write_text(SCRIPT)
    command = [
        sys.executable,
        "-m",
        "ziglang",
        "cc",
        "-target",
        "thumb-freestanding-eabihf",
        "-mcpu=cortex_m7+fp_armv8d16sp",
        "-nostdlib",
        "-Wl,-e,count",
        "-Wl,-T,x.ld",
        "-Wl,--no-gc-sections",
        "x.s",
        "-o",
        "x.elf",
    ]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "x.elf"


def cycles(elf: Path, core: str, function: str, *arguments: int) -> int:
    """Predicted cycles of one call."""
    bare: BareCore
    bare = BareCore(elf, core, Watch(cost=core_cost(core, lambda address, size: bare.read(address, size))))
    bare.call(function, *arguments)
    return bare.cycles


@pytest.mark.parametrize(("core", "loop", "taken"), [("cortex-m7", 2, 0), ("cortex-m4", 2, 2), ("cortex-m33", 2, 1)])
def test_a_loop_costs_its_body_and_its_branch(elf: Path, core: str, loop: int, taken: int) -> None:
    """SUBS and BNE, and what the taken branch costs."""
    assert cycles(elf, core, "count", 1000) - cycles(elf, core, "count", 100) == 900 * (loop + taken)


def test_every_end_of_a_loop_is_mispredicted_on_the_m7(elf: Path) -> None:
    """Nine more passes of the outer loop: MOV with SUBS and BNE 2, four more inner
    passes of 2, 7 for the end of the inner loop, SUBS and BNE 2."""
    ten, one = cycles(elf, "cortex-m7", "nested", 10, 5), cycles(elf, "cortex-m7", "nested", 1, 5)
    assert ten - one == 9 * (2 + 4 * 2 + 7 + 2)


def test_an_untaken_branch_costs_no_refill_on_the_m4(elf: Path) -> None:
    """Outer pass: MOV 1, inner passes 5 x 2 and 4 taken branches, SUBS and BNE 2, one taken branch."""
    ten, one = cycles(elf, "cortex-m4", "nested", 10, 5), cycles(elf, "cortex-m4", "nested", 1, 5)
    assert ten - one == 9 * (1 + 10 + 4 * 2 + 2 + 2)


def test_calls_and_returns_are_taken_branches_on_the_m4(elf: Path) -> None:
    """Entry 2; PUSH 3, BL 1, entry 2; SUBS, BNE 2; BX 1; return 2, POP 3."""
    assert cycles(elf, "cortex-m4", "calls", 1) == 2 + 3 + 1 + 2 + 2 + 1 + 2 + 3


def test_explain(tmp_path: Path) -> None:
    code = assemble({"x": "ldr r0, [r1]; mul r2, r0, r3; nop"}, tmp_path)["x"]
    issued = explain("cortex-m7", code, 0x100)
    assert [(i.instruction.text, i.cycle, i.why) for i in issued] == [
        ("ldr r0, [r1]", 0, ""),
        ("mul r2, r0, r3", 2, "waits for r0"),
        ("nop", 2, ""),
    ]
    with pytest.raises(BoardError, match="no cycle model of avr"):
        explain("avr", code, 0)


def test_explain_from_the_shell(elf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(elf), "nested", "--core", "cortex-m7"]) == 0
    text = capsys.readouterr().out
    assert "   0  00010008  mov r2, r1" in text
    assert "2 each pass as a loop" in text
    assert main([str(elf), "absent"]) == 1
    assert "has no function 'absent'" in capsys.readouterr().err
    assert main([str(elf), "count", "--core", "z80"]) == 1
