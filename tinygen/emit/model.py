"""Program to C: the files of a model, as text."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from tinygen.emit.benchmark import benchmark_of
from tinygen.emit.calls import Call, layer_of, short_name
from tinygen.emit.ctext import comment_safe
from tinygen.emit.enumerators import Enumerators
from tinygen.emit.kernels import KernelWriter
from tinygen.emit.ports import Port, ports_of, ports_of_switches
from tinygen.emit.proof import with_annotations, without_annotations
from tinygen.emit.sharing import shares
from tinygen.emit.states import states_of
from tinygen.emit.templates import environment
from tinygen.emit.thresholds import threshold_names, thresholds_context
from tinygen.emit.trace_offsets import TraceOffsets
from tinygen.lowering.layers import all_layers
from tinygen.lowering.network import NetworkProgram, SwitchProgram
from tinygen.lowering.planner import ALIGNMENT
from tinygen.lowering.program import Io, Program, Step
from tinygen.paths import resource
from tinygen.version import VERSION

_ORDERED = frozenset({"tinygen_bits.h", "tinygen_simd.h"})
"""Headers whose loops are in another order for cores with two issue slots; others include them."""


@dataclass(frozen=True)
class EmittedSwitch:
    """What one switch of a network uses of the generated C.

    Attributes:
        name: of the switch.
        runner: the function that calls all its layers.
        functions: the kernel function of each layer, by layer index.
        arrays: bytes of each constant array it reads, by symbol.
        coded: approximate bytes of code that stand for weights, by function name, if any.
    """

    name: str
    runner: str
    functions: tuple[str, ...]
    arrays: Mapping[str, int]
    coded: Mapping[str, int]


@dataclass(frozen=True)
class EmittedModel:
    """The generated C.

    Attributes:
        name: of the model.
        files: text by file name (model sources and headers).
        switches: in the network's order; a single one if the network is not switchable.
    """

    name: str
    files: Mapping[str, str]
    switches: tuple[EmittedSwitch, ...]

    @property
    def content(self) -> Mapping[str, str]:
        """The files, except the one with the build's id."""
        return {name: text for name, text in self.files.items() if name != f"{self.name}_build.h"}

    def identified(self, build_id: str | None = None) -> EmittedModel:
        """The same C with that build id, 16 hexadecimal digits; by default it is a hash of the other files."""
        if build_id is None:
            text = "".join(f"{name}\n{text}" for name, text in sorted(self.content.items()))
            build_id = hashlib.sha256(text.encode()).hexdigest()[:16]
        context = {"name": self.name, "NAME": self.name.upper(), "version": VERSION, "build_id": build_id}
        header = environment().get_template("model/build.h.j2").render(context)
        return replace(self, files={**self.content, f"{self.name}_build.h": header})

    @property
    def functions(self) -> tuple[str, ...]:
        """Kernel functions of the first switch."""
        return self.switches[0].functions


