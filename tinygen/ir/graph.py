"""The graph: operators in execution order over named tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tinygen.errors import ModelError
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.state import State, check_thresholds
from tinygen.ir.tensor import Tensor


@dataclass(frozen=True)
class Graph:
    """A network.

    Attributes:
        name: a C identifier; every symbol of the generated code starts with it.
        tensors: every tensor by name.
        ops: operators in execution order.
        inputs, outputs: tensor names, in the model's order.
        states: tensors kept from one invocation to the next, thresholds included.
    """

    name: str
    tensors: Mapping[str, Tensor]
    ops: tuple[Op, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    states: tuple[State, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """Tensors that are defined before the first operator runs: inputs and states."""
        return (*self.inputs, *(state.tensor for state in self.states))

    @property
    def sinks(self) -> tuple[str, ...]:
        """Tensors that are read after the last operator: outputs and the updates of states."""
        return (*self.outputs, *(state.update for state in self.states))

    @property
    def is_stream(self) -> bool:
        """Whether an invocation depends on earlier ones: the graph has states other than thresholds."""
        return any(not state.threshold for state in self.states)

    def node(self, op: Op) -> Node:
        """The operator together with the tensors it touches."""
        return Node(
            op,
            tuple(self.tensors[name] if name else None for name in op.inputs),
            tuple(self.tensors[name] for name in op.outputs),
        )

    def nodes(self) -> Iterator[Node]:
        return (self.node(op) for op in self.ops)

    def validate(self) -> None:
        """Checks order, shapes and each operator's own rules.

        Raises:
            ModelError: a tensor is used before it is written, a shape disagrees with its operator, or a state with its
                tensors; an input is a constant; there are no outputs; two operators write one tensor.
            UnsupportedError: an operator is legal but outside what tinygen does.
        """
        self._check_ports()
        written: list[str] = []
        known = {name for name, tensor in self.tensors.items() if tensor.is_constant} | set(self.sources)
        for node in self.nodes():
            for name in node.op.inputs:
                if name and name not in known:
                    raise ModelError(f"tensor '{name}' is used before anything writes it", where=node.op.name)
            node.check()
            node.check_outputs()
            written += node.op.outputs
            known.update(node.op.outputs)
        for name in self.outputs:
            if name not in known:
                raise ModelError(f"output '{name}' is never written", where=self.name)
        self._check_states(known)
        self._check_writers(written)

    def _check_writers(self, written: Sequence[str]) -> None:
        taken = set(self.inputs)
        for name in written:
            if name in taken or self.tensors[name].is_constant:
                raise ModelError(f"tensor '{name}' is an input, a constant or another operator's output, too")
            taken.add(name)

    def _check_ports(self) -> None:
        for name in self.inputs:
            if self.tensors[name].is_constant:
                raise ModelError(
                    f"input '{name}' is a constant",
                    fix="Take its data out of the file, or take the tensor off the model's inputs.",
                )
        if not self.outputs:
            raise ModelError(
                "has no outputs: nothing that it computes can be read",
                fix="Name at least one output when the model is exported.",
            )

    def _check_states(self, known: set[str]) -> None:
        written = {name for op in self.ops for name in op.outputs} | set(self.inputs)
        for state in self.states:
            where = f"state '{state.tensor}'"
            tensor, update = self.tensors[state.tensor], self.tensors[state.update]
            if tensor.name in written or tensor.is_constant:
                raise ModelError("is an input, a constant or written by an operator, too", where=where)
            written.add(tensor.name)
            if update.name not in known or update.is_constant:
                raise ModelError(f"becomes '{update.name}', which nothing computes", where=where)
            if (update.shape, update.encoding) != (tensor.shape, tensor.encoding):
                raise ModelError(
                    f"is {tensor.describe()} of {tensor.encoding}, and becomes {update.describe()} of "
                    f"{update.encoding}",
                    where=where,
                )
            if state.initial.shape != tensor.shape or state.initial.dtype != tensor.dtype:
                found = f"{state.initial.dtype} [{','.join(map(str, state.initial.shape))}]"
                raise ModelError(f"is {tensor.describe()}, and begins as {found}", where=where)
        check_thresholds(self.states, self.tensors)
