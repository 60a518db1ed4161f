"""What quantizing a PyTorch module cost: the module beside its graph, on the same samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

from tinygen.errors import TinygenError, UnsupportedError
from tinygen.frontends.aten.layout import NCHW, NHWC
from tinygen.frontends.ptq.calibrate import Sample
from tinygen.frontends.ptq.losses import LayerLoss, QuantizationLoss, network_loss, some_layer_losses
from tinygen.frontends.ptq.model import FloatModel
from tinygen.frontends.ptq.simplify import simplify_float
from tinygen.frontends.torch.aten import read_program
from tinygen.frontends.torch.export import Array, evaluating, samples_of, traced, without_masks
from tinygen.frontends.torch_nn import is_quantized
from tinygen.ir.graph import Graph
from tinygen.nn.switchable import is_switchable


def compare(
    module: torch.nn.Module | ExportedProgram,
    graph: Graph,
    x: Array | Sequence[Array],
    y: Array | Sequence[int] | None = None,
) -> QuantizationLoss:
    """A module and its graph on the same samples: answers that changed, and the layers where most is lost.

    Args:
        module: what `tinygen.export` made the graph of; computed by PyTorch in evaluation mode, one sample at a time.
        graph: computed by its exact integer semantics.
        x: samples as the module takes them, one per row (images NCHW); one array per input.
        y: the number of the class of each sample.

    Raises:
        TinygenError: the samples do not fit, or the graph is not this module's.
        UnsupportedError: the module is switchable.
    """
    if isinstance(module, torch.nn.Module) and is_switchable(module):
        fix = "Compare tinygen.nn.switchable.extract(module, ...) with a graph of the network."
        raise UnsupportedError("has several switches", where=type(module).__name__, fix=fix)
    samples = samples_of(tuple(x) if isinstance(x, list | tuple) else x, graph, "x")
    labels = None if y is None else np.asarray(y).reshape(-1).astype(np.int64)
    if labels is not None and len(labels) != len(samples):
        raise TinygenError(f"there are {len(labels)} labels for {len(samples)} samples", where="y")
    if isinstance(module, ExportedProgram):
        return program_loss(module, graph, samples, labels)
    if is_quantized(module):
        with evaluating(module):
            return _loss(module, graph, samples, labels, ())
    with evaluating(module):
        program = traced(without_masks(module), [_shown(array) for array in samples[0]])
        return _loss(module, graph, samples, labels, _layers(read_program(program, graph.name), graph, samples))


def program_loss(
    program: ExportedProgram, graph: Graph, samples: Sequence[Sample], labels: np.ndarray | None
) -> QuantizationLoss:
    """The same for an exported program; samples are those of the graph, as real numbers."""
    layers = _layers(read_program(program, graph.name), graph, samples)
    return _loss(program.module(), graph, samples, labels, layers)


def _layers(model: FloatModel, graph: Graph, samples: Sequence[Sample]) -> tuple[LayerLoss, ...]:
    """Noise layer by layer; of none, if the module has scales of its own: then it computes what the graph does."""
    if model.is_quantized:
        return ()
    return some_layer_losses(simplify_float(model).graph, graph, samples)


def _loss(
    module: Callable[..., Any],
    graph: Graph,
    samples: Sequence[Sample],
    labels: np.ndarray | None,
    layers: tuple[LayerLoss, ...],
) -> QuantizationLoss:
    def outputs(sample: Sample) -> list[np.ndarray]:
        with torch.no_grad():
            return _stored(module(*(_shown(array) for array in sample)), graph)

    return network_loss(outputs, graph, samples, labels, layers)


def _shown(array: np.ndarray) -> torch.Tensor:
    """A graph's input as the module takes it."""
    shown = torch.from_numpy(np.ascontiguousarray(array.transpose(NCHW) if array.ndim == 4 else array))
    return shown.long() if array.dtype == np.int32 else shown


def _stored(result: Any, graph: Graph) -> list[np.ndarray]:
    """A module's outputs as the graph stores them."""
    outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
    arrays = [output.detach().cpu().numpy() for output in outputs]
    arrays = [array.transpose(NHWC) if array.ndim == 4 else array for array in arrays]
    given = [list(array.shape) for array in arrays]
    wanted = [list(graph.tensors[name].shape) for name in graph.outputs]
    if given != wanted:
        raise TinygenError(
            f"the module's outputs are {given}, the graph's {wanted}",
            where=graph.name,
            fix="Give the module that tinygen.export made this graph of.",
        )
    return arrays
