"""Reads a module built of tinygen.nn's layers: torch.fx gives the order, and each module has a converter by its class.

Quantized layers keep their encodings. Batch norm, scales, biases, ReLU and pooling between a multiply-accumulate and
the next quantizer become that operator's epilogue, in exact arithmetic. Images are NCHW for the module and NHWC on
the board.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn

from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.frontends.names import check_c_name
from tinygen.frontends.torch_nn import decisions, modules, operands
from tinygen.frontends.torch_nn.builder import Builder
from tinygen.frontends.torch_nn.values import Coded, Pending, Raw, Value
from tinygen.ir.graph import Graph
from tinygen.nn.decisions import Deciding
from tinygen.nn.fire_together import MaskedConv2d
from tinygen.nn.functions import reads_batch
from tinygen.nn.gated import GatedConv2d
from tinygen.nn.layers import QuantConv2d, QuantLinear
from tinygen.nn.mixed import CondConv2d
from tinygen.nn.quantizers import ActivationQuantizer, FollowedRange

_OWN = (CondConv2d, GatedConv2d, MaskedConv2d, QuantConv2d, QuantLinear, ActivationQuantizer, Deciding)


def is_quantized(module: nn.Module) -> bool:
    """Whether a module has layers or quantizers of tinygen.nn's."""
    return any(isinstance(part, _OWN) for part in module.modules())


