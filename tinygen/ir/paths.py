"""Which branches inputs take, and all intermediate values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tinygen.ir.branch import Branch, branches_of
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import Evaluate, Stream, evaluate_all
from tinygen.ir.ops.base import Node

Path = tuple[tuple[str, int], ...]
"""Branch operators that ran, by their full names (`outer/0/inner`), each with the branch it took; in order."""


@dataclass(frozen=True)
class Trace:
    """One inference.

    Attributes:
        values: codes of every computed tensor; keys within branches are `operator/branch/tensor`.
        path: the branches that ran.
    """

    values: dict[str, np.ndarray] = field(default_factory=dict)
    path: Path = ()


def trace(
    graph: Graph,
    inputs: Sequence[np.ndarray],
    instead: Mapping[str, Evaluate] | None = None,
    states: Mapping[str, np.ndarray] | None = None,
) -> Trace:
    """Evaluates like `evaluate_all`, including the tensors of branches that run."""
    values: dict[str, np.ndarray] = {}
    path: list[tuple[str, int]] = []

    def within(prefix: str, op: Branch) -> Evaluate:
        def evaluate(node: Node, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
            number = op.number(int(arguments[0].reshape(())))
            path.append((f"{prefix}{op.name}", number))
            return run(op.branches[number], arguments[1:], f"{prefix}{op.name}/{number}/", None)

        return evaluate

    def run(
        graph: Graph, inputs: Sequence[np.ndarray], prefix: str, states: Mapping[str, np.ndarray] | None
    ) -> list[np.ndarray]:
        looking = {op.name: within(prefix, op) for op in branches_of(graph)}
        found = evaluate_all(graph, inputs, {**(instead or {}), **looking}, states)
        values.update({f"{prefix}{name}": codes for name, codes in found.items()})
        return [found[name] for name in graph.outputs]

    run(graph, inputs, "", states)
    return Trace(values, tuple(path))


class PathStream(Stream):
    """Consecutive inferences, each with the branches that ran.

    Attributes:
        path: of the last step.
    """

    path: Path = ()

    def step_all(self, inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Codes of every tensor of the next inference, including those in branches that ran."""
        found = trace(self.graph, inputs, self._instead, self.states)
        self.states = {state.tensor: found.values[state.update] for state in self.graph.states}
        self.path = found.path
        return found.values


def path_of(graph: Graph, inputs: Sequence[np.ndarray]) -> Path:
    """The branches that one input takes."""
    return trace(graph, inputs).path


def count_paths(graph: Graph, samples: Iterable[Sequence[np.ndarray]]) -> Counter[Path]:
    """How many samples take each path; states are reset before each sample."""
    return Counter(path_of(graph, sample) for sample in samples)


def all_paths(graph: Graph, most: int = 4096) -> list[Path]:
    """Every path that indices allow, whether or not an input takes it; at most `most`."""
    paths: list[Path] = []
    for path in _paths(graph, ""):
        if len(paths) == most:
            break
        paths.append(path)
    return paths


def _paths(graph: Graph, prefix: str) -> Iterator[Path]:
    """In the order of indices; the first operator's index changes slowest."""
    return _joined(list(branches_of(graph)), prefix)


def _joined(ops: Sequence[Branch], prefix: str) -> Iterator[Path]:
    if not ops:
        yield ()
        return
    name = f"{prefix}{ops[0].name}"
    for number, graph in enumerate(ops[0].branches):
        for inner in _paths(graph, f"{name}/{number}/"):
            for rest in _joined(ops[1:], prefix):
                yield ((name, number), *inner, *rest)


def writers(graph: Graph, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(tensor, operator) for all tensors that operators write, in order; a branch's inner ones before its outputs."""
    for op in graph.ops:
        for number, inner in enumerate(op.branches if isinstance(op, Branch) else ()):
            yield from writers(inner, f"{prefix}{op.name}/{number}/")
        for name in op.outputs:
            yield f"{prefix}{name}", f"{prefix}{op.name}"
