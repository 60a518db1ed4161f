"""Rows of `tinygen verify`: what the framework of a model's own format computes, beside tinygen's graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinygen.builds.arrays import Inputs, Reading, Samples, load_reals
from tinygen.builds.onnx_runtime import OnnxAgreement, OnnxRuntime, agreement
from tinygen.errors import TinygenError
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.ptq.losses import QuantizationLoss, network_loss, some_layer_losses
from tinygen.ir.graph import Graph
from tinygen.verbs.build import BuildOptions


def quantization_loss(
    model: Path | MemoryModel, graph: Graph, inputs: Inputs, options: BuildOptions, reading: Reading, samples: Samples
) -> QuantizationLoss | None:
    """The float network of a .pt2 or .onnx file, computed by its own framework, beside the graph; else None.

    Args:
        graph: what tinygen made of the file.
        inputs: where `samples` are from: real values are taken as they are, codes for what they stand for.
    """
    if not isinstance(model, Path) or model.suffix.lower() not in (".pt2", ".onnx"):
        return None
    reals = load_reals(inputs, [graph.tensors[name] for name in graph.inputs], reading, len(samples))
    if model.suffix.lower() == ".onnx":
        return _onnx_loss(model, graph, reals, samples.labels)
    # Imported here since torch takes seconds to import and may not be installed.
    from tinygen.frontends.torch.compare import program_loss
    from tinygen.frontends.torch.file import load_program

    return program_loss(load_program(model, options.trust_pickle), graph, reals, samples.labels)


@dataclass(frozen=True)
class BesideOnnx:
    """ONNX Runtime beside the graph of an .onnx file that was quantized before tinygen read it.

    Attributes:
        agreement: None for other files, and where ONNX Runtime does not run.
        notes: why it does not.
    """

    agreement: OnnxAgreement | None = None
    notes: tuple[str, ...] = ()


def beside_onnx(model: Path | MemoryModel, graph: Graph, samples: Samples) -> BesideOnnx:
    """Compares a quantized .onnx file with ONNX Runtime."""
    if not isinstance(model, Path) or model.suffix.lower() != ".onnx":
        return BesideOnnx()
    try:
        runtime = OnnxRuntime(model)
        if runtime.model.is_float:
            return BesideOnnx()
        return BesideOnnx(agreement(runtime, graph, [samples.sample(index) for index in range(len(samples))]))
    except TinygenError as error:
        return BesideOnnx(notes=(f"{error.what}. {error.fix}".strip(),))


def _onnx_loss(
    model: Path, graph: Graph, samples: Sequence[Sequence[np.ndarray]], labels: np.ndarray | None
) -> QuantizationLoss | None:
    """A float .onnx file's own network, computed by ONNX Runtime, beside the graph; None where it does not run."""
    try:
        runtime = OnnxRuntime(model)
        if not runtime.model.is_float or not any(tensor.dtype == np.int8 for tensor in graph.tensors.values()):
            return None
        layers = some_layer_losses(runtime.model.simplified(), graph, samples)
        return network_loss(runtime.outputs, graph, samples, labels, layers, "ONNX Runtime")
    except TinygenError:
        # `beside_onnx` has said why.
        return None
