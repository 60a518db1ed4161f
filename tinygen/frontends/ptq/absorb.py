"""Constants that a layer's output is multiplied with, or that are added to it, as part of its weights and its bias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tinygen.frontends.ptq.model import FloatModel
from tinygen.frontends.ptq.roles import MAC, channel_axis, readers
from tinygen.ir.encodings import Float32
from tinygen.ir.epilogue import Tflite
from tinygen.ir.fixed_point import Activation
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.binary import Add, Arithmetic, Mul, Sub
from tinygen.ir.ops.mac_layer import MacLayer
from tinygen.ir.tensor import Tensor


def absorb_constants(model: FloatModel) -> FloatModel:
    """The same network without products with constants per channel, and sums, behind its layers.

    Exporters write biases of matrix products as sums, and old ones what is left of a batch norm as a product and a sum.
    """
    graph = model.graph
    while True:
        found = _absorbed(model, graph)
        if found is None:
            return replace(model, graph=graph)
        graph = found


def _absorbed(model: FloatModel, graph: Graph) -> Graph | None:
    read, writers = readers(graph), {name: op for op in graph.ops for name in op.outputs}
    for op in graph.ops:
        layer, constant = _operands(model, graph, op, read, writers)
        if layer is None or constant is None:
            continue
        assert isinstance(op, Arithmetic)
        weights, bias = _parameters(graph, layer)
        values = np.broadcast_to(np.asarray(constant.data, np.float32).reshape(-1), bias.shape)
        if isinstance(op, Mul):
            shape = [-1 if axis == channel_axis(layer) else 1 for axis in range(weights.ndim)]
            weights, bias = weights * values.reshape(shape), bias * values
        else:
            bias = bias - values if isinstance(op, Sub) else bias + values
        new = [_constant(graph, f"{layer.name}_{what}", array) for what, array in (("taps", weights), ("sums", bias))]
        made = replace(
            layer,
            inputs=(layer.inputs[0], new[0].name, new[1].name),
            outputs=op.outputs,
            epilogue=Tflite(op.activation),
        )
        ops = tuple(made if other is layer else other for other in graph.ops if other is not op)
        return _used(graph, ops, new)
    return None


def _operands(
    model: FloatModel, graph: Graph, op: Op, read: Mapping[str, list[Op]], writers: Mapping[str, Op]
) -> tuple[MacLayer | None, Tensor | None]:
    """The layer behind which an operator is, and its other operand, a constant per channel; None if it is another."""
    if not isinstance(op, Add | Mul | Sub) or len(op.inputs) != 2:
        return None, None
    first, second = (graph.tensors[name] for name in op.inputs)
    x, constant = (second, first) if first.is_constant and not isinstance(op, Sub) else (first, second)
    layer = writers.get(x.name)
    if constant.data is None or not isinstance(layer, MAC) or not isinstance(layer, MacLayer):
        return None, None
    alone = read[x.name] == [op] and x.name not in graph.outputs and x.name not in model.activations
    known = {layer.inputs[1], constant.name} & model.weights.keys()
    per_channel = constant.size in (1, x.shape[-1]) and constant.size == (constant.shape or (1,))[-1]
    plain = layer.activation is Activation.NONE and graph.tensors[op.outputs[0]].shape == x.shape
    fits = alone and not known and per_channel and plain and x.is_float
    return (layer, constant) if fits else (None, None)


def _parameters(graph: Graph, layer: MacLayer) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias."""
    weights = np.asarray(graph.tensors[layer.inputs[1]].data, np.float32)
    if len(layer.inputs) > 2:
        return weights, np.asarray(graph.tensors[layer.inputs[2]].data, np.float32)
    return weights, np.zeros(weights.shape[channel_axis(layer)], np.float32)


def _constant(graph: Graph, wanted: str, array: np.ndarray) -> Tensor:
    name, number = wanted, 2
    while name in graph.tensors:
        name, number = f"{wanted}_{number}", number + 1
    data = np.ascontiguousarray(array, np.float32)
    return Tensor(name, data.shape, Float32(), data)


def _used(graph: Graph, ops: tuple[Op, ...], added: list[Tensor]) -> Graph:
    used = {name for op in ops for name in (*op.inputs, *op.outputs)} | {*graph.inputs, *graph.outputs}
    tensors = {**graph.tensors, **{tensor.name: tensor for tensor in added}}
    return replace(graph, ops=ops, tensors={name: tensor for name, tensor in tensors.items() if name in used})
