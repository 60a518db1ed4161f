"""Compiles many generated models for a Cortex-M and runs them all in the CPU emulator, without firmware."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import unicorn
from unicorn import arm_const

from tests.support.host_batch import WARNINGS, feed_of, sources_of, split, write_texts, zig_cc
from tests.support.run_table import run_table
from tinygen.lowering.program import Program
from tinygen.paths import resource
from tinygen.targets.board import ZigTarget
from tinygen.targets.emulator.symbols import Symbols
from tinygen.targets.toolchains.base import lacks_definition
from tinygen.targets.toolchains.zig import library_flags

LEVEL: ContextVar[str] = ContextVar("level", default="-Os")
"""Of optimisation: clang takes two thirds of the time that it takes for -O2, which long tests have."""

CODE, RAM, IN, OUT, STOP = 0x0, 0x20000000, 0x30000000, 0x40000000, 0x08000000
_SIZE = 32 << 20
_FLAGS = ["-ffp-contract=off", "-nostdlib"]


@dataclass(frozen=True)
class Core:
    """A core and how clang (zig) and gcc compile for it."""

    model: int
    zig: ZigTarget
    gcc: tuple[str, ...]


M7 = Core(
    arm_const.UC_CPU_ARM_CORTEX_M7,
    ZigTarget("thumb-freestanding-eabihf", "cortex_m7+fp_armv8d16sp"),
    ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"),
)
M4 = Core(
    arm_const.UC_CPU_ARM_CORTEX_M4,
    ZigTarget("thumb-freestanding-eabihf", "cortex_m4+vfp4d16sp"),
    ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
)
M4_SOFT = Core(
    arm_const.UC_CPU_ARM_CORTEX_M4,
    ZigTarget("thumb-freestanding-eabi", "cortex_m4-vfp4d16sp"),
    ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft"),
)
"""A Cortex-M4 whose FPU is not used, as if there were none. It executes what zig's library for Armv6-M consists of."""
M0PLUS = Core(
    arm_const.UC_CPU_ARM_CORTEX_M0,
    ZigTarget("thumb-freestanding-eabi", "cortex_m0plus"),
    ("-mcpu=cortex-m0plus", "-mthumb", "-mfloat-abi=soft"),
)
"""Armv6-M: 16-bit Thumb, no unaligned access. The emulator's Cortex-M0 executes the same instructions."""
_SCRIPT = """
ENTRY(run_all)
SECTIONS {{
    . = {code:#x};
    .text : {{ *(.text*) *(.rodata*) }}
    . = {ram:#x};
    .bss (NOLOAD) : {{ *(.bss*) *(.data*) *(COMMON) }}
}}
"""
_MAIN = """
#include <stdint.h>
#include <string.h>
{includes}
void run_all(void);
static const uint8_t *in;
static uint8_t *out;
static void get(void *data, size_t bytes)
{{
    memcpy(data, in, bytes);
    in += bytes;
}}
static void put(const void *data, size_t bytes)
{{
    memcpy(out, data, bytes);
    out += bytes;
}}
/* Models have their own arenas. */
static void *taken(size_t bytes)
{{
    (void)bytes;
    return NULL;
}}
static void given_back(void *arena)
{{
    (void)arena;
}}
{table}
void run_all(void)
{{
    in = (const uint8_t *){begin:#x};
    out = (uint8_t *){end:#x};
    for (int n = 0; n < {models}; n++) {{
        run(&batch_models[n]);
    }}
}}
"""


def run_on_board(
    programs: Sequence[Program],
    samples: Sequence[Sequence[Sequence[np.ndarray]]],
    folder: Path,
    core: Core = M7,
    level: str = "",
    compiler: str = "zig",
) -> list[list[list[np.ndarray]]]:
    """Outputs per program, per sample, per model output; see `run_on_host`.

    Args:
        core: that runs it.
        level: of optimisation; where none is given, the one of this run of tests.
        compiler: "zig" or "gcc".
    """
    level = level or LEVEL.get()
    counts = [len(feeds) for feeds in samples]
    sources = sources_of(programs)
    texts = sources.kernels, _main(programs, counts, sources.models)
    kernels, main = (sources.whole(text, marked=compiler == "zig") for text in texts)
    elf = link(main, write_texts(folder, {"all_kernels.c": kernels}), folder, core, compiler, level)
    total = sum(n * sum(t.nbytes for t in program.outputs) for n, program in zip(counts, programs, strict=True))
    return split(programs, counts, execute(elf, feed_of(programs, samples), total, core))


