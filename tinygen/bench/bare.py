"""One case on a core without a board: calls the model's functions directly, in memory without wait states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

from tinygen.bench.bare_models import BareModels
from tinygen.bench.case import Case
from tinygen.builds.compare import differing
from tinygen.frontends.load import load_model
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify
from tinygen.targets.board import Board
from tinygen.targets.toolchain import find_toolchain


def measure_bare(case: Case, kernels: str, toolchain: str, board: Board) -> dict[str, Any]:
    """The figures of a row (see `tinygen.bench.measure`) without firmware.

    Flash is the code and constants of an inference, RAM is the arena; start-up code and stack are not included. There
    are no figures per layer.

    Raises:
        TinygenError: the model cannot be built for the core, or faults there.
    """
    graph = load_model(case.model)
    program = lower(simplify(graph), family=kernels, isa=board.isa)
    bare = BareModels([program], board, find_toolchain(toolchain, board))
    samples = case.samples(graph)
    row: dict[str, Any] = {}
    for sample in samples:
        run = bare.run(0, sample)
        for index, (semantics, codes) in enumerate(zip(evaluate(graph, sample), run.outputs, strict=True)):
            if differing(semantics, codes.reshape(semantics.shape)) is not None:
                wrong = int(np.count_nonzero(semantics != codes.reshape(semantics.shape)))
                return {"error": f"output {index} is wrong: {wrong} of {semantics.size} codes differ"}
        row = {"instructions": run.instructions, "cycles_predicted": run.cycles}
    flash = _read_only_bytes(bare.elf)
    # An array that several layers share is stored once.
    arrays = {constant.data.tobytes(): 0 for step in program.steps for constant in step.plan.constants}
    return row | {
        "flash_bytes": flash,
        "flash_without_weights_bytes": flash - sum(map(len, arrays)),
        "ram_bytes": program.memory.arena_bytes,
        "arena_bytes": program.memory.arena_bytes,
        "samples": len(samples),
        "max_abs_diff": 0,
    }


def _read_only_bytes(elf: Path) -> int:
    with elf.open("rb") as file:
        sections = [(s["sh_flags"], s["sh_size"]) for s in ELFFile(file).iter_sections()]
    return sum(size for flags, size in sections if flags & SH_FLAGS.SHF_ALLOC and not flags & SH_FLAGS.SHF_WRITE)
