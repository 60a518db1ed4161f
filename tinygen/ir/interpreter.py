"""Runs a graph by its operators' exact meaning: the law everything else is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node

Evaluate = Callable[[Node, Sequence[np.ndarray]], list[np.ndarray]]
"""What `Op.evaluate` is."""

_ABSENT = np.zeros(0, np.int64)


def evaluate_all(
    graph: Graph, inputs: Sequence[np.ndarray], instead: Mapping[str, Evaluate] | None = None
) -> dict[str, np.ndarray]:
    """Every tensor's codes for one inference.

    Args:
        graph: a validated graph.
        inputs: codes of each model input, shaped and typed as the graph says.
        instead: another meaning for some operators, by name.

    Returns:
        codes by tensor name, constants included.
    """
    values = {name: tensor.data for name, tensor in graph.tensors.items() if tensor.data is not None}
    for name, value in zip(graph.inputs, inputs, strict=True):
        tensor = graph.tensors[name]
        values[name] = np.asarray(value, tensor.dtype).reshape(tensor.shape)
    for node in graph.nodes():
        arguments = [values[name] if name else _ABSENT for name in node.op.inputs]
        meaning = (instead or {}).get(node.op.name, node.op.evaluate)
        for name, result in zip(node.op.outputs, meaning(node, arguments), strict=True):
            values[name] = result
    return values


def evaluate(
    graph: Graph, inputs: Sequence[np.ndarray], instead: Mapping[str, Evaluate] | None = None
) -> list[np.ndarray]:
    """Codes of each model output for one inference; see `evaluate_all`."""
    values: Mapping[str, np.ndarray] = evaluate_all(graph, inputs, instead)
    return [values[name] for name in graph.outputs]
