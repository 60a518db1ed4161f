"""The graph: operators in execution order over named tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tinygen.errors import ModelError
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Tensor


@dataclass(frozen=True)
class Graph:
    """A network.

    Attributes:
        name: a C identifier; every symbol of the generated code starts with it.
        tensors: every tensor by name.
        ops: operators in execution order.
        inputs, outputs: tensor names, in the model's order.
    """

    name: str
    tensors: Mapping[str, Tensor]
    ops: tuple[Op, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

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
            ModelError: a tensor is used before it is written, or a shape disagrees with its operator.
            UnsupportedError: an operator is legal but outside what tinygen does.
        """
        known = {name for name, tensor in self.tensors.items() if tensor.is_constant} | set(self.inputs)
        for node in self.nodes():
            for name in node.op.inputs:
                if name and name not in known:
                    raise ModelError(f"tensor '{name}' is used before anything writes it", where=node.op.name)
            node.check()
            for tensor, shape in zip(node.outputs, node.op.infer_shapes(node), strict=True):
                if tensor.shape != shape:
                    raise ModelError(
                        f"output '{tensor.name}' has shape {list(tensor.shape)}, its inputs give {list(shape)}",
                        where=node.op.name,
                    )
                known.add(tensor.name)
        for name in self.outputs:
            if name not in known:
                raise ModelError(f"output '{name}' is never written", where=self.name)
