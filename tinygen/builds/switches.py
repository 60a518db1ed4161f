"""The manifest entries of a network's switches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

from tinygen.builds.manifest import NetworkEntry, Owned, ProgramEntry, SwitchEntry
from tinygen.builds.program import describe_program, describe_simplification
from tinygen.emit.model import EmittedModel, EmittedSwitch
from tinygen.emit.sharing import array_users, shares
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network
from tinygen.lowering.network import NetworkProgram
from tinygen.targets.toolchain import BuildResult

FLOAT_BYTES = 4


def describe_switches(
    program: NetworkProgram, emitted: EmittedModel, source: Network, network: Network, result: BuildResult
) -> tuple[SwitchEntry, ...]:
    """The entry of each switch, as from `describe_program`, with its use of flash; empty if there is only one.

    `constant_bytes` and `code_bytes` count what only this switch uses (`own`) and what others use too (`shared`); the
    code is that of its kernels, as linked.
    """
    if not program.is_switchable:
        return ()
    constants = shares([switch.arrays for switch in emitted.switches])
    sizes = code_sizes(emitted, result)
    code = shares([_code(switch, sizes) for switch in emitted.switches])
    entries = []
    for index, (switch, simple) in enumerate(zip(source, network, strict=True)):
        described = describe_program(program.switches[index].program, emitted.switches[index])
        entries.append(
            SwitchEntry(
                name=switch.name,
                model=program.name,
                simplified=describe_simplification(switch.graph, simple.graph),
                constant_bytes=Owned(constants[index].own, constants[index].shared),
                code_bytes=Owned(code[index].own, code[index].shared),
                profile=None,
                **{one.name: getattr(described, one.name) for one in fields(ProgramEntry)},
            )
        )
    return tuple(entries)


def _code(switch: EmittedSwitch, sizes: Mapping[str, int]) -> dict[str, int]:
    """Bytes of the functions that a switch's inferences call, by name."""
    wanted = {*switch.functions, switch.runner}
    return {name: sizes[name] for name in wanted if name in sizes}


def code_sizes(emitted: EmittedModel, result: BuildResult) -> dict[str, int]:
    """Bytes of each kernel function, with those of its helpers, whose names begin with its own."""
    kernels = _kernels(emitted)
    return {owner: size for owner, size in _model_code(emitted, result).items() if owner in kernels}


def helper_sizes(emitted: EmittedModel, result: BuildResult) -> dict[str, int]:
    """Bytes of each function of the model's headers that the compiler keeps out of line, for one or more kernels."""
    own, kernels = f"{emitted.name}_", _kernels(emitted)
    code = _model_code(emitted, result)
    return {name: size for name, size in code.items() if name not in kernels and not name.startswith(own)}


def _kernels(emitted: EmittedModel) -> set[str]:
    return {name for switch in emitted.switches for name in (*switch.functions, switch.runner)}


def _model_code(emitted: EmittedModel, result: BuildResult) -> dict[str, int]:
    """Bytes of model code, by kernel function; of all else by function, without what compilers add to a name."""
    kernels = _kernels(emitted)
    sizes: dict[str, int] = {}
    for symbol in result.sizes.symbols:
        if symbol.group != "model code":
            continue
        parts = symbol.name.split("_")
        # The longest match: a function's name may be another's name followed by a number.
        names = ("_".join(parts[:count]) for count in range(len(parts), 0, -1))
        owner = next((name for name in names if name in kernels), symbol.name.partition(".")[0])
        sizes[owner] = sizes.get(owner, 0) + symbol.flash
    return sizes


def describe_network(
    program: NetworkProgram, emitted: EmittedModel, source: Network, apart: Sequence[NetworkProgram]
) -> NetworkEntry:
    """Sizes of all switches together.

    Args:
        apart: each switch lowered as if it were alone.
    """
    arrays = {symbol: size for switch in emitted.switches for symbol, size in switch.arrays.items()}
    return NetworkEntry(
        arena_bytes=program.arena_bytes,
        state_bytes=program.state_bytes,
        constant_bytes=sum(arrays.values()),
        constant_bytes_apart={
            switch.name: _constant_bytes(alone) for switch, alone in zip(program, apart, strict=True)
        },
        coded_bytes=sum({name: size for switch in emitted.switches for name, size in switch.coded.items()}.values()),
        coded_bytes_apart={
            switch.name: sum(step.plan.code_bytes for step in alone.first.layers)
            for switch, alone in zip(program, apart, strict=True)
        },
        float_bytes=max(_float_bytes(switch.graph) for switch in source),
    )


def _constant_bytes(program: NetworkProgram) -> int:
    return sum(len(content) for _, _, content in array_users(program))


def _float_bytes(graph: Graph) -> int:
    """Bytes of the weights in float32: constants of two dimensions or more that layers multiply with."""
    weights = {
        tensor.name: tensor.size
        for node in graph.nodes()
        if node.op.macs(node)
        for tensor in node.inputs[1:2]
        if tensor is not None and tensor.is_constant and len(tensor.shape) > 1
    }
    return FLOAT_BYTES * sum(weights.values())
