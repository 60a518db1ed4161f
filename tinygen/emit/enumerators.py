"""Names of offsets in a program's arena: an enumerator for each tensor and scratch buffer that its C uses."""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.emit.ctext import candidates, comment_safe
from tinygen.ir.tensor import Tensor
from tinygen.lowering.program import Program, Step


@dataclass(frozen=True)
class Enumerator:
    """An enumerator.

    Attributes:
        name: in the C, such as AT_CONV_2D_0.
        offset: bytes from the start of the program's part of the arena.
        comment: what lies there.
    """

    name: str
    offset: int
    comment: str


class Enumerators:
    """The enumerators of one program, in the order of their first use in its C.

    Args:
        program: from lowering.
        switch: the switch's name if the network has several; else "".
        pointer: C expression of the address of a enumerator `{}`.
    """

    def __init__(self, program: Program, switch: str = "", pointer: str = "at(arena, {})") -> None:
        self._program = program
        self._pointer = pointer
        self._prefix = f"AT_{switch}_".upper() if switch else "AT_"
        self._labels = _labels(program)
        self._found: dict[tuple[str, str], Enumerator] = {}
        self._names: set[str] = set()

    @property
    def all(self) -> tuple[Enumerator, ...]:
        return tuple(self._found.values())

    def of(self, tensor: str) -> str:
        """The enumerator of a tensor in the arena."""
        found = self._program.graph.tensors[tensor]
        return self._enumerator(
            ("tensor", tensor), self._labels[tensor], self._program.offsets[tensor], _described(found)
        )

    def address(self, tensor: str) -> str:
        """The C expression of a tensor's address: in the arena, or in a buffer of the caller."""
        if tensor not in self._program.ported:
            return self._pointer.format(self.of(tensor))
        port, offset = self._program.ported[tensor]
        tensors = self._program.graph.tensors
        label, const = self.label(port), "const " if port in self._program.graph.inputs else ""
        if offset:
            return f"({const}void *)(({const}uint8_t *){label} + {offset})"
        same = tensors[tensor].memory_dtype == tensors[port].memory_dtype
        return label if same else f"({const}void *){label}"

    def label(self, port: str) -> str:
        """The C name of the caller's buffer of an input or output."""
        graph = self._program.graph
        kind, names = ("input", graph.inputs) if port in graph.inputs else ("output", graph.outputs)
        return kind if len(names) == 1 else f"{kind}_{names.index(port)}"

    def scratch(self, step: Step) -> str:
        """The C expression of the address of a step's scratch."""
        comment = f"{step.plan.scratch_bytes:,} B: scratch"
        name = step.node.op.name
        enumerator = self._enumerator(("scratch", name), f"{name}_scratch", step.scratch_offset, comment)
        return self._pointer.format(enumerator)

    def _enumerator(self, key: tuple[str, str], label: str, offset: int, comment: str) -> str:
        """Makes a unique enumerator: names may differ in case only, and a layer may be called `input`."""
        if key not in self._found:
            name = next(one for one in candidates(f"{self._prefix}{label}".upper()) if one not in self._names)
            self._names.add(name)
            self._found[key] = Enumerator(name, offset, comment)
        return self._found[key].name


def _described(tensor: Tensor) -> str:
    packed = f", {tensor.code_bits} bits a code" if tensor.code_bits else ""
    return f"{tensor.nbytes:,} B: {comment_safe(tensor.describe())}{packed}"


def _labels(program: Program) -> dict[str, str]:
    """Label of every tensor: its name in the header, or that of the layer that writes it."""
    labels: dict[str, str] = {}
    for step in program.steps:
        outputs = step.node.outputs
        for index, tensor in enumerate(outputs):
            labels[tensor.name] = step.node.op.name + (f"_{index}" if len(outputs) > 1 else "")
    for index, state in enumerate(program.graph.states):
        labels[state.tensor] = state.threshold or f"state_{index}"
    for index, name in enumerate(program.graph.inputs):
        labels[name] = "input" + (f"_{index}" if len(program.graph.inputs) > 1 else "")
    return labels
