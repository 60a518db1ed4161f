"""Trained networks as streaming graphs: int8 or few bits, three frames a step, output is a probability."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from tinygen.apps.wakeword.features import ENCODING
from tinygen.apps.wakeword.network import HOP
from tinygen.apps.wakeword.training import as_tensor
from tinygen.errors import TinygenError
from tinygen.frontends.torch import export, export_switches
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network, Switch
from tinygen.ir.ops.unary import Logistic
from tinygen.ir.tensor import Tensor
from tinygen.nn.quantizers import Affine8
from tinygen.nn.switchable import SwitchableActivation, SwitchSpec, switched, switches_of
from tinygen.passes.to_streaming import to_streaming

PROBABILITY = Affine("int8", (1 / 256,), (-128,))
"""TFLite's encoding of what LOGISTIC gives."""


def int8_stream(network: nn.Module, windows: np.ndarray, *, name: str) -> Network:
    """The float network as a streaming network in int8 by TFLite's rules.

    Args:
        network: trained; logits of windows.
        windows: codes [N, frames, CHANNELS] to calibrate with; they take each value that the input has.
        name: C identifier.
    """
    module = nn.Sequential(OrderedDict(network=network, flatten=nn.Flatten(), sigmoid=nn.Sigmoid()))
    samples = as_tensor(spanning(windows))
    graph = export(module, samples[:1], samples, name=name)
    return _streaming(Network.of(graph))


def switchable_stream(network: nn.Module, windows: np.ndarray, *, name: str) -> Network:
    """The switchable network as a streaming network, with one graph per switch that runs on boards.

    Args:
        network: trained and switchable; logits of windows.
        windows: codes [N, frames, CHANNELS] to measure the ranges of the logits.
        name: C identifier.
    """
    samples = as_tensor(spanning(windows))
    logits = SwitchableActivation(switches_of(network), _last_of).eval()
    module = nn.Sequential(OrderedDict(network=network, logits=logits, flatten=nn.Flatten()))
    for spec in switches_of(network):
        with switched(module, spec), torch.no_grad():
            # Only the quantizer of the logits is calibrated; the network's quantizers keep their trained ranges.
            logits.at(spec).train()(network(samples))
            logits.at(spec).eval()
    network_of_graphs = export_switches(module.eval(), samples[:1], name=name)
    return _streaming(_each(network_of_graphs, with_probability))


def recipe_stream(network: nn.Module, windows: np.ndarray, *, name: str) -> Network:
    """A network of few bits as a streaming network.

    Args:
        network: trained by a recipe; logits of windows.
        windows: codes [N, frames, CHANNELS] to measure the range of the logits.
        name: C identifier.
    """
    samples = as_tensor(spanning(windows))
    logit = Affine8()
    with torch.no_grad():
        logit.train()(network(samples))
    module = nn.Sequential(OrderedDict(network=network, logit=logit, flatten=nn.Flatten()))
    graph = export(module.eval(), samples[:1], name=name)
    return _streaming(Network.of(with_probability(graph)))


def _streaming(network: Network) -> Network:
    """The network in streaming form.

    Raises:
        TinygenError: the input's encoding is not that of the data set.
    """
    for one in network:
        (source,) = one.graph.inputs
        found = one.graph.tensors[source].encoding
        if found != ENCODING:
            raise TinygenError(f"takes {found}, the data set has {ENCODING}", where=f"{network.name}, {one.name}")
    return to_streaming(network, hop=HOP)


def _last_of(spec: SwitchSpec) -> nn.Module:
    return nn.Identity() if spec.is_float else Affine8()


def _each(network: Network, change: Callable[[Graph], Graph]) -> Network:
    return replace(network, switches=tuple(Switch(one.name, change(one.graph)) for one in network))


def with_probability(graph: Graph) -> Graph:
    """The graph with a LOGISTIC operator after its output."""
    (logit,) = graph.outputs
    shape = graph.tensors[logit].shape
    tensors = {**graph.tensors, "probability": Tensor("probability", shape, PROBABILITY)}
    op = Logistic(name="probability", inputs=(logit,), outputs=("probability",))
    return replace(graph, tensors=tensors, ops=(*graph.ops, op), outputs=("probability",))


def spanning(windows: np.ndarray) -> np.ndarray:
    """The windows and one with the least and largest code, so that calibration measures the input's full range."""
    ends = windows[:1].copy()
    ends[0, 0, 0], ends[0, 0, -1] = -128, 127
    return np.concatenate([windows, ends])
