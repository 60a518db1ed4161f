"""Operators on floats between quantizers, in integers where one operator does it.

An operator that the reader has no form on codes for is read on floats: behind a Dequantize, in front of a Quantize.
Where it has an integer form by TFLite's rules, as post-training quantization uses them, both encodings are known, and
it gets that form. Layers with weights stay what the file says: someone left them in float.
"""

from __future__ import annotations

from dataclasses import replace

from tinygen.errors import TinygenError
from tinygen.frontends.ptq.convert import convert
from tinygen.frontends.ptq.model import FloatModel
from tinygen.frontends.ptq.roles import EXACT, MAC, activations, readers
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.quantize import Dequantize, Quantize
from tinygen.ir.tensor import Tensor


def in_integers(graph: Graph) -> Graph:
    """The same graph with fewer operators on floats."""
    while True:
        changed = _moved_codes(graph) or _quantized_earlier(graph) or _converted(graph)
        if changed is None:
            return graph
        graph = _used(changed)


def floats_of(graph: Graph) -> list[Op]:
    """Operators that compute floats; conversions to float are none."""
    return [op for op in graph.ops if graph.tensors[op.outputs[0]].is_float and not isinstance(op, Dequantize)]


def _writers(graph: Graph) -> dict[str, Op]:
    return {name: op for op in graph.ops for name in op.outputs}


def _codes(graph: Graph, name: str, writers: dict[str, Op]) -> str | None:
    """The int8 tensor of which a float tensor is the values; None if there is none."""
    writer = writers.get(name)
    if not isinstance(writer, Dequantize):
        return None
    encoding = graph.tensors[writer.inputs[0]].encoding
    plain = isinstance(encoding, Affine) and encoding.storage == "int8" and not encoding.per_channel
    return writer.inputs[0] if plain else None


def _moved_codes(graph: Graph) -> Graph | None:
    """Moves codes in front of a Dequantize instead of floats behind it."""
    writers = _writers(graph)
    for op in floats_of(graph):
        codes = _codes(graph, op.inputs[0], writers)
        if not isinstance(op, EXACT) or codes is None or len(op.inputs) > 1 or len(op.outputs) > 1:
            continue
        output = graph.tensors[op.outputs[0]]
        moved = _tensor(graph, f"{output.name}_codes", output, graph.tensors[codes].encoding)
        after = Dequantize(name=f"{op.name}_real", inputs=(moved.name,), outputs=op.outputs)
        return _replaced(graph, [op], [replace(op, inputs=(codes,), outputs=(moved.name,)), after], [moved])
    return None


def _quantized_earlier(graph: Graph) -> Graph | None:
    """Moves codes behind a Quantize instead of floats in front of it."""
    writers, read = _writers(graph), readers(graph)
    for quantize in graph.ops:
        op = writers.get(quantize.inputs[0]) if isinstance(quantize, Quantize) else None
        if not isinstance(op, EXACT) or len(op.inputs) > 1 or len(op.outputs) > 1 or not _private(graph, op, read):
            continue
        before = graph.tensors[op.inputs[0]]
        if not before.is_float or before.is_constant or isinstance(writers.get(before.name), Dequantize):
            continue
        codes = _tensor(graph, f"{before.name}_codes", before, graph.tensors[quantize.outputs[0]].encoding)
        first = replace(quantize, inputs=(before.name,), outputs=(codes.name,))
        second = replace(op, inputs=(codes.name,), outputs=quantize.outputs)
        return _replaced(graph, [op, quantize], [first, second], [codes])
    return None


def _private(graph: Graph, op: Op, read: dict[str, list[Op]]) -> bool:
    """Whether nothing but one operator reads the output, and nothing but this one the input."""
    inner = op.outputs[0] not in graph.outputs and op.inputs[0] not in graph.outputs
    return inner and len(read[op.outputs[0]]) == len(read[op.inputs[0]]) == 1


def _converted(graph: Graph) -> Graph | None:
    """Gives an operator between codes its integer form."""
    writers, read = _writers(graph), readers(graph)
    for op in floats_of(graph):
        output = op.outputs[0]
        following = read.get(output, [])
        if isinstance(op, MAC) or len(op.outputs) > 1 or output in graph.outputs or not following:
            continue
        codes = {name: _codes(graph, name, writers) for name in activations(graph, op)}
        wanted = {graph.tensors[other.outputs[0]].encoding for other in following if isinstance(other, Quantize)}
        alike = len(wanted) == 1 and all(isinstance(other, Quantize) for other in following)
        if not alike or not all(codes.values()) or not codes:
            continue
        made = _integer(graph, op, {name: str(inner) for name, inner in codes.items()}, following)
        if made is not None:
            return made
    return None


def _integer(graph: Graph, op: Op, codes: dict[str, str], following: list[Op]) -> Graph | None:
    tensors = {name: graph.tensors[name] for name in (*op.inputs, *op.outputs) if name}
    alone = Graph(graph.name, tensors, (op,), tuple(codes), op.outputs)
    first, *others = (other.outputs[0] for other in following)
    encodings = {name: graph.tensors[inner].affine for name, inner in codes.items()}
    encodings[op.outputs[0]] = graph.tensors[first].affine
    try:
        found = convert(FloatModel(alone), encodings)
    except TinygenError:
        return None
    names = codes | {op.outputs[0]: first}
    inner = [name for name in found.tensors if name not in names]
    names |= {name: _unused(graph, name) for name in inner}
    ops = [
        replace(
            one,
            name=_op_name(graph, op, one.name),
            inputs=_renamed(one.inputs, names),
            outputs=_renamed(one.outputs, names),
        )
        for one in found.ops
    ]
    added = [replace(found.tensors[name], name=names[name]) for name in inner]
    copies = [Quantize(name=f"{name}_copy", inputs=(first,), outputs=(name,)) for name in others]
    return _replaced(graph, [op, *following], [*ops, *copies], added)


def _op_name(graph: Graph, instead_of: Op, wanted: str) -> str:
    known = {op.name for op in graph.ops if op is not instead_of}
    name, number = wanted, 2
    while name in known:
        name, number = f"{wanted}_{number}", number + 1
    return name


def _renamed(names: tuple[str, ...], new: dict[str, str]) -> tuple[str, ...]:
    return tuple(new.get(name, name) for name in names)


def _tensor(graph: Graph, name: str, like: Tensor, encoding: object) -> Tensor:
    assert isinstance(encoding, Affine)
    return replace(like, name=_unused(graph, name), encoding=encoding)


def _unused(graph: Graph, wanted: str) -> str:
    name, number = wanted, 2
    while name in graph.tensors:
        name, number = f"{wanted}_{number}", number + 1
    return name


def _replaced(graph: Graph, old: list[Op], new: list[Op], added: list[Tensor]) -> Graph:
    """The graph with operators in the place of the last of some others."""
    place = max(graph.ops.index(op) for op in old)
    before = [op for op in graph.ops[:place] if op not in old]
    return replace(
        graph,
        tensors={**graph.tensors, **{tensor.name: tensor for tensor in added}},
        ops=(*before, *new, *graph.ops[place + 1 :]),
    )


def _used(graph: Graph) -> Graph:
    """Without conversions that nothing reads, and without tensors that nothing touches."""
    read = {name for op in graph.ops for name in op.inputs} | {*graph.outputs}
    ops = tuple(op for op in graph.ops if not isinstance(op, Dequantize) or op.outputs[0] in read)
    used = {name for op in ops for name in (*op.inputs, *op.outputs)} | {*graph.inputs, *graph.outputs}
    return replace(graph, ops=ops, tensors={name: t for name, t in graph.tensors.items() if name in used})
