"""Predicted cycles: pipeline models of cores over the basic blocks that an emulated board executes.

Each model is static: a block costs the same at every pass, except for the stalls of the memory model. The modules of
the models list what this leaves out; tests/timing/points.yaml has the errors against published measurements.
"""

from __future__ import annotations

from pathlib import Path

from tinygen.errors import BoardError
from tinygen.targets.board import Board, MemoryTiming
from tinygen.targets.cycles.addresses import ARM, RISCV
from tinygen.targets.cycles.blocks import BlockCost, Decode, Read
from tinygen.targets.cycles.cortex_m7 import CortexM7
from tinygen.targets.cycles.elf_code import ElfCode
from tinygen.targets.cycles.memory import caches_of
from tinygen.targets.cycles.pipeline import Issued, Pipeline
from tinygen.targets.cycles.riscv import decode_riscv
from tinygen.targets.cycles.single_issue import (
    CORTEX_M0PLUS,
    CORTEX_M0PLUS_SLOW,
    CORTEX_M3,
    CORTEX_M4,
    CORTEX_M33,
    ESP32C3,
    SingleIssue,
)
from tinygen.targets.cycles.thumb import decode_thumb

_PIPELINES: dict[str, Pipeline] = {
    "cortex-m0": SingleIssue(CORTEX_M0PLUS),
    "cortex-m0plus": SingleIssue(CORTEX_M0PLUS),
    "cortex-m0plus-slow-multiplier": SingleIssue(CORTEX_M0PLUS_SLOW),
    "cortex-m3": SingleIssue(CORTEX_M3),
    "cortex-m4": SingleIssue(CORTEX_M4),
    "cortex-m7": CortexM7(),
    "cortex-m33": SingleIssue(CORTEX_M33),
    "esp32c3": SingleIssue(ESP32C3),
    # The HP core. ctrlsrc measured both: the same but for what ESP32C3 says.
    "esp32c6": SingleIssue(ESP32C3),
}
CORES = tuple(_PIPELINES)


def pipeline_of(core: str) -> Pipeline:
    """The timing model of a core.

    Raises:
        BoardError: there is none.
    """
    if core not in _PIPELINES:
        raise BoardError(f"there is no cycle model of {core}", fix=f"There are: {', '.join(CORES)}.")
    return _PIPELINES[core]


def decoder_of(core: str) -> Decode:
    """The function that decodes code of that core into `Instruction`s."""
    return decode_riscv if core.startswith("esp32") else decode_thumb


def core_cost(
    core: str, read: Read, *, timing: MemoryTiming | None = None, pipeline: Pipeline | None = None
) -> BlockCost:
    """Cycles per block on a core, by default with memory that never waits.

    Args:
        core: "cortex-m7".
        read: gives `size` bytes of code at an address; asked once per block.
        timing: what its memories cost, see `MemoryTiming`.
        pipeline: instead of the core's own model.

    Raises:
        BoardError: there is no model of the core.
    """
    numbers = RISCV if decoder_of(core) is decode_riscv else ARM
    caches = caches_of(timing) if timing else None
    return BlockCost(pipeline or pipeline_of(core), decoder_of(core), read, caches, numbers)


def board_cost(board: Board, elf: Path) -> BlockCost:
    """Cycles per block on a board, with the stalls of its memories (where its file has `timing`).

    Raises:
        BoardError: there is no model of the board's core.
    """
    code = ElfCode(elf)
    roms = [memory for memory in board.memories if memory.kind == "flash" and not memory.use]

    def read(address: int, size: int) -> bytes:
        # The emulated chip's ROM has no code to decode: it counts one cycle per instruction.
        return b"" if any(rom.contains(address) for rom in roms) else code.read(address, size)

    return core_cost(board.core, read, timing=board.timing)


def explain(core: str, code: bytes, address: int) -> tuple[Issued, ...]:
    """When each instruction of a straight piece of code issues, and what it waits for.

    Args:
        core: "cortex-m7".
        code: machine code without branches but, perhaps, at its end.
        address: where it lies.

    Raises:
        BoardError: there is no model of the core.
    """
    return pipeline_of(core).schedule(decoder_of(core)(code, address)).issued
