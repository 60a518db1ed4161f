"""Gated networks with random weights: M-CifarNet, and what others are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from tinygen.ir.encodings import Affine, ChannelList, Encoding, Levels
from tinygen.ir.epilogue import Rescale
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.channel_statistic import ChannelStatistic, Statistic
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.ir.ops.masked_conv_2d import MaskedConv2D
from tinygen.ir.ops.mix_weights import MixWeights
from tinygen.ir.ops.positive_channels import PositiveChannels
from tinygen.ir.ops.softmax_numerator import SoftmaxNumerator
from tinygen.ir.ops.top_k import TopK
from tinygen.ir.ops.unary import Logistic
from tinygen.ir.ops.window import Padding
from tinygen.ir.tensor import Shape, Tensor

EXPERTS = 4
"""Of a CondConv layer (Raju 2022, section 3.3.2)."""

_CODES = Affine("int8", (1 / 32,), (-128,))
"""Activations behind a rectifier."""
_WEIGHTS = Affine("int8", (1 / 256,), (0,))
_SCORES = Levels((1 / 64,), bits=8, signed=False)
_LOGITS = Affine("int8", (1 / 16,), (0,))
_POWERS = Levels((1 / 255,), bits=8, signed=False)
_SHARES = Affine("int8", (1 / 256,), (-128,))
_DEVIATION, _MEAN_SQUARE = 73.3, 6000.0
"""Of weights over all codes of int8; of activations about so."""
_SHIFT = 32
_FAR = 10000
"""Codes beyond any that weights make: logits of which the sign is known."""


@dataclass(frozen=True)
class ConvLayer:
    """A 3x3 convolution."""

    filters: int
    stride: int = 1
    padding: Padding = Padding.SAME


@dataclass(frozen=True)
class Method:
    """How layers compute.

    Attributes:
        density: share of the channels of a layer that are kept for each input, at least (FBS); None without gates.
        experts: whose weights are mixed (CondConv); 0 for none.
        predictor: masks come from the maxima of channels, and do not boost (fire together, wire together): a density is
            a fixed signature; without one it is dynamic, as many channels as have positive logits.
        firing: share of the channels that a dynamic signature finds live, for every input the same ones; None leaves
            that to random weights.
    """

    density: Fraction | None = None
    experts: int = 0
    predictor: bool = False
    firing: Fraction | None = None


M_CIFAR_NET = (
    ConvLayer(64, padding=Padding.VALID),
    ConvLayer(64),
    ConvLayer(128, stride=2),
    ConvLayer(128),
    ConvLayer(128),
    ConvLayer(192, stride=2),
    ConvLayer(192),
    ConvLayer(192),
)
"""On images of 32x32x3, with a global average and 10 classes behind it.

