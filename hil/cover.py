"""Every kernel of a board on a layer of its own, many layers to a firmware."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from hil.palette import palette
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Tensor
from tinygen.lowering.fuse import fuse
from tinygen.lowering.plan import Kernel, registered_kernels
from tinygen.lowering.select import FAMILIES

MOST_LAYERS, MOST_BYTES = 24, 24_000
"""Of a firmware: layers, and bytes of their inputs and outputs, which all live at once."""
OWN = ("tinygen", "reference")
_NO_CODE = frozenset({"alias", "reshape_constant", "row_window", "join_rows"})
"""Kernels that only say where an output lies."""


@dataclass(frozen=True, eq=False)
class Tried:
    """A kernel, and the layer that it is tried on.

    Attributes:
        layer: names of the operators in `graph` that it computes: one, or two that are fused.
        family: of the kernel.
    """

    kernel: str
    graph: Graph
    layer: tuple[str, ...]
    family: str = ""

    @property
    def nbytes(self) -> int:
        return sum(self.graph.tensors[name].nbytes for name in (*self.graph.inputs, *self.graph.outputs))


@dataclass(frozen=True, eq=False)
class Batch:
    """A firmware's layers, side by side in one graph.

    Attributes:
        kernels: asked for, by the layer's name.
    """

    model: MemoryModel
    kernels: dict[str, str]


@cache
def _palette() -> tuple[Graph, ...]:
    return tuple(palette())


def tried_on(isa: Collection[str]) -> tuple[list[Tried], list[str]]:
    """Our kernels for a core with these instruction sets, each with a layer; and those for which no layer was found."""
    found, left = [], []
    for kernel in registered_kernels():
        if kernel.family in OWN and kernel.suits(isa) and kernel.name not in _NO_CODE:
            one = next(_layers_for(kernel, frozenset(isa)), None)
            if one is None:
                left.append(kernel.name)
            else:
                found.append(one)
    return found, left


@cache
def _fused(isa: frozenset[str]) -> tuple[tuple[Graph, tuple[Node, ...]], ...]:
    return tuple((graph, tuple(fuse(graph, FAMILIES[0], isa).nodes())) for graph in _palette())


def _layers_for(kernel: Kernel, isa: frozenset[str]) -> Iterator[Tried]:
    for graph, nodes in _fused(isa):
        for node in nodes:
            if type(node.op) in kernel.ops and any(not plan.is_alias for plan in kernel.variants(node)):
                yield Tried(kernel.name, graph, _parts(graph, node.op.name), kernel.family)


def _parts(graph: Graph, fused: str) -> tuple[str, ...]:
    names = tuple(op.name for op in graph.ops)
    return (fused,) if fused in names else names


def batches(tried: Sequence[Tried], *, apart: bool = False) -> list[Batch]:
    """As few firmwares as the limits allow.

    Args:
        apart: no firmware has kernels of two families.
    """
    if apart:
        tried = sorted(tried, key=lambda one: one.family)
    groups: list[list[Tried]] = [[]]
    for one in tried:
        last = groups[-1]
        full = len(last) == MOST_LAYERS or sum(t.nbytes for t in last) + one.nbytes > MOST_BYTES
        if last and (full or (apart and last[-1].family != one.family)):
            groups.append([])
        groups[-1].append(one)
    return [_batch(index, group) for index, group in enumerate(groups) if group]


def _batch(index: int, group: Sequence[Tried]) -> Batch:
    tensors: dict[str, Tensor] = {}
    inputs: dict[tuple[object, ...], str] = {}
    ops: list[Op] = []
    outputs: list[str] = []
    for number, one in enumerate(group):
        names = _renamed(one.graph, number, inputs)
        tensors |= {new: replace(one.graph.tensors[old], name=new) for old, new in names.items()}
        for op in one.graph.ops:
            reads = tuple(names[name] if name else "" for name in op.inputs)
            writes = tuple(names[name] for name in op.outputs)
            ops.append(replace(op, name=f"k{number}_{op.name}", inputs=reads, outputs=writes))
        outputs += [names[name] for name in one.graph.outputs]
    graph = Graph(f"kernels_{index}", tensors, tuple(ops), tuple(inputs.values()), tuple(outputs))
    graph.validate()
    kernels = {"_".join(f"k{number}_{part}" for part in one.layer): one.kernel for number, one in enumerate(group)}
    return Batch(MemoryModel(graph, f"kernels {index} (random weights)"), kernels)


def _renamed(graph: Graph, number: int, inputs: dict[tuple[object, ...], str]) -> dict[str, str]:
    """New names of a graph's tensors. Layers that read activations of the same shape and encoding share inputs.

    Args:
        inputs: of all layers, by their kind and their ordinal within the layer; filled.
    """
    names: dict[str, str] = {}
    seen: Counter[tuple[object, ...]] = Counter()
    for name, tensor in graph.tensors.items():
        names[name] = f"k{number}_{name}"
        if name in graph.inputs:
            kind = (tensor.shape, tensor.encoding)
            names[name] = inputs.setdefault((*kind, seen[kind]), names[name])
            seen[kind] += 1
    return names
