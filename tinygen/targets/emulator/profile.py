"""What the block counter saw of one inference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.targets.emulator.native import SLOTS, Counter
from tinygen.targets.emulator.symbols import Symbols

_FIRST_LAYER = 2
_BLOCK = np.dtype(
    [("count", "<u8"), ("address", "<u4"), ("bucket", "<u4"), ("instructions", "<u4"), ("size", "<u4")]
)


@dataclass(frozen=True)
class ExecutedBlock:
    """A basic block and how often it ran within one layer.

    Attributes:
        layer: the layer.
        address, size: where, in bytes.
        instructions: in one pass; those an IT block skips are counted.
        count: passes.
    """

    layer: int
    address: int
    size: int
    instructions: int
    count: int


@dataclass(frozen=True)
class Profile:
    """Executed instructions of one inference.

    Attributes:
        blocks: every block that ran; a cycle model weighs these.
        layers: instructions per layer. What runs before the first layer counts as layer 0's.
        after: instructions after the last layer.
        functions: instructions per C function.
    """

    blocks: tuple[ExecutedBlock, ...]
    layers: tuple[int, ...]
    after: int
    functions: dict[str, int]

    @property
    def instructions(self) -> int:
        """Of the whole inference, without the observer."""
        return sum(self.layers) + self.after


def _table(counter: Counter) -> np.ndarray:
    """The counter's own memory as an array; writing to it writes to the counter."""
    return np.frombuffer(memoryview(counter), _BLOCK, SLOTS, Counter.blocks.offset)


def read_profile(counter: Counter, symbols: Symbols, layers: int) -> Profile:
    """The profile of what has run since the counter was cleared.

    Args:
        counter: the native counter.
        symbols: of the ELF that ran.
        layers: how many layers the model has.
    """
    table = _table(counter)
    rows = table[(table["bucket"] > _FIRST_LAYER) & (table["count"] > 0)]
    blocks = []
    per_layer = [0] * (layers + 1)
    functions: dict[str, int] = {}
    for count, address, bucket, instructions, size in rows.tolist():
        layer = min(bucket - 1 - _FIRST_LAYER, layers)
        blocks.append(ExecutedBlock(layer, address, size, instructions, count))
        per_layer[layer] += instructions * count
        name = symbols.function(address)
        functions[name] = functions.get(name, 0) + instructions * count
    blocks.sort(key=lambda block: (block.layer, block.address))
    return Profile(tuple(blocks), tuple(per_layer[:layers]), per_layer[layers], functions)


def clear(counter: Counter) -> None:
    """Forgets the counts; markers stay."""
    _table(counter)["count"] = 0
