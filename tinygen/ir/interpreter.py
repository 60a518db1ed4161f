"""Runs a graph by its operators' exact semantics: the reference for everything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node

Evaluate = Callable[[Node, Sequence[np.ndarray]], list[np.ndarray]]
"""What `Op.evaluate` is."""

_ABSENT = np.zeros(0, np.int64)


def evaluate_all(
    graph: Graph,
    inputs: Sequence[np.ndarray],
    instead: Mapping[str, Evaluate] | None = None,
    states: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Every tensor's codes for one inference.

    Args:
        graph: a validated graph.
        inputs: codes of each model input, shaped and typed as the graph says.
        instead: replacement functions for some operators, by name.
        states: codes of the states' tensors, by name; None for their initial codes.

    Returns:
        codes by tensor name, constants included.
    """
    values = {name: tensor.data for name, tensor in graph.tensors.items() if tensor.data is not None}
    values |= initial_states(graph) if states is None else states
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
    """Codes of each model output for one inference, starting from initial states; see `evaluate_all`."""
    values: Mapping[str, np.ndarray] = evaluate_all(graph, inputs, instead)
    return [values[name] for name in graph.outputs]


def initial_states(graph: Graph) -> dict[str, np.ndarray]:
    """Codes of the states' tensors before the first invocation, by name."""
    return {state.tensor: state.initial for state in graph.states}


class Stream:
    """Consecutive inferences, with the graph's states kept between them.

    Args:
        graph: a validated graph; without states every step is independent.
        instead: another meaning for some operators, by name.

    Attributes:
        states: codes of the states' tensors before the next step, by name.
    """

    def __init__(self, graph: Graph, instead: Mapping[str, Evaluate] | None = None) -> None:
        self.graph, self._instead = graph, instead
        self.states = initial_states(graph)

    def reset(self) -> None:
        """Sets all states to their initial codes."""
        self.states = initial_states(self.graph)

    def step(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Codes of each model output for the next inference."""
        values = self.step_all(inputs)
        return [values[name] for name in self.graph.outputs]

    def step_all(self, inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Codes of every tensor for the next inference, by name."""
        values = evaluate_all(self.graph, inputs, self._instead, self.states)
        # All at once: a state's update may be another state.
        self.states = {state.tensor: values[state.update] for state in self.graph.states}
        return values
