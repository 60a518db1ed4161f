"""A classifier's output as an answer: the class, its probability and its margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.builds.compare import decision_threshold
from tinygen.ir.encodings import ChannelList, Float32, Plain
from tinygen.ir.graph import Graph
from tinygen.ir.ops.quantize import Dequantize
from tinygen.ir.ops.requantize import Requantize
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.ops.softmax import Softmax
from tinygen.ir.ops.unary import Logistic

TOP = 3


@dataclass(frozen=True)
class Answer:
    """One image's answer.

    Attributes:
        index: of the class with the largest output; the first of equal ones.
        margin: difference to the second largest output, in codes (floats: in real units).
        probability: of the class: the model's own if it ends in a softmax or a sigmoid, else the softmax of the real
            values of the outputs; None if outputs have no scale.
        top: the most probable classes and their probabilities, at most three; empty if outputs have no scale.
    """

    index: int
    margin: float
    probability: float | None
    top: tuple[tuple[int, float], ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "class": self.index,
            "margin": self.margin,
            "probability": self.probability,
            "top": [{"class": index, "probability": value} for index, value in self.top],
        }


def answer_of(codes: np.ndarray, graph: Graph) -> Answer:
    """The answer in an output's codes."""
    flat = codes.reshape(-1)
    wide = flat.astype(np.float64)
    probabilities = _probabilities(flat, graph)
    if flat.size == 1:
        threshold = decision_threshold(graph)
        index = int(wide[0] > threshold)
        margin = abs(float(wide[0]) - threshold)
    else:
        index = int(np.argmax(flat))
        margin = float(wide[index] - np.delete(wide, index).max())
    if probabilities is None:
        return Answer(index, margin, None, ())
    order = np.argsort(-probabilities, kind="stable")[:TOP]
    top = tuple((int(place), float(probabilities[place])) for place in order)
    return Answer(index, margin, float(probabilities[index]), top)


def _probabilities(flat: np.ndarray, graph: Graph) -> np.ndarray | None:
    tensor = graph.tensors[graph.outputs[0]]
    if isinstance(tensor.encoding, Float32):
        values = flat.astype(np.float64)
    elif isinstance(tensor.encoding, Plain | ChannelList) or tensor.encoding.per_channel:
        return None
    else:
        values = tensor.encoding.integers(flat) * tensor.encoding.scale[0]
    if flat.size == 1:
        return np.array([1 - values[0], values[0]])
    if _ends_in_probabilities(graph):
        return np.asarray(values)
    powers = np.exp(values - values.max())
    return np.asarray(powers / powers.sum())


def _ends_in_probabilities(graph: Graph) -> bool:
    writer = {name: op for op in graph.ops for name in op.outputs}
    op = writer.get(graph.outputs[0])
    while isinstance(op, Reshape | Requantize | Dequantize):
        op = writer.get(op.inputs[0] or "")
    return isinstance(op, Softmax | Logistic)
