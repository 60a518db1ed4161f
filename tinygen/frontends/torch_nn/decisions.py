"""Modules of dynamic networks: scores, an index computed from them, and a branch operator over graphs of the parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from tinygen.errors import UnsupportedError
from tinygen.frontends.folding import Reach
from tinygen.frontends.torch_nn import layers, operands
from tinygen.frontends.torch_nn.builder import Builder
from tinygen.frontends.torch_nn.values import Coded, Pending, Raw, Value, linear
from tinygen.ir.encodings import Plain
from tinygen.ir.graph import Graph
from tinygen.ir.ops.compare import Compare, Relation
from tinygen.ir.ops.softmax import Softmax
from tinygen.ir.ops.weighted_sum import WeightedSum
from tinygen.ir.tensor import Tensor
from tinygen.nn.decisions import Deciding, EarlyExit, MixtureOfExperts, SkipBlock
from tinygen.nn.decisions.exits import MEASURES
from tinygen.nn.decisions.experts import ALL, CHOSEN, NONE, PROBABILITIES
from tinygen.nn.quantizers import ActivationQuantizer

Inner = Callable[[Builder, nn.Module, Value, str], Value]
Body = Callable[[Builder, Sequence[Coded]], Coded]
"""Writes a branch: what it makes of its inputs."""


@dataclass(frozen=True)
class Reading:
    """The path of a deciding module, and the reader of its submodules.

    Attributes:
        where: path of the module, for names and messages.
        inner: reads a submodule applied to a value into a builder, under a path.
    """

    where: str
    inner: Inner

    def coded(self, builder: Builder, module: nn.Module, x: Coded, quantizer: ActivationQuantizer, name: str) -> Coded:
        """The output of a part for codes, quantized."""
        path = f"{self.where}.{name}"
        return _through(builder, quantizer, self.inner(builder, module, x, path), f"{path}.codes")


def apply(builder: Builder, module: Deciding, x: Value, reading: Reading) -> Value:
    """The output of a deciding module.

    Raises:
        UnsupportedError: its input has no quantizer, or its branches have outputs of different shapes.
    """
    source = operands.codes(builder, x, reading.where)
    if isinstance(module, EarlyExit):
        return _early_exit(builder, module, source, reading)
    if isinstance(module, SkipBlock):
        return _skip_block(builder, module, source, reading)
    if isinstance(module, MixtureOfExperts):
        return _experts(builder, module, source, reading)
    raise UnsupportedError(f"{type(module).__name__} is not read", where=reading.where, fix="Use tinygen.nn's own.")


def _early_exit(builder: Builder, module: EarlyExit, x: Coded, reading: Reading) -> Coded:
    logits = reading.coded(builder, module.head, x, module.quantizer, "head")
    if len(logits.tensor.shape) != 2:
        what = f"its head gives {list(logits.tensor.shape)}"
        raise UnsupportedError(what, where=reading.where, fix="Heads give logits [N, classes].")
    measure = MEASURES[module.measure]
    encoding, where = measure.encoding(module.scale), reading.where
    score = builder.write(measure, f"{where}.{module.measure}", (logits.tensor.name,), encoding, f"{where}.score")
    threshold = builder.threshold("EXIT", encoding, module.threshold_score())
    leaves = _reaches(builder, score, threshold, where)

    def stay(inside: Builder, values: Sequence[Coded]) -> Coded:
        return reading.coded(inside, module.rest, values[0], module.quantizer, "rest")

    return _chosen(builder, leaves, [x, logits], [stay, lambda inside, values: values[1]], where)


def _skip_block(builder: Builder, module: SkipBlock, x: Coded, reading: Reading) -> Coded:
    where = reading.where
    logit = reading.coded(builder, module.gate, x, module.gate_quantizer, "gate")
    if logit.tensor.size != 1:
        what = f"its gate gives {list(logit.tensor.shape)}"
        raise UnsupportedError(what, where=where, fix="Gates give one logit, [N, 1].")
    threshold = builder.threshold("SKIP", logit.tensor.encoding, module.threshold_score())
    opens = _reaches(builder, logit.tensor, threshold, where)

    def keep(inside: Builder, values: Sequence[Coded]) -> Coded:
        return _through(inside, module.quantizer, values[0], f"{where}.kept")

    def run(inside: Builder, values: Sequence[Coded]) -> Coded:
        return reading.coded(inside, module.block, values[0], module.quantizer, "block")

    return _chosen(builder, opens, [x], [keep, run], where)


def _experts(builder: Builder, module: MixtureOfExperts, x: Coded, reading: Reading) -> Coded:
    where, k = reading.where, module.k
    logits = reading.coded(builder, module.router, x, module.router_quantizer, "router").tensor
    if logits.shape != (1, len(module.experts)):
        what = f"its router gives {list(logits.shape)}"
        raise UnsupportedError(what, where=where, fix=f"It has {len(module.experts)} experts: give a logit of each.")
    largest, positions = builder.top_k(logits, k, f"{where}.chosen")

    def body(expert: nn.Module, number: int) -> Body:
        return lambda inside, values: reading.coded(inside, expert, values[0], module.quantizer, f"experts.{number}")

    bodies = [body(expert, number) for number, expert in enumerate(module.experts)]
    indices = [positions] if k == 1 else [builder.element(positions, j, f"{where}.index_{j}") for j in range(k)]
    names = [where] if k == 1 else [f"{where}.choice_{j}" for j in range(k)]
    said = [_chosen(builder, index, [x], bodies, name) for index, name in zip(indices, names, strict=True)]
    if module.weights == NONE:
        return said[0]
    source = largest if module.weights == CHOSEN else logits
    shares = builder.write(Softmax, f"{where}.shares", (source.name,), PROBABILITIES, f"{where}.shares")
    if module.weights == ALL:
        shares, _ = builder.top_k(shares, k, f"{where}.weights")
    return _through(builder, module.quantizer, _weighted(shares, said, where), f"{where}.sum")


def _weighted(shares: Tensor, said: Sequence[Coded], where: str) -> Pending:
    """The sum of the experts' outputs, weighted by shares in units of 1/256."""
    first = said[0]
    channels, (low, high) = first.tensor.shape[-1], first.ends()
    ends = [np.full(channels, limit) for limit in (255 * len(said) * min(low, 0), 255 * len(said) * max(high, 0))]
    chain = linear((first.gain / 256,) * channels)
    names = (shares.name, *(one.tensor.name for one in said))
    return Pending(WeightedSum, {}, names, first.tensor.shape, chain, Reach(*ends), where, flat=first.flat)


