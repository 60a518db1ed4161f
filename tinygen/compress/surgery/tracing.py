"""A network's torch.fx trace, with the tensors of one example."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn

from tinygen.errors import ModelError, UnsupportedError
from tinygen.nn.decisions import Deciding
from tinygen.nn.fire_together import MaskedConv2d
from tinygen.nn.gated import GatedConv2d
from tinygen.nn.layers import QuantConv2d, QuantLinear
from tinygen.nn.mixed import CondConv2d
from tinygen.nn.quantizers import ActivationQuantizer
from tinygen.nn.switchable import is_switchable

Example: TypeAlias = Tensor | Sequence[Tensor]
"""A network's input, or its inputs: batches of at least one."""

_LEAVES = (QuantConv2d, QuantLinear, CondConv2d, GatedConv2d, MaskedConv2d, ActivationQuantizer)


class Tracer(fx.Tracer):
    """Traces into every module except torch's, tinygen's quantized layers and its quantizers."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _LEAVES) or (m.__module__.startswith("torch.nn") and not isinstance(m, nn.Sequential))


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; every module's mode is restored."""
    training = [part for part in network.modules() if part.training]
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part in training:
            part.training = True


def inputs_of(example: Example) -> tuple[Tensor, ...]:
    return (example,) if isinstance(example, Tensor) else tuple(example)


def refuse_decisions(network: nn.Module) -> None:
    """
    Raises:
        UnsupportedError: the network has decisions: the order of its layers depends on the sample.
    """
    if any(isinstance(part, Deciding) for part in network.modules()):
        fix = "Prune the parts, and put them into EarlyExit, SkipBlock or MixtureOfExperts then."
        raise UnsupportedError("a network that decides", where=type(network).__name__, fix=fix)


def trace(network: nn.Module, example: Example) -> tuple[fx.GraphModule, dict[fx.Node, Any]]:
    """The trace of a network in evaluation mode, and the value of each of its nodes for the example.

    Raises:
        UnsupportedError: the network's forward() depends on values.
        ModelError: the network does not take the example.
    """
    where = type(network).__name__
    if is_switchable(network):
        raise UnsupportedError(
            "a network of several switches", where=where, fix="Prune the float network, and make it switchable then."
        )
    refuse_decisions(network)
    with evaluating(network):
        try:
            graph = Tracer().trace(network)
        except (fx.proxy.TraceError, TypeError) as error:
            raise UnsupportedError(
                f"the network cannot be traced ({str(error).splitlines()[0]})",
                where=where,
                fix="Write forward() without branches on tensors, and without lengths of them.",
            ) from error
        traced = fx.GraphModule(network, graph)
        recorder = _Recorder(traced)
        try:
            recorder.run(*inputs_of(example))
        except (RuntimeError, ValueError) as error:
            shapes = ", ".join(str(list(x.shape)) for x in inputs_of(example))
            raise ModelError(
                f"it does not take inputs of {shapes} ({str(error).splitlines()[0]})",
                where=where,
                fix="Give an example as the network takes it, with the batch first.",
            ) from error
    return traced, recorder.values


class _Recorder(fx.Interpreter):
    """Runs a trace and keeps the value of every node."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.values: dict[fx.Node, Any] = {}
        self.extra_traceback = False

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.values[n] = value
        return value
