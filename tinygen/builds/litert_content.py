"""Model files as LiteRT takes them: what reading them otherwise is compared with."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import tflite

from tinygen.frontends.tflite.hybrid import PLACES

_TYPE = tflite.TensorType
_BIASES = (_TYPE.INT32, _TYPE.INT64)
_AXIS = 16
"""Offset of the axis in the vtable of a quantization."""
_STORED = {_TYPE.INT8: np.int8, _TYPE.UINT8: np.uint8, _TYPE.INT4: np.int8}


def for_litert(content: bytes, *, in_float: bool) -> tuple[bytes, tuple[str, ...]]:
    """What LiteRT is given of a file, and what is changed in it.

    Args:
        in_float: hybrid layers are computed in float.
    """
    found, notes = with_axes_of_biases(content), []
    if found != content:
        notes.append("LiteRT refuses biases with scales along an axis that they lack: it is given them along axis 0")
    if in_float:
        found = with_float_weights(found)
        notes.append("LiteRT is given the weights of hybrid layers as float32")
    return found, tuple(notes)


def with_float_weights(content: bytes) -> bytes:
    """The file with the integer weights of layers of float activations as float32, as DEQUANTIZE would make them."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for graph in model.subgraphs:
        for operator in graph.operators:
            entry = model.operatorCodes[operator.opcodeIndex]
            places = PLACES.get(max(entry.builtinCode, entry.deprecatedBuiltinCode))
            if places is None or len(operator.inputs) <= max(places):
                continue
            operator.inputs = [*operator.inputs]
            x = graph.tensors[operator.inputs[places[0]]]
            for place in places[1:]:
                weights = graph.tensors[operator.inputs[place]] if operator.inputs[place] >= 0 else x
                stored = weights.type in _STORED and model.buffers[weights.buffer].data is not None
                if x.type == _TYPE.FLOAT32 and stored:
                    operator.inputs[place] = len(graph.tensors)
                    graph.tensors.append(_widened(model, weights))
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def with_axes_of_biases(content: bytes) -> bytes:
    """The file with scales of vectors of words along the only axis that they have.

    Old converters wrote the axis of the weights there. TensorFlow Lite Micro ignores it, LiteRT refuses such a file.
    """
    found, model = bytearray(content), tflite.Model.GetRootAs(content, 0)
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for tensor in map(graph.Tensors, range(graph.TensorsLength())):
            quantization = tensor.Quantization()
            if tensor.Type() in _BIASES and tensor.ShapeLength() == 1 and quantization is not None:
                place = quantization._tab.Offset(_AXIS)
                if place and quantization.QuantizedDimension() != 0:
                    place += quantization._tab.Pos
                    found[place : place + 4] = bytes(4)
    return bytes(found)


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
    found, buffer = type(weights)(), type(model.buffers[0])()
    found.name, found.shape, found.type = weights.name + b" as float", weights.shape, _TYPE.FLOAT32
    buffer.data = np.frombuffer(((codes - zero) * scale).astype(np.float32).tobytes(), np.uint8)
    model.buffers.append(buffer)
    found.buffer = len(model.buffers) - 1
    return found
