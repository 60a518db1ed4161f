"""What the templates say of a model's inputs and outputs."""

from __future__ import annotations

from typing import Any

from tinygen.emit.ctext import comment_safe
from tinygen.ir.encodings import Affine
from tinygen.ir.tensor import Tensor
from tinygen.lowering.ctypes import ctype, float_literal
from tinygen.lowering.network import NetworkProgram
from tinygen.lowering.program import Program

Port = dict[str, Any]


def ports_of(program: Program) -> dict[str, list[Port]]:
    """Inputs and outputs of a program."""
    name = program.graph.name
    return {
        "inputs": _ports(name, program, program.inputs, "input"),
        "outputs": _ports(name, program, program.outputs, "output"),
    }


def ports_of_switches(network: NetworkProgram) -> dict[str, list[Port]]:
    """The same of a network that can be switched: as the first switch has them, and what differs as lists.

    Each has `offsets`, from the arena's start. `scales` and `zero_points` are empty where one value holds for all;
    else it is `scale` or `zero_point` that is None.
    """
    found: dict[str, list[Port]] = {}
    for kind in ("inputs", "outputs"):
        of_switches = [_ports(network.name, p, getattr(p, kind), kind[:-1]) for p in network.programs]
        found[kind] = [_common(list(ports), network.state_bytes) for ports in zip(*of_switches, strict=True)]
    return found


def _common(ports: list[Port], state_bytes: int) -> Port:
    common = dict(ports[0])
    common["offsets"] = [state_bytes + port["offset"] for port in ports]
    for key, plural in (("scale", "scales"), ("zero_point", "zero_points")):
        values = [port[key] for port in ports]
        differ = any(value != values[0] for value in values)
        common[plural] = values if differ else []
        common[key] = None if differ else values[0]
    if common["scale"] is None and not common["scales"]:
        common["zero_point"], common["zero_points"] = None, []
    return common


def _ports(name: str, program: Program, tensors: tuple[Tensor, ...], kind: str) -> list[Port]:
    return [
        _port(name, program, tensor, kind if len(tensors) == 1 else f"{kind}_{index}")
        for index, tensor in enumerate(tensors)
    ]


def _port(name: str, program: Program, tensor: Tensor, label: str) -> Port:
    affine = tensor.encoding if isinstance(tensor.encoding, Affine) else None
    return {
        "tensor": comment_safe(tensor.name),
        "c_string": comment_safe(tensor.name),
        "label": label,
        "function": f"{name}_{label}",
        "macro": f"{name}_{label}".upper(),
        "ctype": ctype(tensor.memory_dtype),
        "describe": tensor.describe(),
        "size": tensor.size,
        "bytes": tensor.nbytes,
        "offset": program.offsets[tensor.name],
        "scale": float_literal(affine.scale[0]) if affine else None,
        "zero_point": affine.zero_point[0] if affine else 0,
    }