class Tracer(fx.Tracer):
    """Traces into every module but those of torch and tinygen."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _OWN) or (m.__module__.startswith("torch.nn") and not isinstance(m, nn.Sequential))


def read_quantized(module: nn.Module, example_input: torch.Tensor, name: str = "model") -> Graph:
    """The graph of a module whose quantizers are tinygen.nn's.

    Args:
        module: its quantizers calibrated or trained; read in evaluation mode.
        example_input: [N, ...] of the shape that the board will see; of a batch the first sample counts.
        name: C identifier.

    Raises:
        UnsupportedError: a module or function is not supported, or a layer's input has no quantizer.
        ModelError: a quantizer has seen no data, or the module does not accept the example.
    """
    check_c_name(name)
    with _evaluating(module), torch.no_grad():
        reader = Reader(module, name)
        _try(module, example_input[:1])
        return reader.read((1, *example_input.shape[1:]))


def _try(module: nn.Module, x: torch.Tensor) -> None:
    """Runs the module once, so that unknown ranges and wrong shapes are reported as such."""
    for path, part in module.named_modules():
        if isinstance(part, FollowedRange):
            with _located(path or type(part).__name__):
                part.known_range()
    try:
        module(x)
    except RuntimeError as error:
        raise ModelError(
            f"it does not take an input of {list(x.shape)} ({str(error).splitlines()[0]})",
            where=type(module).__name__,
            fix="Give an example [1, ...] of the shape that the board will see.",
        ) from error


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


class Reader:
    """Walks over the nodes of a trace.

    Args:
        module: the module to read.
        builder: collects the layers; or a name, for a graph of their own.
        prefix: of the layers' names: "exit.head.".
    """

    def __init__(self, module: nn.Module, builder: Builder | str, prefix: str = "") -> None:
        self.parts = dict(module.named_modules())
        self.prefix = prefix
        try:
            self.trace = Tracer().trace(module)
        except fx.proxy.TraceError as error:
            raise UnsupportedError(
                f"the module's forward() depends on values ({error})",
                where=type(module).__name__,
                fix="Write it without branches on tensors.",
            ) from error
        self.builder = Builder(builder) if isinstance(builder, str) else builder
        self.values: dict[fx.Node, Value | int] = {}

    def read(self, shape: tuple[int, ...]) -> Graph:
        """The graph for an input of this shape, as the module sees it."""
        return self.builder.graph(self._finished(self.walk(Raw(shape))))

    def walk(self, x: Value) -> Value | None:
        """The module's output for a value; None if it returns nothing."""
        output: Value | None = None
        for node in self.trace.nodes:
            if node.op == "placeholder":
                if self.values:
                    raise UnsupportedError(
                        "a module with several inputs", where=str(node.target), fix="Give it one tensor."
                    )
                self.values[node] = x
            elif node.op == "output":
                output = self._output(node.args[0])
            elif reads_batch(node):
                self.values[node] = 1
            else:
                self.values[node] = self._shared(node, self._node(node))
        return output

    def _output(self, result: Any) -> Value:
        if not isinstance(result, fx.Node):
            raise UnsupportedError(
                f"forward() gives back a {type(result).__name__}", where="the output", fix="Give back one tensor."
            )
        value = self.values[result]
        if isinstance(value, int):
            raise UnsupportedError("forward() gives back a size", where="the output", fix="Give back one tensor.")
        return value

    def _shared(self, node: fx.Node, value: Value) -> Value:
        """The value, computed once if several operators read it: as accumulators, if it has no quantizer."""
        readers = [user for user in node.users if not reads_batch(user)]
        if isinstance(value, Pending) and len(readers) > 1:
            return self.builder.accumulators(value)
        return value

    def _finished(self, output: Value | None) -> Coded:
        if isinstance(output, Pending):
            output = self.builder.finish(output, "output")
        if not isinstance(output, Coded):
            raise ModelError(
                "the module gives back its input", where=self.builder.name, fix="Put layers of tinygen.nn into it."
            )
        output = operands.whole(self.builder, output, "output")
        shape = output.tensor.shape
        if output.flat and shape[3] > 1 and shape[1] * shape[2] > 1:
            raise UnsupportedError(
                f"the output is an image {list(shape)}, flattened channel by channel",
                where=output.tensor.name,
                fix="Leave the flattening out: boards give back images as NHWC.",
            )
        return output

    def _node(self, node: fx.Node) -> Value:
        where = self.prefix + (str(node.target) if node.op == "call_module" else node.name)
        with _located(where):
            arguments, options = (self._values(part) for part in (node.args, node.kwargs))
            if node.op == "call_module":
                part, x = self.parts[str(node.target)], _only(arguments, options)
                if isinstance(part, Deciding):
                    return decisions.apply(self.builder, part, x, decisions.Reading(where, _inner))
                return modules.apply(self.builder, part, x, where)
            if node.op in ("call_function", "call_method"):
                return modules.call(self.builder, node.target, arguments, options, where)
        raise UnsupportedError(
            f"a {node.op.replace('_', ' ')}", where=where, fix="Parameters belong into layers of tinygen.nn."
        )

    def _values(self, arguments: Any) -> Any:
        """The arguments with nodes replaced by their values."""
        return fx.map_arg(arguments, lambda node: self.values[node])


def _inner(builder: Builder, module: nn.Module, x: Value, where: str) -> Value:
    """The output of a part of a deciding module for a value."""
    # The tracer enters the module that it is given, even if that is a layer.
    alone = Tracer().is_leaf_module(module, "")
    value = Reader(nn.Sequential(module) if alone else module, builder, f"{where}.").walk(x)
    if value is None:
        raise ModelError("it gives nothing back", where=where)
    return value


def _only(arguments: Sequence[Any], options: Mapping[str, Any]) -> Value:
    """The argument of a module with a single tensor as input."""
    given = [*arguments, *options.values()]
    if len(given) != 1 or not isinstance(given[0], Raw | Coded | Pending):
        raise UnsupportedError("a module called with anything but one tensor", fix="Call it with its input alone.")
    return given[0]


@contextmanager
def _located(where: str) -> Iterator[None]:
    """A context that adds the module's path to errors without a location."""
    try:
        yield
    except TinygenError as error:
        if not error.where or not error.where.startswith(where):
            error.where = f"{where} ({error.where})" if error.where else where
        raise
