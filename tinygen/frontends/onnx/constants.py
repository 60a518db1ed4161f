"""Constant folding of nodes such as computed shapes and scaled weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen.errors import ModelError
from tinygen.frontends.onnx.node import STANDARD, Operator
from tinygen.frontends.onnx.values import Constant, Value

# Not folded: converters that keep codes besides the value; branches read values that are not their inputs.
_KEPT = ("QuantizeLinear", "DequantizeLinear", "If")
_KEEP_CODES = ("Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten")


def fold_node(onnx: Any, node: Any, operator: Operator, opset: int) -> list[Value] | None:
    """The outputs of a node with constant inputs, computed by ONNX's reference implementation; None for other nodes."""
    if operator.domain not in STANDARD:
        return None
    if operator.kind == "Constant":
        return [Constant(_constant(onnx, operator))]
    if operator.kind == "Shape" and operator.has(0):
        return [_shape(operator)]
    if operator.kind == "Size" and operator.has(0):
        return [Constant(np.array(math.prod(operator.value(0).shape), np.int64))]
    known = [value for value in operator.inputs if value is not None]
    if operator.kind in _KEEP_CODES and isinstance(known[0], Constant) and known[0].codes is not None:
        return None
    if operator.kind in _KEPT or not known or not all(isinstance(value, Constant) for value in known):
        return None
    arrays = {
        name: value.array
        for name, value in zip(operator.input_names, operator.inputs, strict=True)
        if isinstance(value, Constant)
    }
    return [Constant(np.asarray(result)) for result in evaluate_node(onnx, node, arrays, opset)]


def evaluate_node(onnx: Any, node: Any, arrays: dict[str, np.ndarray], opset: int) -> list[np.ndarray]:
    """What ONNX's reference implementation makes of arrays, by the names of the node's inputs."""
    from onnx.reference import ReferenceEvaluator

    inputs = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in arrays.items()
    ]
    outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = onnx.helper.make_graph([node], "constants", inputs, outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    try:
        return list(ReferenceEvaluator(model).run(None, arrays))
    except Exception as error:  # Whatever the reference raises on operands that do not fit.
        raise ModelError(f"its constant operands do not fit ({error})") from error


def _shape(operator: Operator) -> Constant:
    shape = np.array(operator.value(0).shape, np.int64)
    return Constant(shape[slice(operator.attributes.get("start", 0), operator.attributes.get("end"))])


def _constant(onnx: Any, operator: Operator) -> np.ndarray:
    """The value of a Constant node, whichever attribute holds it."""
    for name, value in operator.attributes.items():
        if name == "value":
            return onnx.numpy_helper.to_array(value)
        if name in ("value_float", "value_floats"):
            return np.array(value, np.float32)
        if name in ("value_int", "value_ints"):
            return np.array(value, np.int64)
    raise ModelError("its value is missing, or of a kind that tinygen does not read")