def _through(builder: Builder, quantizer: ActivationQuantizer, x: Value, where: str) -> Coded:
    """The value as codes of a quantizer; codes of that quantizer are unchanged if it is idempotent."""
    if isinstance(x, Coded):
        x = operands.whole(builder, x, where)
    if isinstance(x, Coded) and x.step is None and x.tensor.encoding == quantizer.encoding() and _repeats(quantizer):
        return x
    if isinstance(x, Raw):
        raise operands.raw_input(where)
    return layers.activation_quantizer(builder, quantizer, x, where)


def _repeats(quantizer: ActivationQuantizer) -> bool:
    """Whether the quantizer is idempotent: one with a tanh is not."""
    encoding = quantizer.encoding()
    low, high = encoding.code_range
    codes = np.arange(low, high + 1).astype(encoding.dtype)
    values = torch.from_numpy(encoding.integers(codes)).float() * torch.tensor(encoding.scale[0])
    return bool(np.array_equal(quantizer.codes(values)[0], codes))


def _reaches(builder: Builder, score: Tensor, threshold: Tensor, where: str) -> Tensor:
    """Whether a score of one element is at least the threshold; bool of the score's shape."""
    name, inputs = f"{where}.decision", (score.name, threshold.name)
    return builder.write(Compare, name, inputs, Plain("bool"), name, relation=Relation.GREATER_EQUAL)


def _chosen(builder: Builder, index: Tensor, inputs: Sequence[Coded], bodies: Sequence[Body], where: str) -> Coded:
    """The branch operator: each body becomes a graph, whose inputs are the values of the outer graph and thresholds."""
    drafts = [_Draft.of(builder, body, inputs, f"branch_{number}") for number, body in enumerate(bodies)]
    captured = list(dict.fromkeys(name for draft in drafts for name in draft.inside.captured))
    read = [*(value.tensor for value in inputs), *(builder.tensors[name] for name in captured)]
    result = builder.branch(where, index, read, [draft.graph(builder, captured) for draft in drafts])
    values = [draft.result for draft in drafts]
    if len({(value.flat, value.gain) for value in values}) > 1:
        raise UnsupportedError("its branches give flat and other values", where=where, fix="Flatten in all, or none.")
    return replace(values[0], tensor=result)


@dataclass(frozen=True, eq=False)
class _Draft:
    """A branch whose operators have been added.

    Attributes:
        inputs: of the branch, without thresholds.
    """

    inside: Builder
    inputs: Sequence[Coded]
    result: Coded

    @staticmethod
    def of(builder: Builder, body: Body, inputs: Sequence[Coded], name: str) -> _Draft:
        inside = Builder(name, builder)
        values = [inside.taken(f"input_{number}", value) for number, value in enumerate(inputs)]
        return _Draft(inside, values, body(inside, values))

    def graph(self, outer: Builder, captured: Sequence[str]) -> Graph:
        """The branch, with these thresholds of the outer graph as inputs, whether or not it reads them."""
        for name in captured:
            self.inside.capture(outer.tensors[name])
        names = (*(value.tensor.name for value in self.inputs), *captured)
        inside = self.inside
        return Graph(inside.name, inside.tensors, tuple(inside.ops), names, (self.result.tensor.name,))
