"""Gives constant model outputs an operator that writes them: outputs are in the arena, constants in flash."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tinygen.ir.graph import Graph
from tinygen.ir.ops.reshape import Reshape


def constant_outputs(graph: Graph) -> Graph:
    """The same graph; an operator at the end copies each constant output.

    The output keeps its name; operators read the constant under another one.
    """
    tensors, ops = dict(graph.tensors), graph.ops
    for name in dict.fromkeys(graph.outputs):
        if not tensors[name].is_constant:
            continue
        source = _unused(f"{name}#constant", tensors)
        tensors[source] = replace(tensors[name], name=source)
        tensors[name] = replace(tensors[name], data=None, nested_in=None)
        renamed = [replace(op, inputs=tuple(source if i == name else i for i in op.inputs)) for op in ops]
        label = _unused(f"copy_{len(ops)}", {op.name for op in ops})
        ops = (*renamed, Reshape(name=label, inputs=(source,), outputs=(name,), shape=tensors[name].shape))
    return replace(graph, tensors=tensors, ops=ops)


def _unused(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name += "#"
    return name
