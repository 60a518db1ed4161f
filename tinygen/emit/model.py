"""Program to C: the files of a model, as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinygen.emit.ctext import comment_safe
from tinygen.emit.kernels import KernelWriter
from tinygen.emit.templates import environment
from tinygen.ir.encodings import Affine
from tinygen.ir.tensor import Tensor
from tinygen.lowering.ctypes import ctype, float_literal
from tinygen.lowering.planner import ALIGNMENT
from tinygen.lowering.program import Program, Step
from tinygen.paths import resource
from tinygen.version import VERSION


@dataclass(frozen=True)
class EmittedModel:
    """The generated C.

    Attributes:
        files: text by file name (model sources and headers).
        functions: the kernel function of each layer, by layer index.
    """

    files: dict[str, str]
    functions: tuple[str, ...]


def emit_model(program: Program, source: str, *, weights_in_ram: bool = False) -> EmittedModel:
    """Writes a program down as C.

    Args:
        program: from lowering.
        source: the model file's name, for comments.
        weights_in_ram: constants become initialised data, which start-up code copies to RAM.

    Returns:
        the same text for the same program, always.
    """
    writer = KernelWriter(program)
    layers = [_layer(step, writer) for step in program.layers]
    context = _context(program, source) | {
        "layers": layers,
        "functions": list(writer.functions.values()),
        "constants": list(writer.arrays.values()),
        "headers": sorted(writer.headers),
        "library_headers": sorted(writer.library_headers),
        "dual_issue": "dual-issue" in program.isa and "tinygen_simd.h" in writer.headers,
        "weights_in_ram": weights_in_ram,
    }
    name = program.graph.name
    files = {
        f"{name}{suffix}": environment().get_template(f"model/{template}").render(context)
        for suffix, template in _FILES
        if suffix not in ("_weights.c", "_weights.h") or writer.arrays
    }
    for header in sorted(writer.headers):
        files[header] = (resource("templates") / "model" / header).read_text()
    return EmittedModel(files, tuple(layer["function"] for layer in layers))


_NAME_WIDTH = 60

_FILES = (
    (".h", "model.h.j2"),
    (".c", "model.c.j2"),
    ("_kernels.h", "kernels.h.j2"),
    ("_kernels.c", "kernels.c.j2"),
    ("_weights.h", "weights.h.j2"),
    ("_weights.c", "weights.c.j2"),
)


def emit_app_model(program: Program, source: str, build_id: str) -> str:
    """The binding between a model and the firmware's application."""
    traces = [
        {
            "layer": step.index,
            "bytes": t.nbytes,
            "offset": program.offsets[t.name],
            "name": comment_safe(_short(t.name)),
        }
        for step in program.layers
        for t in step.node.outputs
    ]
    context = _context(program, source) | {"build_id": build_id, "traces": traces}
    return environment().get_template("model/app_model.c.j2").render(context)


def _context(program: Program, source: str) -> dict[str, Any]:
    name = program.graph.name
    return {
        "name": name,
        "NAME": name.upper(),
        "version": VERSION,
        "source": comment_safe(source),
        "arena_bytes": max(program.memory.arena_bytes, ALIGNMENT),
        "arena_align": ALIGNMENT,
        "inputs": _ports(program, program.inputs, "input"),
        "outputs": _ports(program, program.outputs, "output"),
    }


def _ports(program: Program, tensors: tuple[Tensor, ...], kind: str) -> list[dict[str, Any]]:
    return [
        _port(program, tensor, kind if len(tensors) == 1 else f"{kind}_{index}")
        for index, tensor in enumerate(tensors)
    ]


def _port(program: Program, tensor: Tensor, label: str) -> dict[str, Any]:
    """What the templates say of one model input or output."""
    affine = tensor.encoding if isinstance(tensor.encoding, Affine) else None
    return {
        "tensor": comment_safe(tensor.name),
        "c_string": comment_safe(tensor.name),
        "function": f"{program.graph.name}_{label}",
        "macro": f"{program.graph.name}_{label}".upper(),
        "ctype": ctype(tensor.memory_dtype),
        "describe": tensor.describe(),
        "size": tensor.size,
        "bytes": tensor.nbytes,
        "offset": program.offsets[tensor.name],
        "scale": float_literal(affine.scale[0]) if affine else None,
        "zero_point": affine.zero_point[0] if affine else 0,
    }


def _layer(step: Step, writer: KernelWriter) -> dict[str, Any]:
    call = writer.call(step)
    node = step.node
    notes = [f"in   {_note(tensor)}" for tensor in node.inputs if tensor is not None and not tensor.is_constant]
    notes += [f"out  {_note(tensor)}" for tensor in node.outputs]
    return {
        "index": step.index,
        "title": comment_safe(f"{node.op.name} by {step.kernel.name}"),
        "notes": notes,
        "function": call.function,
        "arguments": call.arguments,
    }


def _note(tensor: Tensor) -> str:
    return comment_safe(f"{_short(tensor.name)}: [{','.join(map(str, tensor.shape))}] {tensor.encoding}")


def _short(name: str) -> str:
    """Converters join the names of all operators they merged; the last part says enough."""
    last = name.rsplit(";", 1)[-1]
    return last if len(last) <= _NAME_WIDTH else f"...{last[-_NAME_WIDTH:]}"
