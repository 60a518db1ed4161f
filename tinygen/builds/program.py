"""The manifest entries of a program: tensors, layers, arena, and what the passes removed."""

from __future__ import annotations

from dataclasses import replace

from tinygen.builds.decisions import ThresholdEntry
from tinygen.builds.manifest import BufferEntry, LayerEntry, ProgramEntry, Simplified, TensorEntry
from tinygen.emit.model import EmittedSwitch
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.tensor import Tensor
from tinygen.ir.thresholds import thresholds_of
from tinygen.lowering.layers import Layer, all_layers
from tinygen.lowering.program import Program, constants_of


def describe_program(program: Program, emitted: EmittedSwitch) -> ProgramEntry:
    """The part of the manifest that does not depend on the board."""
    return ProgramEntry(
        inputs=tuple(describe_tensor(program, tensor) for tensor in program.inputs),
        outputs=tuple(describe_tensor(program, tensor) for tensor in program.outputs),
        states=tuple(
            describe_tensor(program, program.graph.tensors[state.tensor])
            for state in program.graph.states
            if not state.threshold
        ),
        thresholds=tuple(
            ThresholdEntry(one.name.upper(), one.value, one.low, one.high) for one in thresholds_of(program.graph)
        ),
        arena_bytes=program.memory.arena_bytes,
        arena_lower_bound_bytes=program.memory.lower_bound_bytes,
        arena_optimal=program.memory.optimal,
        order=program.ordering,
        stream=program.streamed,
        macs=sum(step.node.op.macs(step.node) for step in program.steps),
        layers=tuple(_layer(layer, emitted) for layer in all_layers(program)),
        arena=tuple(
            BufferEntry(b.name, size, offset, first, last)
            for b, offset in zip(program.buffers, program.memory.offsets, strict=True)
            for first, last, size in b.pieces()
        ),
        steps=tuple(step.node.op.name for step in program.steps),
    )


def describe_simplification(source: Graph, graph: Graph) -> Simplified:
    """The entry of what the passes removed."""
    narrower = {
        node.op.name: source.tensors[node.output.name].shape[-1] - node.output.shape[-1]
        for node in graph.nodes()
        if node.output.shape and node.op.macs(node)
    }
    kept = {op.name for op in graph.ops}
    return Simplified(
        channels_removed={name: count for name, count in narrower.items() if count},
        layers_removed=tuple(op.name for op in source.ops if op.name not in kept),
        macs_removed=sum(node.op.macs(node) for node in source.nodes())
        - sum(node.op.macs(node) for node in graph.nodes()),
    )


def _layer(layer: Layer, emitted: EmittedSwitch) -> LayerEntry:
    """The entry of a layer. A branch operator's entry excludes the layers in it, which have entries of their own before
    it.
    """
    step, node = layer.step, layer.step.node
    constants = () if layer.branch is not None else constants_of(step)
    return LayerEntry(
        name=layer.name,
        op=node.op.KIND,
        kernel=step.kernel.name,
        function=emitted.functions[layer.number],
        macs=layer.macs,
        weight_bytes=sum(constant.data.nbytes for constant in constants),
        scratch_bytes=step.plan.scratch_bytes,
        inputs=tuple(t.describe() for t in node.inputs if t is not None and not t.is_constant),
        outputs=tuple(_written(layer, tensor) for tensor in node.outputs),
        mixed_bytes=step.plan.mixed_bytes,
    )


def _written(layer: Layer, tensor: Tensor) -> TensorEntry:
    """An operator or tensor in a branch has a name that says so, and a place that only the C knows."""
    entry = describe_tensor(layer.program, tensor)
    return replace(entry, name=f"{layer.prefix}{tensor.name}", offset=None) if layer.prefix else entry


def describe_tensor(program: Program, tensor: Tensor) -> TensorEntry:
    """Name, type, shape, quantization and place of a tensor in the arena."""
    affine = isinstance(tensor.encoding, Affine)
    return TensorEntry(
        name=tensor.name,
        dtype=tensor.dtype.name,
        shape=tuple(tensor.shape),
        bytes=tensor.nbytes,
        offset=program.offsets.get(tensor.name),
        scale=tensor.scale if affine else None,
        zero_point=tensor.zero_point if affine else None,
        packed=tensor.packed_bits > 0,
        bits=tensor.packed_bits or 1,
    )
