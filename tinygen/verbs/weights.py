"""Chooses the memory for weights when the user names none."""

from __future__ import annotations

from tinygen.lowering.network import NetworkProgram
from tinygen.lowering.program import constants_of
from tinygen.project.choices import WeightMemory
from tinygen.targets.board import Board

_SLOW = 4.0
"""Cycles per byte of a cache miss from which RAM is used: as many as a product takes without SIMD."""
_SHARE = 2
"""Weights and arena may take at most 1 / this of the RAM."""

_MOST = 60_000
"""Largest number of weight bytes: the boot ROM of these chips loads less than 61,440 bytes to RAM, some code included
(templates/project/esp.ld.j2).
"""


def weight_memory(wanted: WeightMemory, board: Board, program: NetworkProgram, *, small: bool) -> WeightMemory:
    """The memory for a program's constants.

    RAM is chosen where flash lies behind a cache that is slow to fill, as flash on a serial bus is: an inference reads
    every weight, and between two inferences of a listening model other code and data have replaced them in the cache.

    Args:
        wanted: the user's choice.
        small: the user asked for little RAM.
    """
    if wanted is not WeightMemory.AUTO:
        return wanted
    if small or not _is_slow(board):
        return WeightMemory.FLASH
    arrays = {c.data.tobytes() for one in program.programs for step in one.steps for c in constants_of(step)}
    weights = sum(map(len, arrays))
    fits = weights <= _MOST and _SHARE * (weights + program.arena_bytes) <= board.ram_bytes
    return WeightMemory.RAM if fits else WeightMemory.FLASH


def _is_slow(board: Board) -> bool:
    if board.timing is None:
        return False
    cache = board.timing.data
    return any(lost >= _SLOW * cache.line for _, _, lost in cache.regions)