Raju (2022, section 3.4) takes it from Gao et al. (2019) and does not list its layers; these give all of table 3.1.
"""
IMAGE = (32, 32, 3)


def gated_network(
    name: str, layers: Sequence[ConvLayer], image: tuple[int, int, int], method: Method, seed: int = 0
) -> Graph:
    """Convolutions, a global mean, and 10 classes; random weights. Input: int8 [1, *image]."""
    maker = _Maker(name, np.random.default_rng(seed))
    live = _Live(maker.value("image", (1, *image), _CODES))
    for number, layer in enumerate(layers):
        live = maker.convolution(f"conv{number}", live, layer, method)
    mean = maker.statistic("pool", live, Statistic.SUM, _CODES)
    outputs = maker.dense("classes", mean, 10, _LOGITS, 0)
    graph = Graph(name, maker.tensors, tuple(maker.ops), ("image",), (outputs,))
    graph.validate()
    return graph


@dataclass(frozen=True)
class _Live:
    """A tensor, and the list of its channels: "" for all of them."""

    tensor: str
    channels: str = ""


@dataclass
class _Maker:
    name: str
    rng: np.random.Generator
    tensors: dict[str, Tensor] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)

    def value(self, name: str, shape: Shape, encoding: Encoding, data: np.ndarray | None = None) -> str:
        self.tensors[name] = Tensor(name, shape, encoding, data)
        return name

    def add(self, op: type[Op], name: str, inputs: Sequence[str], encoding: Encoding, **attributes: Any) -> str:
        """The name of the only output, which is the operator's own."""
        made = op(name=name, inputs=tuple(inputs), outputs=(name,), **attributes)
        self.value(name, (1,), encoding)
        node = Graph(self.name, self.tensors, (made,), (), (name,)).node(made)
        self.value(name, made.infer_shapes(node)[0], encoding)
        self.ops.append(made)
        return name

    def convolution(self, name: str, x: _Live, layer: ConvLayer, method: Method) -> _Live:
        inputs = self._channels(x)
        attributes = {"padding": layer.padding, "stride": (layer.stride, layer.stride)}
        boosts = method.density is not None and not method.predictor
        ending = self._ending(layer.filters, 9 * self.tensors[x.tensor].shape[3], gated=boosts)
        shape = (layer.filters, 3, 3, inputs)
        if method == Method():
            weights = self._constant(f"{name}_weights", shape)
            return _Live(self.add(Conv2D, name, [x.tensor, weights], _CODES, epilogue=ending, **attributes))
        if method.predictor:
            return self._masked(name, x, layer, method, ending)
        gamma, chosen = self._gate(name, x, layer.filters, method)
        reads = x.channels
        if method.experts:
            weights, reads = self._mixed(name, x, (method.experts, *shape), chosen), ""
        else:
            weights = self._constant(f"{name}_weights", shape)
        found = [x.tensor, weights, reads, chosen, gamma]
        bias = tuple(self.rng.integers(-2000, 2000, layer.filters).tolist())
        made = self.add(GatherConv2D, name, found, _CODES, epilogue=ending, bias=bias, **attributes)
        return _Live(made, chosen)

    def _gate(self, name: str, x: _Live, filters: int, method: Method) -> tuple[str, str]:
        """(gammas, list) of the live filters; "" where all run."""
        if method.density is None:
            return "", ""
        known = self.statistic(f"{name}_saliency", x, Statistic.MAGNITUDE, _SCORES)
        scores = self.dense(f"{name}_scores", known, filters, _SCORES, 64)
        live = math.ceil(method.density * filters)
        gamma, chosen = f"{name}_gamma", f"{name}_live"
        self.ops.append(
            TopK(name=f"{name}_winners", inputs=(scores,), outputs=(gamma, chosen), k=live, by_position=True)
        )
        self.value(gamma, (1, live), _SCORES)
        return gamma, self.value(chosen, (1, live), ChannelList(filters))

    def _masked(self, name: str, x: _Live, layer: ConvLayer, method: Method, ending: Rescale) -> _Live:
        """A layer whose mask predictor reads its input; tensors of a dynamic signature have all channels."""
        weights = self._constant(f"{name}_weights", (layer.filters, 3, 3, self._channels(x)))
        attributes = {"padding": layer.padding, "stride": (layer.stride, layer.stride), "epilogue": ending}
        fixed = method.density is not None
        known = self.statistic(f"{name}_maxima", x if fixed else _Live(x.tensor), Statistic.MAXIMUM, _SCORES)
        powers = self.add(SoftmaxNumerator, f"{name}_powers", [known], _POWERS)
        centres: int | np.ndarray = 0
        if method.firing is not None:
            centres = np.full(layer.filters, -_FAR)
            centres[self.rng.permutation(layer.filters)[: math.ceil(method.firing * layer.filters)]] = _FAR
        logits = self.dense(f"{name}_logits", powers, layer.filters, _LOGITS, centres)
        chosen = f"{name}_live"
        if method.density is None:
            self.add(PositiveChannels, chosen, [logits], ChannelList(layer.filters, counted=True))
            inputs = [x.tensor, weights, x.channels, chosen]
            return _Live(self.add(MaskedConv2D, name, inputs, _CODES, **attributes), chosen)
        live, scores = math.ceil(method.density * layer.filters), f"{name}_winning"
        self.value(scores, (1, live), _LOGITS)
        self.value(chosen, (1, live), ChannelList(layer.filters))
        self.ops.append(
            TopK(name=f"{name}_winners", inputs=(logits,), outputs=(scores, chosen), k=live, by_position=True)
        )
        inputs = [x.tensor, weights, x.channels, chosen]
        return _Live(self.add(GatherConv2D, name, inputs, _CODES, **attributes), chosen)

    def _mixed(self, name: str, x: _Live, shape: Shape, chosen: str) -> str:
        known = self.statistic(f"{name}_mean", x, Statistic.SUM, _CODES)
        logits = self.dense(f"{name}_router", known, shape[0], _LOGITS, 0)
        alpha = self.add(Logistic, f"{name}_alpha", [logits], _SHARES)
        experts = self._constant(f"{name}_experts", shape)
        # Shares of one half on average: sums of independent experts have about the deviation of one.
        epilogue = Rescale((1,), (64,), (7,), -127, 127)
        return self.add(MixWeights, f"{name}_mixed", [alpha, experts, x.channels, chosen], _WEIGHTS, epilogue=epilogue)

    def statistic(self, name: str, x: _Live, kind: Statistic, encoding: Affine | Levels) -> str:
        """Of the channels of x, dead ones included: the mean's code, 255 steps from that of 0."""
        _, rows, columns, _ = self.tensors[x.tensor].shape
        low, high = encoding.code_range
        count = 1 if kind is Statistic.MAXIMUM else rows * columns
        epilogue = Rescale((round(2**24 / count),), ((low << 24) + (1 << 23),), (24,), low, high)
        inputs = [x.tensor, x.channels] if self._is_partial(x) else [x.tensor]
        return self.add(ChannelStatistic, name, inputs, encoding, statistic=kind, epilogue=epilogue)

    def dense(self, name: str, x: str, outputs: int, encoding: Affine | Levels, centre: int | np.ndarray) -> str:
        """Codes about `centre`, one for all outputs or one for each."""
        depth = self.tensors[x].shape[1]
        weights = self._constant(f"{name}_weights", (outputs, depth))
        slope = 30 / (math.sqrt(depth * _MEAN_SQUARE) * _DEVIATION)
        offsets = tuple((int(code) << _SHIFT) + (1 << (_SHIFT - 1)) for code in np.ravel(centre))
        multipliers, shifts = (round(slope * 2**_SHIFT),) * len(offsets), (_SHIFT,) * len(offsets)
        epilogue = Rescale(multipliers, offsets, shifts, *encoding.code_range)
        return self.add(FullyConnected, name, [x, weights], encoding, epilogue=epilogue)

    def _is_partial(self, x: _Live) -> bool:
        """Whether dead channels are absent, not zeros."""
        return self.tensors[x.tensor].shape[3] != self._channels(x)

    def _channels(self, x: _Live) -> int:
        if not x.channels:
            return self.tensors[x.tensor].shape[3]
        encoding = self.tensors[x.channels].encoding
        assert isinstance(encoding, ChannelList)
        return encoding.of

    def _constant(self, name: str, shape: Shape) -> str:
        return self.value(name, shape, _WEIGHTS, self.rng.integers(-127, 128, shape, dtype=np.int8))

    def _ending(self, filters: int, taps: int, *, gated: bool) -> Rescale:
        """With a scale for each filter; gammas are about 64."""
        slope = 60 / (math.sqrt(taps * _MEAN_SQUARE) * _DEVIATION) / (64 if gated else 1)
        multipliers = np.round(slope * self.rng.uniform(0.6, 1.4, filters) * 2**_SHIFT).astype(int)
        offsets = [(int(code) << _SHIFT) + (1 << (_SHIFT - 1)) for code in self.rng.integers(-138, -98, filters)]
        return Rescale(tuple(multipliers.tolist()), tuple(offsets), (_SHIFT,) * filters, -128, 127)
