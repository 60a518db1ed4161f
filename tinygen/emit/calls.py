"""Calls of kernels, as the C that makes them is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinygen.emit.ctext import comment_safe
from tinygen.ir.tensor import Tensor
from tinygen.lowering.program import Step

_NAME_WIDTH = 60


@dataclass(frozen=True)
class Call:
    """One layer's call: function and arguments as C text.

    Attributes:
        arrays: symbols of the constants that it reads.
    """

    function: str
    arguments: list[str]
    arrays: tuple[str, ...]


def layer_of(step: Step, call: Call) -> dict[str, Any]:
    """What templates say of a step and its call."""
    node = step.node
    notes = [f"in   {_note(tensor)}" for tensor in node.inputs if tensor is not None and not tensor.is_constant]
    notes += [f"out  {_note(tensor)}" for tensor in node.outputs]
    return {
        "index": step.index,
        "title": comment_safe(f"{node.op.name} by {call.function}, kernel {step.kernel.name}"),
        "notes": notes,
        "function": call.function,
        "arguments": call.arguments,
    }


def _note(tensor: Tensor) -> str:
    return comment_safe(f"{short_name(tensor.name)}: [{','.join(map(str, tensor.shape))}] {tensor.encoding}")


def short_name(name: str) -> str:
    """Converters join the names of all operators they merged; the last part says enough."""
    last = name.rsplit(";", 1)[-1]
    return last if len(last) <= _NAME_WIDTH else f"...{last[-_NAME_WIDTH:]}"
