"""The profile of one inference, from the block counter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tinygen.targets.emulator.counting import FIRST_LAYER, BlockRow
from tinygen.targets.emulator.symbols import Symbols


@dataclass(frozen=True)
class ExecutedBlock:
    """A basic block and how often it ran within one layer.

    Attributes:
        layer: the layer.
        address, size: where, in bytes.
        instructions: in one pass; those an IT block skips are counted.
        cycles: of one pass, by the board's cost function.
        count: passes.
        stalls: cycles lost to memory in all of them.
    """

    layer: int
    address: int
    size: int
    instructions: int
    cycles: int
    count: int
    stalls: int = 0


@dataclass(frozen=True)
class Profile:
    """Executed instructions of one inference.

    Attributes:
        blocks: every block that ran; a cycle model weighs these.
        layers: instructions per layer. What runs before the first layer counts as layer 0's.
        layer_cycles: cycles per layer, by the board's cost function (an estimate).
        after, after_cycles: after the last layer.
        functions: instructions per C function.
    """

    blocks: tuple[ExecutedBlock, ...]
    layers: tuple[int, ...]
    layer_cycles: tuple[int, ...]
    after: int
    after_cycles: int
    functions: dict[str, int]

    @property
    def instructions(self) -> int:
        """Instructions of the whole inference, without the observer."""
        return sum(self.layers) + self.after

    @property
    def cycles(self) -> int:
        """Cycles of the whole inference, without the observer; an estimate."""
        return sum(self.layer_cycles) + self.after_cycles

    @property
    def layer_stalls(self) -> tuple[int, ...]:
        """Memory stalls in `layer_cycles`, in cycles."""
        stalls = [0] * (len(self.layers) + 1)
        for block in self.blocks:
            stalls[block.layer] += block.stalls
        return tuple(stalls[: len(self.layers)])


def make_profile(rows: Iterable[BlockRow], symbols: Symbols, layers: int, order: Sequence[int] = ()) -> Profile:
    """Makes the profile of all code that ran since the counter was cleared.

    Args:
        rows: of the counter.
        symbols: of the ELF that ran.
        layers: how many layers the model has.
        order: numbers of the layers that ran, where branches skip some; empty where nothing told of layers.
    """
    blocks = []
    per_layer, cycles = [0] * (layers + 1), [0] * (layers + 1)
    functions: dict[str, int] = {}
    for row in rows:
        if row.bucket < FIRST_LAYER:
            continue
        turn = row.bucket - FIRST_LAYER
        layer = min(turn if not order else order[turn] if turn < len(order) else layers, layers)
        blocks.append(ExecutedBlock(layer, row.address, row.size, row.instructions, row.cycles, row.passes, row.stalls))
        per_layer[layer] += row.instructions * row.passes
        cycles[layer] += row.cycles * row.passes + row.stalls
        name = symbols.function(row.address)
        functions[name] = functions.get(name, 0) + row.instructions * row.passes
    blocks.sort(key=lambda block: (block.layer, block.address))
    return Profile(
        tuple(blocks), tuple(per_layer[:layers]), tuple(cycles[:layers]), per_layer[layers], cycles[layers], functions
    )
