"""A hybrid .tflite model with float weights: what computing it in float32 is compared with."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinygen.frontends.tflite.hybrid import PLACES

_TYPE = schema.TensorType
_STORED = {_TYPE.INT8: np.int8, _TYPE.UINT8: np.uint8, _TYPE.INT4: np.int8}


def with_float_weights(content: bytes) -> bytes:
    """The file with the integer weights of layers of float activations as float32, as DEQUANTIZE would make them."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for graph in model.subgraphs:
        for operator in graph.operators:
            entry = model.operatorCodes[operator.opcodeIndex]
            places = PLACES.get(max(entry.builtinCode, entry.deprecatedBuiltinCode))
            if places is None or len(operator.inputs) <= max(places):
                continue
            x, weights = (graph.tensors[operator.inputs[place]] for place in places)
            if x.type == _TYPE.FLOAT32 and weights.type in _STORED and model.buffers[weights.buffer].data is not None:
                operator.inputs = [*operator.inputs]
                operator.inputs[places[1]] = len(graph.tensors)
                graph.tensors.append(_widened(model, weights))
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _widened(model: Any, weights: Any) -> Any:
    """A float32 constant; scale times code less zero point."""
    raw = np.asarray(model.buffers[weights.buffer].data, np.uint8)
    if weights.type == _TYPE.INT4:
        nibbles = np.stack([raw & 15, raw >> 4], axis=-1).reshape(-1)[: int(np.prod(weights.shape))]
        raw = ((nibbles ^ 8).astype(np.int8) - 8).view(np.uint8)
    codes = raw.view(_STORED[weights.type]).reshape(weights.shape).astype(np.float64)
    shape = [1] * codes.ndim
    shape[weights.quantization.quantizedDimension if len(weights.quantization.scale) > 1 else 0] = -1
    scale, zero = (
        np.asarray(values, np.float64).reshape(shape)
        for values in (weights.quantization.scale, weights.quantization.zeroPoint)
    )
    found = schema.TensorT()
    found.name, found.shape, found.type = weights.name + b" as float", weights.shape, _TYPE.FLOAT32
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(((codes - zero) * scale).astype(np.float32).tobytes(), np.uint8)
    model.buffers.append(buffer)
    found.buffer = len(model.buffers) - 1
    return found