def execute(elf: Path, feed: bytes, total: int, core: Core) -> bytes:
    """Runs what `link` made with `feed` at IN; gives `total` bytes from OUT."""
    uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB)
    uc.ctl_set_cpu_model(core.model)
    for base in (CODE, RAM, IN, OUT):
        uc.mem_map(base, _SIZE)
    uc.mem_map(STOP, 0x1000)
    uc.mem_write(CODE, elf.with_suffix(".bin").read_bytes())
    uc.mem_write(IN, feed)
    uc.reg_write(arm_const.UC_ARM_REG_C1_C0_2, 0xF << 20)
    uc.reg_write(arm_const.UC_ARM_REG_FPEXC, 1 << 30)
    uc.reg_write(arm_const.UC_ARM_REG_SP, RAM + _SIZE - 16)
    uc.reg_write(arm_const.UC_ARM_REG_LR, STOP | 1)
    uc.emu_start(Symbols(elf).entry | 1, STOP)
    return bytes(uc.mem_read(OUT, total))


def _command(core: Core, compiler: str) -> list[str]:
    if compiler == "gcc":
        return ["arm-none-eabi-gcc", *core.gcc, "-ffreestanding", "-fno-tree-loop-distribute-patterns"]
    target = ["-target", core.zig.target, f"-mcpu={core.zig.cpu}"]
    # Without optimisation zig adds sanitizers, which need an operating system.
    return [*zig_cc(), *target, "-fno-sanitize=undefined"]


def _with_library(core: Core) -> list[str]:
    """Links with zig's library, which zig makes for each level of optimisation: one level does, and one soft float."""
    target = M0PLUS if core is M4_SOFT else core
    return [*_command(target, "zig"), "-O2", *_FLAGS, *library_flags(target.zig)]


def _main(programs: Sequence[Program], counts: Sequence[int], models: str) -> str:
    # Starting a compiler takes longer than compiling small models, so that these are here.
    includes = "".join(f'#include "{program.graph.name}.h"\n' for program in programs) + models
    return _MAIN.format(includes=includes, begin=IN, end=OUT, table=run_table(programs, counts), models=len(programs))


def link(main: str, sources: Sequence[Path], folder: Path, core: Core, compiler: str, level: str) -> Path:
    """Links C sources in `folder` with `main`, which defines `run_all`; gives batch.elf, beside it batch.bin."""
    libc = resource("firmware") / "libc"
    command = [*_command(core, compiler), level, *_FLAGS]
    (folder / "main_board.c").write_text(main)
    (folder / "batch.ld").write_text(_SCRIPT.format(code=CODE, ram=RAM))
    elf = folder / "batch.elf"
    files = ["main_board.c", *[source.name for source in sources if not source.name.startswith("main_")]]
    compiled = [*command, "-isystem", str(libc / "include"), *WARNINGS]
    linked = ["-Wl,-T,batch.ld", "-Wl,-e,run_all", "-o", elf.name]
    if compiler == "gcc":
        _run_compiler([*compiled, *files, str(libc / "string.c"), *linked, "-lgcc"], folder)
    else:
        objects = [f"{file}.o" for file in files]
        for file, object_ in zip(files, objects, strict=True):
            _run_compiler([*compiled, "-c", file, "-o", object_], folder)
        # zig's library takes seconds to make, and few batches need it.
        if lacks_definition(_run_compiler([*command, *objects, *linked], folder, undefined=True)):
            _run_compiler([*_with_library(core), *objects, *linked], folder)
    _flatten(elf, folder / "batch.bin")
    return elf


def _run_compiler(command: Sequence[str], folder: Path, *, undefined: bool = False) -> str:
    """What it complains of; with `undefined`, a definition may be missing, nothing else."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    allowed = undefined and lacks_definition(done.stderr)
    assert done.returncode == 0 or allowed, done.stderr[-3000:]
    return done.stderr


def _flatten(elf: Path, image: Path) -> None:
    from elftools.elf.elffile import ELFFile

    content = bytearray()
    with elf.open("rb") as file:
        for segment in ELFFile(file).iter_segments():
            address = segment["p_paddr"]
            if segment["p_type"] == "PT_LOAD" and segment["p_filesz"] and address < _SIZE:
                content.extend(b"\0" * max(0, address + segment["p_filesz"] - len(content)))
                content[address : address + segment["p_filesz"]] = segment.data()
    image.write_bytes(bytes(content))