def emit_model(
    program: Program | NetworkProgram, source: str, *, weights_in_ram: bool = False, annotated: bool = False
) -> EmittedModel:
    """Generates the C of a program, or of all programs of a network.

    Args:
        program: from lowering.
        source: the model file's name, for comments.
        weights_in_ram: constants become initialised data, which start-up code copies to RAM.
        annotated: with comments for Frama-C, see `tinygen.emit.proof`.

    Returns:
        The text; equal programs give equal text.
    """
    network = program if isinstance(program, NetworkProgram) else NetworkProgram.of(program)
    writer = KernelWriter(network, _api(network) if network.is_switchable else ())
    enumerators = _places(network)
    ports = _ports(network, enumerators)
    calls = [
        [(step, writer.call(own, step)) for step in switch.program.layers]
        for switch, own in zip(network, enumerators, strict=True)
    ]
    sizes = {array.symbol: array.bytes for array in writer.arrays.values()}
    switches = tuple(
        EmittedSwitch(
            switch.name,
            _runner(network, switch),
            _functions(rows),
            {symbol: sizes[symbol] for _, call in rows for symbol in call.arrays},
            {call.function: step.plan.code_bytes for step, call in rows if step.plan.code_bytes},
        )
        for switch, rows in zip(network, calls, strict=True)
    )
    layers = [[layer_of(*row) for row in rows] for rows in calls]
    context = (
        _context(network, source)
        | ports
        | {
            "functions": list(dict.fromkeys(writer.functions.values())),
            "constants": list(writer.arrays.values()),
            "structs": list(writer.structs.values()),
            "headers": sorted(writer.headers),
            "library_headers": list(writer.library_headers),
            "arrays_in_kernels": writer.arrays_in_kernels,
            "thresholds": thresholds_context(network, enumerators),
            "dual_issue": "dual-issue" in network.first.isa and not _ORDERED.isdisjoint(writer.headers),
            "weights_in_ram": weights_in_ram,
        }
    )
    context |= (
        _switch_context(network, switches, layers, enumerators)
        if network.is_switchable
        else {
            "layers": layers[0],
            "layer_count": len(switches[0].functions),
            **states_of(network.first, enumerators[0]),
            "enumerators": enumerators[0].all,
        }
    )
    name = network.name
    files = {
        f"{name}{suffix}": environment().get_template(f"model/{template}").render(context)
        for suffix, template in (_SWITCHABLE if network.is_switchable else _PLAIN) + _FILES
        if suffix not in ("_weights.c", "_weights.h") or writer.arrays
    }
    for header in sorted(writer.headers):
        files[header] = _header(header)
    files = with_annotations(files) if annotated else {key: without_annotations(text) for key, text in files.items()}
    return EmittedModel(name, files, switches).identified()


@cache
def _header(name: str) -> str:
    return (resource("templates") / "model" / name).read_text()


def _functions(rows: Sequence[tuple[Step, Call]]) -> tuple[str, ...]:
    """The kernel function of each layer, by its number."""
    found: dict[int, str] = {}
    for step, call in rows:
        found |= call.functions(step)
    return tuple(name for _, name in sorted(found.items()))


LICENCE = "SPDX-License-Identifier: 0BSD. Generated code is yours: use it as you like, without conditions."

_PLAIN = ((".h", "model.h.j2"), (".c", "model.c.j2"))
_SWITCHABLE = ((".h", "switchable.h.j2"), (".c", "switchable.c.j2"))
_FILES = (
    ("_kernels.h", "kernels.h.j2"),
    ("_kernels.c", "kernels.c.j2"),
    ("_weights.h", "weights.h.j2"),
    ("_weights.c", "weights.c.j2"),
)


def emit_app_model(program: Program | NetworkProgram, source: str, build_id: str, *, has_db: bool = True) -> str:
    """The binding between a model and the firmware's application.

    Args:
        program: from lowering.
        source: the model file's name, for comments.
        build_id: 16 hexadecimal digits.
        has_db: keep the inputs of the benchmark's protocol in a buffer outside the arena.
    """
    network = program if isinstance(program, NetworkProgram) else NetworkProgram.of(program)
    context = (
        _context(network, source)
        | _ports(network, _places(network))
        | {
            "build_id": build_id,
            "is_switchable": network.is_switchable,
            "thresholds": threshold_names(network),
            "state_bytes": network.state_bytes,
            "benchmark": benchmark_of(network),
            "has_db": has_db,
            "switches": [
                {
                    "index": index,
                    "name": switch.name,
                    "layers": sum(1 for _ in all_layers(switch.program)),
                    "traces": _traces(network, switch.program),
                }
                for index, switch in enumerate(network)
            ],
        }
    )
    return environment().get_template("model/app_model.c.j2").render(context)


def interface_of(network: NetworkProgram, source: str) -> dict[str, Any]:
    """Template values of a model's interface: names, arena, inputs, outputs, switches, thresholds."""
    return (
        _context(network, source)
        | _ports(network, _places(network))
        | {
            "thresholds": threshold_names(network),
            "is_switchable": network.is_switchable,
            "switch_macros": [f"{network.name}_{name}".upper() for name in network.names],
            "has_floats": any(t.is_float for p in network.programs for t in p.graph.tensors.values()),
        }
    )


