"""Template values of a model's states."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.emit.ctext import array_lines, comment_safe
from tinygen.emit.enumerators import Enumerators
from tinygen.lowering.program import Program


def states_of(program: Program, enumerators: Enumerators, prefix: str = "initial") -> dict[str, Any]:
    """States with their initial values, and the copies at the end of an invocation.

    A state with `lines` is initialised from an array whose name begins with `prefix`, others with the byte `fill`.
    """
    states = []
    for index, state in enumerate(state for state in program.graph.states if not state.threshold):
        tensor = program.graph.tensors[state.tensor]
        content = np.frombuffer(tensor.to_memory(state.initial), np.uint8)
        uniform = bool((content == content[0]).all())
        states.append(
            {
                "symbol": f"{prefix}_{index}",
                "note": f"{comment_safe(tensor.name)}: {tensor.describe()}",
                "enumerator": enumerators.of(tensor.name),
                "bytes": tensor.nbytes,
                "fill": int(content[0]),
                "lines": [] if uniform else array_lines(content),
            }
        )
    moves = [
        {
            "target": enumerators.of(move.state),
            "source": enumerators.address(move.update),
            "size": move.size,
            "note": comment_safe(move.state),
        }
        for move in program.moves
    ]
    return {"states": states, "moves": moves}
