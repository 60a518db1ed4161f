"""Runs a graph by its operators' exact meaning: the law everything else is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tinygen.ir.graph import Graph

_ABSENT = np.zeros(0, np.int64)


def evaluate_all(graph: Graph, inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Every tensor's codes for one inference.

    Args:
        graph: a validated graph.
        inputs: codes of each model input, shaped and typed as the graph says.

    Returns:
        codes by tensor name, constants included.
    """
    values = {name: tensor.data for name, tensor in graph.tensors.items() if tensor.data is not None}
    for name, value in zip(graph.inputs, inputs, strict=True):
        tensor = graph.tensors[name]
        values[name] = np.asarray(value, tensor.dtype).reshape(tensor.shape)
    for node in graph.nodes():
        arguments = [values[name] if name else _ABSENT for name in node.op.inputs]
        for name, result in zip(node.op.outputs, node.op.evaluate(node, arguments), strict=True):
            values[name] = result
    return values


def evaluate(graph: Graph, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Codes of each model output for one inference."""
    values: Mapping[str, np.ndarray] = evaluate_all(graph, inputs)
    return [values[name] for name in graph.outputs]
