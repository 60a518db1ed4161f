"""Convolutions that mix their experts' weights themselves: four filters at a time, where they are multiplied.

Else a layer's mixed weights are stored as a whole, and read from there. That takes more RAM; it takes fewer cycles
where the input does not fit scratch as a whole, since each block of rows then mixes the weights anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

from tinygen.errors import FitError, UnsupportedError
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.ir.ops.mix_weights import MixWeights
from tinygen.ir.ops.mixed_conv_2d import MixedConv2D, mixed_conv
from tinygen.lowering.program import Program
from tinygen.lowering.select import Family, choose

_FAMILIES = (Family.TINYGEN, Family.COMPACT, Family.DENSE, Family.SPARSE)
Lower = Callable[[Collection[str], int | None], Program]
"""The program whose named layers mix filter by filter, in an arena of so many bytes if they are given.

Raises:
    FitError: it does not fit.
"""


def mixing_layers(graph: Graph, family: str, isa: Collection[str]) -> dict[str, str]:
    """Convolutions that can mix their weights filter by filter, and the operators that mix them now."""
    if family not in _FAMILIES:
        return {}
    return {
        conv.op.name: mix.op.name for mix, conv in _pairs(graph) if _has_kernel(_joined(mix, conv, graph), family, isa)
    }


def fuse_mixing(graph: Graph, layers: Collection[str]) -> Graph:
    """An equivalent graph.

    Args:
        layers: convolutions that mix their weights, of `mixing_layers`.
    """
    instead: dict[str, Op | None] = {}
    tensors = dict(graph.tensors)
    for mix, conv in _pairs(graph):
        if conv.op.name in layers:
            joined = _joined(mix, conv, graph)
            instead |= {mix.op.name: None, conv.op.name: joined.op}
            tensors[joined.input(1).name] = joined.input(1)
    if not instead:
        return graph
    made = (instead.get(op.name, op) for op in graph.ops)
    ops = tuple(op for op in made if op is not None)
    used = {name for op in ops for name in (*op.inputs, *op.outputs)} | {*graph.sources, *graph.sinks}
    return replace(graph, ops=ops, tensors={name: tensor for name, tensor in tensors.items() if name in used})


def fastest_mixing(program: Lower, layers: Mapping[str, str], smallest: bool) -> Program:
    """The program with the fewest predicted cycles; of those that fit.

    Each layer is mixed as a whole where that takes fewer cycles than filter by filter in the same arena.

    Args:
        layers: of `mixing_layers`.
        smallest: the smallest arena is wanted, whatever it costs.

    Raises:
        FitError: no program fits.
    """
    whole, error = _tried(program, (), None)
    arena = whole.memory.arena_bytes if whole and not smallest else None
    apart, error = _tried(program, layers, arena)
    found = [one for one in (whole, apart) if one is not None]
    if whole and apart:
        cycles = [{step.node.op.name: step.plan.cycles for step in one.steps} for one in (whole, apart)]
        better = [conv for conv, mix in layers.items() if cycles[1][conv] < cycles[0][conv] + cycles[0][mix]]
        both, _ = _tried(program, better, arena) if 0 < len(better) < len(layers) else (None, None)
        found += [both] if both else []
    if not found:
        assert error is not None
        raise error
    return min(found, key=lambda one: _costs(one)[:: -1 if smallest else 1])


def _tried(program: Lower, layers: Collection[str], arena: int | None) -> tuple[Program | None, FitError | None]:
    try:
        return program(layers, arena), None
    except FitError as error:
        return None, error


def _costs(program: Program) -> tuple[float, int]:
    """Cycles, bytes of the arena."""
    return sum(step.plan.cycles for step in program.steps), program.memory.arena_bytes


def _pairs(graph: Graph) -> Iterator[tuple[Node, Node]]:
    """Nodes that mix weights, and the convolutions that alone read these."""
    readers = Counter([*(name for op in graph.ops for name in op.inputs), *graph.sinks])
    convolutions = {op.inputs[1]: op for op in graph.ops if type(op) is GatherConv2D}
    for mix in graph.nodes():
        if isinstance(mix.op, MixWeights) and readers[mix.output.name] == 1 and mix.output.name in convolutions:
            yield mix, graph.node(convolutions[mix.output.name])


def _joined(mix: Node, conv: Node, graph: Graph) -> Node:
    op, experts = mixed_conv(mix, conv, _free(f"{mix.input(1).name}.apart", graph))
    inputs = tuple(experts if name == experts.name else graph.tensors.get(name) for name in op.inputs)
    return Node(op, inputs, conv.outputs)


def _free(name: str, graph: Graph) -> str:
    """A name that no tensor has."""
    while name in graph.tensors:
        name += "_"
    return name


def _has_kernel(node: Node, family: str, isa: Collection[str]) -> bool:
    assert isinstance(node.op, MixedConv2D)
    try:
        choose(node, family, isa)
    except UnsupportedError:
        return False
    return True
