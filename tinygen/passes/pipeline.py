"""The passes every build runs, in order. Each gives a graph that means the same."""

from __future__ import annotations

from tinygen.ir.graph import Graph
from tinygen.passes.fold_constants import fold_constants
from tinygen.passes.remove_dead import remove_dead


def simplify(graph: Graph) -> Graph:
    """Folds what depends on constants only and drops what nothing reads."""
    return remove_dead(fold_constants(graph))
