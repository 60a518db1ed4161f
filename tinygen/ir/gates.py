"""Gates: comparisons with a threshold that decide which of two branches runs, and their settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tinygen.ir.branch import Branch, branches_of
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.compare import Compare, Relation
from tinygen.ir.paths import Path
from tinygen.ir.thresholds import Threshold, thresholds_of

_RISING = (Relation.GREATER, Relation.GREATER_EQUAL)
_ORDERED = (*_RISING, Relation.LESS, Relation.LESS_EQUAL)
_MOST_CODES = 257
"""Quantiles of the scores that are tried as thresholds."""


@dataclass(frozen=True)
class Gate:
    """A comparison of a score with a threshold, whose result is the index of a branch operator.

    Attributes:
        threshold: its name.
        op: the comparison; the threshold is its second input.
        score: the first input's name, as in `ir.paths.trace`.
        cheap: the result for which the branch of fewer MAC runs.
        branch: the branch operator's full name.
        within: enclosing branch operators, outermost first, each with the number of the branch that holds the gate.
    """

    threshold: str
    op: Compare
    score: str
    cheap: bool
    branch: str
    within: Path = ()

    @property
    def saves_upwards(self) -> bool:
        """Whether a larger code lets more inputs take the cheaper branch."""
        return (self.op.relation in _RISING) != self.cheap

    def result(self, score: int, code: int) -> int:
        """0 or 1: the branch that a score takes at a threshold."""
        return int(self.op.holds(score, code))


@dataclass(frozen=True)
class Knob:
    """A threshold whose gates all save in the same direction.

    Attributes:
        gates: all readers of the threshold.
    """

    threshold: Threshold
    gates: tuple[Gate, ...]

    def code(self, share: float, scores: Mapping[str, Sequence[int]]) -> int:
        """The threshold's code at which about this share of the scores takes the cheaper branch.

        Shares 0 and 1 give the ends of the code's range, whatever the scores. Of two equally near codes, the one that
        saves less.

        Args:
            scores: of the inputs that reach each gate, by `Gate.score`.
        """
        ends = [self.threshold.low, self.threshold.high]
        dear, cheap = ends if self.gates[0].saves_upwards else ends[::-1]
        found = [np.array(scores.get(gate.score, ()), np.int64) for gate in self.gates]
        total = sum(map(len, found))
        if share in (0.0, 1.0) or not total:
            return cheap if share == 1.0 else dear
        quantiles = np.quantile(np.concatenate(found), np.linspace(0, 1, _MOST_CODES), method="nearest")
        codes = np.unique(np.concatenate((quantiles, quantiles + 1)).clip(min(ends), max(ends)))
        codes = codes if dear < cheap else codes[::-1]
        saved = sum(
            np.count_nonzero(gate.op.holds(each[:, None], codes) == gate.cheap, axis=0)
            for gate, each in zip(self.gates, found, strict=True)
        )
        return int(codes[np.argmin(np.abs(saved / total - share))])


def knobs_of(graph: Graph) -> tuple[Knob, ...]:
    """Thresholds of a valid graph that only gates read, all saving in one direction; in order."""
    thresholds = thresholds_of(graph)
    read = _Read()
    _look(graph, {one.tensor.name: one.name for one in thresholds}, (), read)
    knobs = []
    for one in thresholds:
        gates = tuple(gate for gate in read.gates if gate.threshold == one.name)
        if one.name not in read.otherwise and len({gate.saves_upwards for gate in gates}) == 1:
            knobs.append(Knob(one, gates))
    return tuple(knobs)


@dataclass
class _Read:
    """Readers of thresholds: gates, and which thresholds have other readers."""

    gates: list[Gate] = field(default_factory=list)
    otherwise: set[str] = field(default_factory=set)


def _look(graph: Graph, names: Mapping[str, str], within: Path, read: _Read) -> None:
    """Collects readers in a graph and its branches; `names` maps the graph's tensors to thresholds."""
    prefix = f"{within[-1][0]}/{within[-1][1]}/" if within else ""
    read.otherwise.update(names[name] for name in graph.outputs if name in names)
    for node in graph.nodes():
        op = node.op
        if isinstance(op, Branch):
            read.otherwise.update(names[name] for name in op.inputs[:1] if name in names)
            for number, inner in enumerate(op.branches):
                ports = zip(inner.inputs, op.inputs[1:], strict=True)
                own = {port: names[name] for port, name in ports if name in names}
                _look(inner, own, (*within, (f"{prefix}{op.name}", number)), read)
            continue
        gate = _gate(graph, node, names, prefix)
        if gate is None:
            read.otherwise.update(names[name] for name in op.inputs if name in names)
        else:
            read.gates.append(replace(gate, within=within))


def _gate(graph: Graph, node: Node, names: Mapping[str, str], prefix: str) -> Gate | None:
    op = node.op
    if not isinstance(op, Compare) or op.scaled or op.relation not in _ORDERED:
        return None
    score, line = op.inputs
    chosen = [branch for branch in branches_of(graph) if branch.inputs[0] == op.outputs[0]]
    if line not in names or score in names or len(chosen) != 1 or node.input(0).size != 1:
        return None
    costs = [_cost(chosen[0].chosen(index)) for index in (0, 1)]
    if costs[0] == costs[1] or not np.issubdtype(node.input(0).dtype, np.integer):
        return None
    return Gate(names[line], op, f"{prefix}{score}", costs[1] < costs[0], f"{prefix}{chosen[0].name}")


def _cost(graph: Graph) -> tuple[int, int]:
    """MAC, then number of operators: a skipped block has neither."""
    return sum(node.op.macs(node) for node in graph.nodes()), len(graph.ops)
