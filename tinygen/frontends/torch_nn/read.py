"""Reads a module built of tinygen.nn's layers: torch.fx gives the order, each module is taken by what it is.

Quantized layers keep their encodings. Batch norm, scales, biases, ReLU and pooling between a multiply-accumulate and
the next quantizer become that operator's epilogue, in exact arithmetic. Images are NCHW for the module and NHWC on
the board.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn

from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.frontends.names import check_c_name
from tinygen.frontends.torch_nn import modules
from tinygen.frontends.torch_nn.builder import Builder
from tinygen.frontends.torch_nn.values import Coded, Pending, Raw, Value
from tinygen.ir.graph import Graph
from tinygen.nn.layers import QuantConv2d, QuantLinear
from tinygen.nn.quantizers import ActivationQuantizer

_OWN = (QuantConv2d, QuantLinear, ActivationQuantizer)


def is_quantized(module: nn.Module) -> bool:
    """Whether a module has layers or quantizers of tinygen.nn's."""
    return any(isinstance(part, _OWN) for part in module.modules())


class _Tracer(fx.Tracer):
    """Looks into every module but torch's and tinygen's own."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _OWN) or (m.__module__.startswith("torch.nn") and not isinstance(m, nn.Sequential))


def read_quantized(module: nn.Module, example_input: torch.Tensor, name: str = "model") -> Graph:
    """The graph of a module whose quantizers are tinygen.nn's.

    Args:
        module: its quantizers calibrated or trained; read in evaluation mode.
        example_input: [N, ...] of the shape that the board will see; of a batch the first sample counts.
        name: C identifier.

    Raises:
        UnsupportedError: a module or function that is not read, or a layer whose input has no quantizer.
        ModelError: a quantizer that has seen no data.
    """
    check_c_name(name)
    with _evaluating(module), torch.no_grad():
        shape = tuple(example_input.shape[1:])
        module(example_input[:1])  # torch's own message where the shape is wrong
        return _Reader(module, name).read((1, *shape))


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


class _Reader:
    """Walks over the nodes of a trace."""

    def __init__(self, module: nn.Module, name: str) -> None:
        self.parts = dict(module.named_modules())
        try:
            self.trace = _Tracer().trace(module)
        except fx.proxy.TraceError as error:
            raise UnsupportedError(
                f"the module's forward() depends on values ({error})",
                where=type(module).__name__,
                fix="Write it without branches on tensors.",
            ) from error
        self.builder = Builder(name)
        self.values: dict[fx.Node, Value] = {}

    def read(self, shape: tuple[int, ...]) -> Graph:
        output: Value | None = None
        for node in self.trace.nodes:
            if node.op == "placeholder":
                if self.values:
                    raise UnsupportedError("a module with several inputs", where=str(node.target))
                self.values[node] = Raw(shape)
            elif node.op == "output":
                output = self._value(node.args[0], "the output")
            else:
                self.values[node] = self._node(node)
        return self.builder.graph(self._finished(output))

    def _finished(self, output: Value | None) -> Coded:
        if isinstance(output, Pending):
            return self.builder.finish(output, "output")
        if not isinstance(output, Coded):
            raise ModelError("the module gives back its input")
        return output

    def _node(self, node: fx.Node) -> Value:
        where = str(node.target) if node.op == "call_module" else node.name
        with _located(where):
            x = self._value(node.args[0] if node.args else None, where)
            if node.op == "call_module":
                return modules.apply(self.builder, self.parts[str(node.target)], x, where)
            if node.op in ("call_function", "call_method"):
                return modules.call(self.builder, node.target, x, tuple(node.args[1:]), dict(node.kwargs), where)
        raise UnsupportedError(f"a {node.op.replace('_', ' ')}", where=where)

    def _value(self, argument: Any, where: str) -> Value:
        if not isinstance(argument, fx.Node) or argument not in self.values:
            raise UnsupportedError("an argument that is not a tensor of the network", where=where)
        return self.values[argument]


@contextmanager
def _located(where: str) -> Iterator[None]:
    """Errors get the module's path, where they name nothing themselves."""
    try:
        yield
    except TinygenError as error:
        if not error.where or not error.where.startswith(where):
            error.where = f"{where} ({error.where})" if error.where else where
        raise
