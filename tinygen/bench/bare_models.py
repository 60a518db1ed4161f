"""Single kernels and whole models on a bare emulated core: the C of the firmware, without the rest of it."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinygen.claims import Claim
from tinygen.emit.model import emit_model
from tinygen.lowering.planner import aligned
from tinygen.lowering.program import Program
from tinygen.targets.board import Board
from tinygen.targets.cycles import core_cost
from tinygen.targets.cycles.elf_code import ElfCode
from tinygen.targets.emulator.bare import BareCore
from tinygen.targets.emulator.counting import Watch
from tinygen.targets.emulator.memory import PAGE
from tinygen.targets.toolchain import HostCode, build_flat
from tinygen.targets.toolchains.base import Toolchain
from tinygen.targets.vendor_library import VendorLibrary

_ARENA = 0x30000000


def write_models(programs: Sequence[Program], folder: Path) -> None:
    """Writes the generated C of all programs."""
    for program in programs:
        for name, text in emit_model(program, program.graph.name).files.items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")


@dataclass(frozen=True)
class BareRun:
    """One inference: codes of each output; executed instructions and predicted cycles from call to return.

    Cycles are the core's own: no memory waits.
    """

    outputs: list[np.ndarray]
    instructions: int
    cycles: int


class BareModels:
    """Programs linked flat, in a core with memory and nothing else.

    The arena is at the end of mapped memory, and is filled with arbitrary bytes before every inference.

    Args:
        programs: from `lower`, with distinct graph names; one layer of interest may be all of a program.
        board: its core and compiler flags are used, not its memories.
        toolchain: for the board.
        library: that the programs were lowered with, when they call one.
        strict: stop at accesses the core would fault on; several times slower.
        write: puts C and headers of the programs into a folder, in as many files as it likes.

    Raises:
        ToolchainError: the C does not build, or the emulator is missing.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        board: Board,
        toolchain: Toolchain,
        *,
        library: VendorLibrary | None = None,
        strict: bool = False,
        write: Callable[[Sequence[Program], Path], object] = write_models,
    ) -> None:
        self.programs = tuple(programs)
        # The ELF is kept as long as this object, since faults are reported with source lines from it.
        claim = Claim(Path(tempfile.gettempdir()))
        weakref.finalize(self, claim.release)
        folder = claim.folder
        (folder / "model").mkdir()
        write(self.programs, folder / "model")
        elf = _build(self.programs, folder, toolchain, library)
        self.elf = elf
        cost = core_cost(board.core, ElfCode(elf).read)
        self.core = BareCore(elf, board.core, Watch(strict=strict, cost=cost), double="fpu-dp" in board.isa)
        size = max(_arena_bytes(program) for program in self.programs)
        self._end = _ARENA + -(-size // PAGE) * PAGE
        self.core.map("arena", _ARENA, self._end - _ARENA)

    def run(self, index: int, sample: Sequence[np.ndarray]) -> BareRun:
        """One inference of program `index`; the first one of a program with states.

        Args:
            sample: codes of each model input.

        Raises:
            BoardError: the code faulted.
        """
        core, program = self.core, self.programs[index]
        size = _arena_bytes(program)
        arena = self._end - size
        core.write(arena, b"\xa5" * size)
        for state in program.graph.states:
            if state.threshold:
                tensor = program.graph.tensors[state.tensor]
                core.write(arena + program.offsets[tensor.name], tensor.to_memory(state.initial))
        if program.graph.is_stream:
            core.call(f"{program.graph.name}_reset", arena)
        for tensor, codes in zip(program.inputs, sample, strict=True):
            core.write(arena + program.offsets[tensor.name], tensor.to_memory(codes))
        before, cycles = core.instructions, core.cycles
        core.call(_entry(program), arena)
        outputs = [t.from_memory(core.read(arena + program.offsets[t.name], t.nbytes)) for t in program.outputs]
        return BareRun(outputs, core.instructions - before, core.cycles - cycles)


def _entry(program: Program) -> str:
    return f"{program.graph.name}_invoke"


def _arena_bytes(program: Program) -> int:
    return aligned(max(program.memory.arena_bytes, 1))


def _build(programs: Sequence[Program], folder: Path, toolchain: Toolchain, library: VendorLibrary | None) -> Path:
    includes = library.place.includes if library else ()
    if library is not None:
        library.add_to(programs, folder)
    sources = tuple(sorted(path.relative_to(folder).as_posix() for path in folder.glob("**/*.c")))
    code = HostCode(folder, sources, include_dirs=("model",), system_include_dirs=includes)
    entries = [_entry(program) for program in programs]
    entries += [f"{program.graph.name}_reset" for program in programs if program.graph.is_stream]
    return build_flat(code, folder / "model.elf", toolchain, entries=entries)
