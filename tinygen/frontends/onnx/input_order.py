"""The order of dimensions of a model's inputs and outputs."""

from __future__ import annotations

from typing import Any

from tinygen.frontends.aten.layout import NHWC
from tinygen.ir.tensor import Shape

# Operators before the first layer that keep the order of dimensions.
_LOOK_THROUGH = frozenset(
    ("QuantizeLinear", "DequantizeLinear", "Quant", "IntQuant", "BipolarQuant", "Identity", "Cast")
)
_REORDERING = frozenset(("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze"))


def input_order(file: Any, name: str, shape: Shape) -> tuple[int, ...]:
    """ONNX's dimension for each of our tensor's.

    Images are stored channels last, so that no layer has to transpose them. If the file makes the image channels first
    before its first layer, the input is channels last already.

    Args:
        file: ONNX's graph.
        name: of the input.
        shape: ONNX's.
    """
    order = tuple(range(len(shape)))
    if len(shape) != 4:
        return order
    turned, reader = order, _reader(file, name)
    while reader is not None and (reader.op_type in _LOOK_THROUGH or reader.op_type == "Transpose"):
        if reader.op_type == "Transpose":
            permutation = next((tuple(entry.ints) for entry in reader.attribute if entry.name == "perm"), order[::-1])
            if sorted(permutation) != list(order):
                break
            turned = tuple(turned[i] for i in permutation)
        reader = _reader(file, reader.output[0]) if reader.output else None
    # Any other transposition is a layer: who feeds the model expects N, H, W, C.
    return order if tuple(turned[i] for i in NHWC) == order else NHWC


def is_reordered(file: Any, name: str) -> bool:
    """Whether a transposition or a new shape is the last thing that happens to a model output."""
    writers = {output: node for node in file.node for output in node.output}
    writer = writers.get(name)
    while writer is not None and writer.op_type in _LOOK_THROUGH:
        writer = writers.get(writer.input[0])
    return writer is not None and writer.op_type in _REORDERING


def _reader(file: Any, name: str) -> Any:
    """The first node that reads a value."""
    return next((node for node in file.node if node.input and node.input[0] == name), None)
