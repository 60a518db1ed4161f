"""Programs that print, on QEMU's Cortex-M7: newlib's semihosting takes the place of a board's start-up and UART."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

CORE = ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-d16", "-mfloat-abi=hard")
LINK = ("--specs=rdimon.specs", "-Wl,--gc-sections")

# Arm's AN500 on the MPS2: 4 Mbytes for code, 4 for data.
_SCRIPT = """ENTRY(reset)
MEMORY { CODE (rx) : ORIGIN = 0, LENGTH = 4M  DATA (rw) : ORIGIN = 0x20000000, LENGTH = 4M }
__stack = ORIGIN(DATA) + LENGTH(DATA);
SECTIONS {
    .text : { KEEP(*(.vectors)) *(.text*) *(.rodata*) KEEP(*(.init)) KEEP(*(.fini)) *(.init_array*) } > CODE
    .ARM.exidx : { *(.ARM.exidx*) } > CODE
    .data : { *(.data*) } > DATA
    .bss (NOLOAD) : { __bss_start__ = .; *(.bss*) *(COMMON) __bss_end__ = .; } > DATA
    end = .;
    __end__ = .;
}
"""
_START = """#include <stdint.h>
extern void _mainCRTStartup(void);
extern char __stack[];
void reset(void);
void reset(void)
{
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: the FPU */
    __asm volatile("dsb\\n isb");
    _mainCRTStartup();
}
__attribute__((section(".vectors"), used)) static const struct {
    char *stack;
    void (*reset)(void);
} vectors = {__stack, reset};
"""


def board_files(folder: Path) -> tuple[Path, Path]:
    """Writes start-up code and linker script."""
    start, script = folder / "start.c", folder / "an500.ld"
    start.write_text(_START)
    script.write_text(_SCRIPT)
    return start, script


def run_in_qemu(elf: Path) -> str:
    """What the program prints.

    Raises:
        AssertionError: it ends with another status than 0.
    """
    semihosting = ("-semihosting-config", "enable=on,target=native")
    command: Sequence[str] = ("qemu-system-arm", "-M", "mps2-an500", "-nographic", *semihosting, "-kernel", str(elf))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
