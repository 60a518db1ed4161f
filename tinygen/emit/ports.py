"""Template values of a model's inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.emit.ctext import comment_safe
from tinygen.emit.enumerators import Enumerators
from tinygen.ir.encodings import Affine
from tinygen.ir.tensor import Tensor
from tinygen.lowering.ctypes import ctype, float_literal
from tinygen.lowering.network import NetworkProgram
from tinygen.lowering.program import Io, Program

Port = dict[str, Any]
_CONVERTED = ("int8", "uint8", "int16")


def ports_of(program: Program, enumerators: Enumerators) -> dict[str, list[Port]]:
    """Inputs and outputs of a program.

    Each has `data`, its address for the application. With buffers of the caller, each has `argument` (its declaration),
    and `copied`, the enumerator to copy to or from, if it needs a copy. Otherwise it has `offset` and `enumerator`.
    """
    name = program.graph.name
    return {
        "inputs": _ports(name, program, enumerators, "input"),
        "outputs": _ports(name, program, enumerators, "output"),
    }


def ports_of_switches(network: NetworkProgram, enumerators: Sequence[Enumerators]) -> dict[str, list[Port]]:
    """Inputs and outputs of a switchable network: those of the first switch, with lists for what differs.

    Each has `offsets`, from the arena's start, and `enumerators`. `scales` and `zero_points` are empty if all switches
    have one value; otherwise `scale` or `zero_point` is None.
    """
    found: dict[str, list[Port]] = {}
    for kind in ("inputs", "outputs"):
        of_switches = [
            _ports(network.name, program, own, kind[:-1])
            for program, own in zip(network.programs, enumerators, strict=True)
        ]
        found[kind] = [_common(list(ports), network.state_bytes) for ports in zip(*of_switches, strict=True)]
    return found


def _common(ports: list[Port], state_bytes: int) -> Port:
    common = dict(ports[0])
    common["offsets"] = [state_bytes + port["offset"] for port in ports]
    common["enumerators"] = [port["enumerator"] for port in ports]
    for key, plural in (("scale", "scales"), ("zero_point", "zero_points")):
        values = [port[key] for port in ports]
        differ = any(value != values[0] for value in values)
        common[plural] = values if differ else []
        common[key] = None if differ else values[0]
    if common["scale"] is None and not common["scales"]:
        common["zero_point"], common["zero_points"] = None, []
    common["is_quantized"] = all(port["is_quantized"] for port in ports)
    if common["scales"] or common["zero_points"]:
        common["model_parameter"] = f"const {common['model']}_t *model, "
    if common["scales"]:
        common["scale_expression"] = f"switches[model->current].{common['label']}_scale"
    if common["zero_points"]:
        common["zero_point_expression"] = f"switches[model->current].{common['label']}_zero_point"
    return common


def _ports(name: str, program: Program, enumerators: Enumerators, kind: str) -> list[Port]:
    tensors = program.inputs if kind == "input" else program.outputs
    found = []
    for index, tensor in enumerate(tensors):
        port = _port(name, tensor, kind if len(tensors) == 1 else f"{kind}_{index}")
        if program.io == Io.CALLER:
            const = "const " if kind == "input" else ""
            port["argument"] = f"{const}{port['ctype']} *{port['label']}"
            port["data"] = f"{port['label']}_buffer.codes"
            at_home = (
                program.ported.get(tensor.name) == (tensor.name, 0) and enumerators.label(tensor.name) == port["label"]
            )
            port["copied"] = "" if at_home else enumerators.address(tensor.name)
        else:
            port["data"] = f"{port['function']}(model)"
            port |= {"offset": program.offsets[tensor.name], "enumerator": enumerators.of(tensor.name)}
        found.append(port)
    return found


def _port(name: str, tensor: Tensor, label: str) -> Port:
    affine = tensor.encoding if isinstance(tensor.encoding, Affine) else None
    macro = f"{name}_{label}".upper()
    return {
        "model": name,
        "tensor": comment_safe(tensor.name),
        "c_string": comment_safe(tensor.name),
        "label": label,
        "function": f"{name}_{label}",
        "macro": macro,
        "words": f"the {label.replace('_', ' ')}",
        "ctype": ctype(tensor.memory_dtype),
        "describe": tensor.describe(),
        "size": tensor.size,
        "bytes": tensor.nbytes,
        "length": tensor.nbytes // tensor.memory_dtype.itemsize,
        "argument": "",
        "copied": "",
        "scale": float_literal(affine.scale[0]) if affine else None,
        "zero_point": affine.zero_point[0] if affine else 0,
        **_conversion(affine, macro),
    }


def _conversion(affine: Affine | None, macro: str) -> Port:
    """Conversions between codes and real values, if one linear formula holds for all codes."""
    if affine is None or affine.per_channel or affine.storage not in _CONVERTED:
        return {"is_quantized": False}
    low, high = affine.code_range
    return {
        "is_quantized": True,
        "low": low,
        "high": high,
        "model_parameter": "",
        "scale_expression": f"{macro}_SCALE",
        "zero_point_expression": f"{macro}_ZERO_POINT",
    }
