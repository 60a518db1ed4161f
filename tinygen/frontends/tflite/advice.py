"""What to do about a layer whose types, scales or parameters tinygen does not take."""

from __future__ import annotations

from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node

_EVERYWHERE = {"int8", "float32", "bool"}
"""Types that most operators take."""
_TYPES = (
    "Quantize the layer's tensors to int8, or leave the layer in float: docs/reference/operators.md has the operators "
    "that take int16, too."
)
_SCALES = "Calibrate the model again, with inputs like those that it will get: a tensor's range is wrong by far."
_LAYER = "Change the layer in the source model: docs/from-tflite.md says what is taken."
_RULES = "Convert the model again, or mend the program that wrote it: the file breaks TensorFlow Lite's rules."


def advise(error: TinygenError, graph: Graph | None = None) -> None:
    """Gives an error that has none its fix.

    Args:
        graph: if the error is about one of its layers.
    """
    if not error.fix:
        error.fix = (
            _RULES if isinstance(error, ModelError) else _advice(error.what, None if graph is None else _refused(graph))
        )


def _refused(graph: Graph) -> Node | None:
    """The first layer that its operator does not take."""
    for node in graph.nodes():
        try:
            node.check()
        except UnsupportedError:
            return node
    return None


def _advice(what: str, node: Node | None) -> str:
    if "scale" in what and "too" in what:
        return _SCALES
    if node is not None:
        values = [tensor for tensor in (*node.inputs, *node.outputs) if tensor is not None and not tensor.is_constant]
        if not {tensor.dtype.name for tensor in values} <= _EVERYWHERE:
            return _TYPES
    return _LAYER
