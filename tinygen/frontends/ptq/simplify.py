"""Simplifies a float graph before it is quantized: fuses activations, and moves encodings to their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tinygen.frontends.ptq.absorb import absorb_constants
from tinygen.frontends.ptq.model import FloatModel
from tinygen.frontends.ptq.roles import EXACT, MAC, activations, readers
from tinygen.ir.branch import with_branches
from tinygen.ir.encodings import Affine
from tinygen.ir.epilogue import Tflite
from tinygen.ir.fixed_point import Activation
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.binary import Arithmetic
from tinygen.ir.ops.mac_layer import MacLayer
from tinygen.ir.ops.pool_2d import MaxPool2D
from tinygen.ir.ops.quantize import Quantize
from tinygen.ir.ops.unary import Clamp


def simplify_float(model: FloatModel) -> FloatModel:
    """The same network with each encoding on the tensor it belongs to, and activations fused into operators.

    Products with constants and sums become part of the layers in front of them.
    """
    while True:
        spread = _spread(_absorb_quantize(model))
        if spread.activations.keys() == model.activations.keys() and spread.graph.ops == model.graph.ops:
            spread = replace(spread, graph=with_branches(spread.graph, _simple))
            return fuse_activations(clamp_before_pools(absorb_constants(spread)))
        model = spread


def _simple(branch: Graph) -> Graph:
    return simplify_float(FloatModel(branch)).graph


def fuse_activations(model: FloatModel) -> FloatModel:
    """Fuses a clamp into the operator before it, if nothing else reads that operator's output.

    If that output has an encoding, the clamp's must be the same, so that clamping codes is the same as clamping values.
    """
    graph, read = model.graph, readers(model.graph)
    ops: list[Op] = []
    for op in graph.ops:
        before = ops[-1] if ops else None
        if isinstance(op, Clamp):
            before = next((other for other in ops if op.inputs[0] in other.outputs), None)
        if isinstance(op, Clamp) and before is not None and _fuses(model, before, op, read):
            ops[ops.index(before)] = _with_activation(before, op)
        else:
            ops.append(op)
    return _with_ops(model, ops)


def clamp_before_pools(model: FloatModel) -> FloatModel:
    """Moves clamps before max pools if the operator there can fuse them; the values are the same."""
    graph, read = model.graph, readers(model.graph)
    ops, tensors = list(graph.ops), dict(graph.tensors)
    writers = {name: op for op in ops for name in op.outputs}
    for clamp in graph.ops:
        pool = writers.get(clamp.inputs[0]) if isinstance(clamp, Clamp) else None
        if not isinstance(pool, MaxPool2D) or pool.activation is not Activation.NONE:
            continue
        before, between = pool.inputs[0], pool.outputs[0]
        names = {before, between}
        if names & {*model.activations, *graph.outputs} or any(len(read[name]) != 1 for name in names):
            continue
        # The tensor between clamp and pool now has the shape of the pool's input.
        tensors[between] = replace(tensors[before], name=between)
        ops[ops.index(pool)] = replace(clamp, inputs=(before,), outputs=(between,))
        ops[ops.index(clamp)] = replace(pool, inputs=(between,), outputs=clamp.outputs)
    return _with_ops(replace(model, graph=replace(graph, tensors=tensors)), ops)


def _with_activation(op: Op, clamp: Clamp) -> Op:
    """The operator that gives the clamp's output."""
    if isinstance(op, MacLayer):
        return replace(op, epilogue=Tflite(clamp.activation), outputs=clamp.outputs)
    assert isinstance(op, Arithmetic)
    return replace(op, activation=clamp.activation, outputs=clamp.outputs)


def _fuses(model: FloatModel, before: Op, clamp: Clamp, read: Mapping[str, list[Op]]) -> bool:
    name = clamp.inputs[0]
    between, after = model.activations.get(name), model.activations.get(clamp.outputs[0])
    return (
        isinstance(before, (*MAC, Arithmetic))
        and before.activation is Activation.NONE
        and len(read[name]) == 1
        and name not in model.graph.outputs
        and between in (None, after)
    )


def _absorb_quantize(model: FloatModel) -> FloatModel:
    """Drops each `Quantize` whose input has no other reader: the input gets the encoding instead."""
    read = readers(model.graph)
    encodings = dict(model.activations)
    alias: dict[str, str] = {}
    ops: list[Op] = []
    for op in model.graph.ops:
        op = replace(op, inputs=tuple(alias.get(name, name) for name in op.inputs))
        if isinstance(op, Quantize):
            name, encoding = op.inputs[0], encodings[op.outputs[0]]
            if name not in encodings and _all_quantize(read[name], encoding, model):
                encodings[name] = encoding
            if encodings.get(name) == encoding:
                alias[op.outputs[0]] = name
                continue
        ops.append(op)
    graph = replace(model.graph, outputs=tuple(alias.get(name, name) for name in model.graph.outputs))
    return _with_ops(replace(model, graph=graph, activations=encodings), ops)


def _all_quantize(ops: list[Op], encoding: Affine, model: FloatModel) -> bool:
    same = (isinstance(op, Quantize) and model.activations[op.outputs[0]] == encoding for op in ops)
    return all(same) and not any(op.inputs[0] in model.graph.outputs for op in ops)


def _spread(model: FloatModel) -> FloatModel:
    """Propagates encodings across operators that only move codes, which does not round."""
    encodings, read = dict(model.activations), readers(model.graph)
    for op in (*model.graph.ops, *reversed(model.graph.ops)):
        if not isinstance(op, EXACT):
            continue
        inputs = activations(model.graph, op)
        if len(inputs) != len(op.inputs):
            continue
        known = {encodings.get(name) for name in inputs}
        given = encodings.get(op.outputs[0])
        if given is None and len(known) == 1 and None not in known:
            encodings |= dict.fromkeys(op.outputs, encodings[inputs[0]])
        private = all(len(read[name]) == 1 and name not in model.graph.outputs for name in inputs)
        if given is not None and known == {None} and private:
            encodings |= dict.fromkeys(inputs, given)
    return replace(model, activations=encodings)


def _with_ops(model: FloatModel, ops: list[Op]) -> FloatModel:
    graph = model.graph
    used = {name for op in ops for name in (*op.inputs, *op.outputs)} | {*graph.inputs, *graph.outputs}
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name in used}
    kept = {name: encoding for name, encoding in model.activations.items() if name in used}
    return replace(model, graph=Graph(graph.name, tensors, tuple(ops), graph.inputs, graph.outputs), activations=kept)
