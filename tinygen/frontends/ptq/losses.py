"""What quantization costs: the noise behind each layer, as a part of the signal, and answers that change."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tinygen.frontends.ptq.calibrate import Sample
from tinygen.frontends.ptq.correction import quantized
from tinygen.frontends.ptq.roles import EXACT
from tinygen.ir.encodings import IntegerEncoding
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate, evaluate_all
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.quantize import Dequantize, Quantize
from tinygen.ir.tensor import Tensor

_SHOWN = 5
_QUIET = 200.0
"""Decibels of what has no noise: more than float32 can tell."""


@dataclass(frozen=True)
class LayerLoss:
    """Signal to quantization noise at the output of a layer, in dB: 6 dB are one bit.

    Attributes:
        layer, kind: the operator's name and kind.
        alone: noise of this layer alone: its inputs are those of the float network, rounded to codes.
        so_far: noise of this layer and of all before it.
    """

    layer: str
    kind: str
    alone: float
    so_far: float


@dataclass(frozen=True)
class QuantizationLoss:
    """A float network and the integer network made of it, on the same samples.

    Attributes:
        samples: how many there were.
        same: samples with the same answer, the largest element of the first output (of a single element: above 0.5);
            None if that is not a row of classes.
        signal_to_noise: of all outputs, in dB.
        float_correct, integer_correct: right answers; None without labels.
        layers: in the order of the graph; empty if the network was quantized before tinygen read it.
        runtime: what computed the float network.
    """

    samples: int
    same: int | None
    signal_to_noise: float
    float_correct: int | None = None
    integer_correct: int | None = None
    layers: tuple[LayerLoss, ...] = ()
    runtime: str = "PyTorch"

    @property
    def worst(self) -> LayerLoss | None:
        """The layer where most is lost: it adds most noise of its own."""
        return next(iter(self.noisiest), None)

    @property
    def noisiest(self) -> list[LayerLoss]:
        """A few layers, that where most is lost first."""
        return sorted(self.layers, key=lambda loss: loss.alone)[:_SHOWN]

    def as_json(self) -> dict[str, Any]:
        worst = self.worst
        return asdict(self) | {"worst": None if worst is None else worst.layer}

    def __str__(self) -> str:
        answers = "" if self.same is None else f"same answer for {self.same} of {self.samples} samples, "
        lines = [f"{answers}{self.signal_to_noise:.1f} dB signal to quantization noise"]
        if self.float_correct is not None and self.integer_correct is not None:
            shares = (100 * count / self.samples for count in (self.float_correct, self.integer_correct))
            lines.append("accuracy: {:.2f} % in float, {:.2f} % in integers".format(*shares))
        shown = self.noisiest
        if shown:
            width = max(len("most is lost in"), *(len(loss.layer) for loss in shown))
            kinds = max(len(loss.kind) for loss in shown)
            lines.append(f"{'most is lost in':{width}}  {'':{kinds}}  {'alone':>8}  {'so far':>8}")
        lines += [
            f"{loss.layer:{width}}  {loss.kind:{kinds}}  {loss.alone:5.1f} dB  {loss.so_far:5.1f} dB" for loss in shown
        ]
        return "\n".join(lines)


class Noise:
    """Sums of squares of a signal and of what differs from it."""

    def __init__(self) -> None:
        self.signal = self.noise = 0.0

    def add(self, real: np.ndarray, found: np.ndarray) -> None:
        """More elements of the signal, and what was found instead."""
        wide = real.astype(np.float64)
        self.signal += float((wide**2).sum())
        self.noise += float(((wide - found.reshape(wide.shape)) ** 2).sum())

    @property
    def decibels(self) -> float:
        if self.noise == 0:
            return _QUIET
        return min(10 * math.log10(self.signal / self.noise), _QUIET) if self.signal > 0 else -_QUIET


def real_values(tensor: Tensor, codes: np.ndarray) -> np.ndarray:
    """What codes of a tensor stand for, float64."""
    if not isinstance(tensor.encoding, IntegerEncoding):
        return codes.astype(np.float64)
    encoding = tensor.encoding
    shape = [-1 if axis == encoding.axis else 1 for axis in range(codes.ndim)]
    return np.asarray(encoding.integers(codes) * np.array(encoding.scale).reshape(shape))


_LAYER_SAMPLES = 16
"""Of these the noise of each layer is measured, spread over all."""


def network_loss(
    outputs: Callable[[Sample], Sequence[np.ndarray]],
    graph: Graph,
    samples: Sequence[Sample],
    labels: np.ndarray | None,
    layers: tuple[LayerLoss, ...],
    runtime: str = "PyTorch",
) -> QuantizationLoss:
    """What a runtime gives, beside the graph.

    Args:
        outputs: of the float network, as the graph stores them.
        samples: real inputs of the graph.
        labels: class of each sample.
        layers: see `layer_losses`.
    """
    noise, answers = Noise(), []
    for sample in samples:
        wanted = outputs(sample)
        codes = [quantized(np.asarray(a), graph.tensors[name]) for a, name in zip(sample, graph.inputs, strict=True)]
        found = [
            real_values(graph.tensors[name], output)
            for name, output in zip(graph.outputs, evaluate(graph, codes), strict=True)
        ]
        for real, output in zip(wanted, found, strict=True):
            noise.add(real, output)
        answers.append((_answer(wanted[0]), _answer(found[0])))
    decibels = round(noise.decibels, 2)
    if len(graph.tensors[graph.outputs[0]].shape) > 2:
        return QuantizationLoss(len(samples), None, decibels, layers=layers, runtime=runtime)
    same = sum(ours == theirs for theirs, ours in answers)
    loss = QuantizationLoss(len(samples), same, decibels, layers=layers, runtime=runtime)
    if labels is None:
        return loss
    real, integer = np.sum(np.array(answers) == labels[:, None], axis=0).tolist()
    return replace(loss, float_correct=real, integer_correct=integer)


def _answer(output: np.ndarray) -> int:
    flat = output.reshape(-1)
    return int(flat[0] > 0.5) if flat.size == 1 else int(np.argmax(flat))


def some_layer_losses(real: Graph, graph: Graph, samples: Sequence[Sample]) -> tuple[LayerLoss, ...]:
    """`layer_losses` of a few samples."""
    count = min(_LAYER_SAMPLES, len(samples))
    return layer_losses(real, graph, [samples[index * len(samples) // count] for index in range(count)])


def layer_losses(real: Graph, graph: Graph, samples: Sequence[Sample]) -> tuple[LayerLoss, ...]:
    """The noise behind every layer whose output the float network has, too, but for those that only move codes.

    Args:
        real: the float network, simplified; tensors have the names that they have in `graph`.
        graph: what quantization made of it.
        samples: real inputs.
    """
    names = _names(real, graph)
    nodes = [node for node in graph.nodes() if names.get(node.output.name) and not isinstance(node.op, _SILENT)]
    alone: dict[str, Noise] = {node.op.name: Noise() for node in nodes}
    so_far: dict[str, Noise] = {node.op.name: Noise() for node in nodes}
    for sample in samples:
        wanted = evaluate_all(real, sample)
        given = [quantized(np.asarray(x), graph.tensors[name]) for x, name in zip(sample, graph.inputs, strict=True)]
        found = evaluate_all(graph, given)
        for node in nodes:
            output = node.output
            exact = wanted[names[output.name]]
            so_far[node.op.name].add(exact, real_values(output, found[output.name]))
            result = node.op.evaluate(node, _rounded_inputs(node, names, wanted, found))[0]
            alone[node.op.name].add(exact, real_values(output, result))
    return tuple(
        LayerLoss(
            node.op.name, node.op.KIND, round(alone[node.op.name].decibels, 2), round(so_far[node.op.name].decibels, 2)
        )
        for node in nodes
    )


_CONVERSIONS = (Quantize, Dequantize)
_SILENT = (*_CONVERSIONS, *EXACT)


def _rounded_inputs(
    node: Node, names: Mapping[str, str], wanted: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """An operator's inputs as codes: of the float network's values, where it has them."""
    inputs = []
    for tensor in node.inputs:
        if tensor is None:
            inputs.append(np.zeros(0, np.int64))
        elif tensor.data is not None:
            inputs.append(tensor.data)
        elif tensor.name in names:
            inputs.append(quantized(wanted[names[tensor.name]], tensor))
        else:
            inputs.append(found[tensor.name])
    return inputs


def _names(real: Graph, graph: Graph) -> dict[str, str]:
    """Names, in the float network, of the graph's tensors that stand for real values; conversions change no values."""
    own = {name for name, tensor in real.tensors.items() if tensor.is_float and not tensor.is_constant}
    names = {
        name: name
        for name, tensor in graph.tensors.items()
        if name in own and not tensor.is_constant and tensor.shape == real.tensors[name].shape
    }
    conversions = [op for op in graph.ops if isinstance(op, _CONVERSIONS)]
    for op in (*conversions, *reversed(conversions)):
        for before, after in ((op.inputs[0], op.outputs[0]), (op.outputs[0], op.inputs[0])):
            if before in names:
                names.setdefault(after, names[before])
    return names
