"""Calls of kernels: template values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinygen.emit.ctext import comment_safe
from tinygen.ir.tensor import Tensor
from tinygen.lowering.program import Step

_NAME_WIDTH = 48


@dataclass(frozen=True)
class Call:
    """One layer's call: function and arguments as C text.

    Attributes:
        arrays: symbols of the constants that it reads.
        within: calls of the layers in its branches, recursively.
    """

    function: str
    arguments: list[str]
    arrays: tuple[str, ...]
    within: tuple[tuple[Step, Call], ...] = ()

    def functions(self, step: Step) -> dict[int, str]:
        """The kernel function of each layer that the call of a step runs, by number."""
        found = dict.fromkeys((step.index, *step.marks), self.function)
        for inner, call in self.within:
            found |= call.functions(inner)
        return found


def layer_of(step: Step, call: Call) -> dict[str, Any]:
    """Template values of a step and its call."""
    node = step.node
    notes = [f"in   {_note(tensor)}" for tensor in node.inputs if tensor is not None and not tensor.is_constant]
    notes += [f"out  {_note(tensor)}" for tensor in node.outputs]
    return {
        "index": step.index,
        # Branch functions call the observer for their own layers.
        "branches": len(step.branches),
        "numbers": f"{_first(step)} to {step.index}" if step.branches else step.index,
        "title": comment_safe(f"{node.op.name} by {call.function}, kernel {step.kernel.name}"),
        "notes": notes,
        "function": call.function,
        "arguments": call.arguments,
    }


def _first(step: Step) -> int:
    """The number of a branch operator's first layer."""
    within = next(iter(step.branches[0].layers), None) if step.branches else None
    if within is not None:
        return _first(within)
    return step.marks[0] if step.branches else step.index


def _note(tensor: Tensor) -> str:
    return comment_safe(f"{short_name(tensor.name)}: [{','.join(map(str, tensor.shape))}] {tensor.encoding}")


def short_name(name: str) -> str:
    """Converters join the names of all operators they merged; the last one is enough."""
    last = name.rsplit(";", 1)[-1]
    return last if len(last) <= _NAME_WIDTH else f"...{last[-_NAME_WIDTH:]}"
