"""Which layers may have their weights as code: those that gain most per byte, within a budget."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from tinygen.ir.graph import Graph
from tinygen.lowering.select import Choice, choose_without_code

CODE_BYTES = 128 * 1024
"""Unless the board says otherwise."""


_LEAST_GAIN = 0.3
"""Of a layer's cycles: for less, flash is not spent."""


class _Candidate(NamedTuple):
    name: str
    size: int
    saved: float

    @property
    def worth(self) -> float:
        return self.saved / self.size


def coded_layers(
    graph: Graph, choices: Sequence[Choice], family: str, isa: Collection[str], budget: int
) -> frozenset[str]:
    """Names of the outputs of the layers whose weights may be code.

    Args:
        choices: the fastest kernels, of each operator.
        budget: bytes, in all layers together. Layers come by what a byte saves; those that no longer fit go without.
    """
    found = []
    for node, choice in zip(graph.nodes(), choices, strict=True):
        fastest = choice.fastest
        if 0 < fastest.code_bytes <= budget:
            slower = choose_without_code(node, family, isa).fastest.cycles
            saved = slower - fastest.cycles
            if saved < _LEAST_GAIN * slower:
                continue
            found.append(_Candidate(node.output.name, fastest.code_bytes, saved))
    names = set()
    for candidate in sorted(found, key=lambda one: one.worth, reverse=True):
        if candidate.size <= budget:
            budget -= candidate.size
            names.add(candidate.name)
    return frozenset(names)
