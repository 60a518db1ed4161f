"""Which layers may have their weights as instructions: those that gain most per byte of code, within a budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tinygen.ir.graph import Graph
from tinygen.lowering.plan import KernelPlan
from tinygen.lowering.select import Choice

CODE_BYTES = 128 * 1024
"""Unless the board says otherwise."""


_LEAST_GAIN = 0.3
"""Of a layer's cycles: for less, flash is not spent."""


class _Candidate(NamedTuple):
    graph: int
    name: str
    plan: KernelPlan
    saved: float

    @property
    def size(self) -> int:
        return self.plan.code_bytes

    @property
    def worth(self) -> float:
        return self.saved / self.size


def coded_layers(graph: Graph, choices: Sequence[Choice], budget: int) -> frozenset[str]:
    """Names of the outputs of the layers whose weights may be code.

    Args:
        choices: the fastest kernel of each operator.
        budget: bytes of code, in all layers together; layers are taken in the order of cycles saved per byte.
    """
    return coded_in_all([(graph, choices)], budget)[0]


def coded_in_all(graphs: Sequence[tuple[Graph, Sequence[Choice]]], budget: int) -> tuple[frozenset[str], ...]:
    """As `coded_layers`, for several graphs with one budget: names per graph. Equal code is counted once."""
    found = [
        candidate
        for index, (graph, choices) in enumerate(graphs)
        for candidate in _candidates(index, graph, choices)
        if candidate.size <= budget
    ]
    names: list[set[str]] = [set() for _ in graphs]
    written: list[KernelPlan] = []
    for candidate in sorted(found, key=lambda one: one.worth, reverse=True):
        shared = any(_same_code(candidate.plan, plan) for plan in written)
        if shared or candidate.size <= budget:
            budget -= 0 if shared else candidate.size
            written.append(candidate.plan)
            names[candidate.graph].add(candidate.name)
    return tuple(frozenset(chosen) for chosen in names)


def _candidates(index: int, graph: Graph, choices: Sequence[Choice]) -> Iterator[_Candidate]:
    for op, choice in zip(graph.ops, choices, strict=True):
        if choice.uncoded is None:
            continue
        slower = choice.uncoded.fastest.cycles
        saved = slower - choice.fastest.cycles
        if saved >= _LEAST_GAIN * slower:
            yield _Candidate(index, op.outputs[0], choice.fastest, saved)


def _same_code(a: KernelPlan, b: KernelPlan) -> bool:
    """Key of the code: layers with equal keys share it."""
    return a.template == b.template and a.code_bytes == b.code_bytes and a.context == b.context