def _traces(network: NetworkProgram, program: Program) -> list[dict[str, Any]]:
    """The tensors that layers write and their addresses, in the order of layers."""
    offsets = TraceOffsets(program, network.state_bytes)
    return [
        {
            "layer": layer.number,
            "bytes": tensor.nbytes,
            **offsets.of(layer, tensor.name),
            "name": comment_safe(short_name(f"{layer.prefix}{tensor.name}")),
        }
        for layer in all_layers(program)
        for tensor in layer.step.node.outputs
    ]


def _context(network: NetworkProgram, source: str) -> dict[str, Any]:
    name = network.name
    return {
        "is_callers": network.first.io == Io.CALLER,
        "name": name,
        "NAME": name.upper(),
        "version": VERSION,
        "source": comment_safe(source),
        "arena_bytes": max(network.arena_bytes, ALIGNMENT),
        "arena_align": network.alignment,
        "aligned": f" TG_ALIGNED({network.alignment})" if network.alignment > ALIGNMENT else "",
        "constant_align": network.alignment if network.alignment > ALIGNMENT else 4,
        "kept_bytes": network.kept_bytes,
        "licence": LICENCE,
    }


def _places(network: NetworkProgram) -> tuple[Enumerators, ...]:
    """Enumerators of each switch."""
    return tuple(Enumerators(switch.program, switch.name if network.is_switchable else "") for switch in network)


def _ports(network: NetworkProgram, enumerators: tuple[Enumerators, ...]) -> dict[str, list[Port]]:
    return ports_of_switches(network, enumerators) if network.is_switchable else ports_of(network.first, enumerators[0])


def _switch_context(
    network: NetworkProgram,
    emitted: tuple[EmittedSwitch, ...],
    layers: list[list[dict[str, Any]]],
    enumerators: tuple[Enumerators, ...],
) -> dict[str, Any]:
    """Template values that only switchable networks need."""
    constants = shares([switch.arrays for switch in emitted])
    return {
        "state_bytes": network.state_bytes,
        "most_layers": max(len(switch.functions) for switch in emitted),
        "switches": [
            {
                "index": index,
                "name": switch.name,
                "macro": f"{network.name}_{switch.name}".upper(),
                "runner": emitted[index].runner,
                "layers": layers[index],
                "layer_count": len(emitted[index].functions),
                **states_of(switch.program, enumerators[index], f"initial_{switch.name}"),
                "enumerators": enumerators[index].all,
                "summary": f"{_layer_count(len(layers[index]))}, {_macs(switch.program):,} MAC; constants: "
                f"{constants[index].own:,} B of its own, {constants[index].shared:,} B shared",
            }
            for index, switch in enumerate(network)
        ],
    }


def _layer_count(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"


def _macs(program: Program) -> int:
    return sum(step.node.op.macs(step.node) for step in program.steps)


def _api(network: NetworkProgram) -> set[str]:
    """Symbols of a switchable network's interface, reserved for kernels and arrays."""
    ports = _ports(network, _places(network))
    verbs = (
        "build_id",
        "init",
        "invoke",
        "invoke_observed",
        "layers",
        "reset",
        "set_switch",
        "set_threshold",
        "switch",
        "threshold",
        "version",
    )
    names = {f"{network.name}_{verb}" for verb in verbs}
    for port in (*ports["inputs"], *ports["outputs"]):
        function = port["function"]
        names |= {function, *(f"{function}_{what}" for what in ("scale", "zero_point", "quantize", "dequantize"))}
    return names | {_runner(network, switch) for switch in network}


def _runner(network: NetworkProgram, switch: SwitchProgram) -> str:
    """Name of the function that runs a switch; begins with the network's name, like every symbol."""
    return f"{network.name}_run_{switch.name}"
