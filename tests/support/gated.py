"""Random layers whose gates choose channels by scores that are inputs of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tests.support.integer_layers import INT8, random_codes
from tinygen.ir.encodings import Affine, ChannelList, Encoding, IntegerEncoding, Levels
from tinygen.ir.epilogue import Rescale
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.channel_statistic import ChannelStatistic, Statistic
from tinygen.ir.ops.gather_channels import GatherChannels
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.ir.ops.gather_depthwise_conv_2d import GatherDepthwiseConv2D
from tinygen.ir.ops.masked_conv_2d import MaskedConv2D
from tinygen.ir.ops.mix_weights import MixWeights
from tinygen.ir.ops.positive_channels import PositiveChannels
from tinygen.ir.ops.scatter_channels import ScatterChannels
from tinygen.ir.ops.top_k import TopK
from tinygen.ir.ops.window import Padding
from tinygen.ir.tensor import Shape, Tensor

GAMMA = Levels((1 / 64,), bits=8, signed=False)
"""Gammas from 0 to almost 4."""


@dataclass
class Maker:
    """A graph, operator by operator."""

    name: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)

    def input(self, name: str, shape: Shape, encoding: Encoding) -> str:
        self.tensors[name] = Tensor(name, shape, encoding)
        self.inputs.append(name)
        return name

    def constant(self, name: str, encoding: Encoding, data: np.ndarray) -> str:
        self.tensors[name] = Tensor(name, data.shape, encoding, data)
        return name

    def add(self, op: type[Op], inputs: Sequence[str], *encodings: Encoding, **attributes: Any) -> tuple[str, ...]:
        """The names of the outputs: "conv_2d_3", or "top_k_0" and "top_k_0.1"."""
        label = f"{op.KIND}_{len(self.ops)}"
        outputs = tuple(label if i == 0 else f"{label}.{i}" for i in range(len(encodings)))
        made = op(name=label, inputs=tuple(inputs), outputs=outputs, **attributes)
        drafts = {name: Tensor(name, (1,), one) for name, one in zip(outputs, encodings, strict=True)}
        node = Graph("draft", self.tensors | drafts, (made,), (), outputs).node(made)
        for name, shape, one in zip(outputs, made.infer_shapes(node), encodings, strict=True):
            self.tensors[name] = Tensor(name, shape, one)
        self.ops.append(made)
        return outputs

    def graph(self, *outputs: str) -> Graph:
        graph = Graph(self.name, self.tensors, tuple(self.ops), tuple(self.inputs), outputs)
        graph.validate()
        return graph


@dataclass(frozen=True, kw_only=True)
class Gated:
    """What a random gated convolution is.

    Attributes:
        image: height, width, input channels.
        live: of how many inputs and outputs; 0 for all without a list.
        experts: how many weights are mixed; 0 for constant ones.
    """

    name: str
    image: tuple[int, int, int]
    filters: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    same: bool = True
    live: tuple[int, int] = (0, 0)
    gamma: bool = True
    experts: int = 0
    biased: bool = True
    x: IntegerEncoding = INT8
    w: IntegerEncoding = INT8
    y: IntegerEncoding = INT8
    seed: int = 0


def gated_conv(spec: Gated) -> Graph:
    """Inputs: x, scores of inputs and of outputs, alphas, as far as they are used. Outputs: the live channels; where
    they have a list these among zeros, and the list.
    """
    rng = np.random.default_rng([spec.seed, *spec.image, spec.filters])
    build = Maker(spec.name)
    channels = spec.image[2]
    x = build.input("x", (1, *spec.image), spec.x)
    lists = {}
    gamma = ""
    for name, width, count in (("in", channels, spec.live[0]), ("out", spec.filters, spec.live[1])):
        lists[name] = ""
        if count:
            scores = build.input(f"{name}_scores", (1, width), GAMMA if name == "out" else INT8)
            kinds = (build.tensors[scores].encoding, ChannelList(width))
            values, lists[name] = build.add(TopK, [scores], *kinds, k=count, by_position=True)
            gamma = values if name == "out" else gamma
    if spec.gamma and not gamma:
        gamma = build.input("out_scores", (1, spec.filters), GAMMA)
    if lists["in"]:
        (x,) = build.add(GatherChannels, [x, lists["in"]], spec.x)
    shape = (spec.filters, *spec.kernel, channels)
    reads = lists["in"]
    if spec.experts:
        weights, reads = _mixed(build, spec.experts, shape, (lists["in"], lists["out"]), rng), ""
    else:
        weights = build.constant("weights", spec.w, random_codes(spec.w, shape, rng))
    inputs = [x, weights, reads, lists["out"], gamma if spec.gamma else ""]
    (y,) = build.add(GatherConv2D, inputs, spec.y, **_attributes(spec, rng))
    outputs = [y]
    if lists["out"]:
        outputs += [*build.add(ScatterChannels, [y, lists["out"]], spec.y), lists["out"]]
    return build.graph(*outputs)


def _mixed(build: Maker, count: int, shape: Shape, lists: tuple[str, str], rng: np.random.Generator) -> str:
    alpha = build.input("alpha", (1, count), Levels((1 / 256,), bits=8, signed=False))
    experts = build.constant("experts", INT8, random_codes(INT8, (count, *shape), rng))
    epilogue = Rescale((int(rng.integers(40, 200)),), (1 << 13,), (14,), -127, 127)
    return build.add(MixWeights, [alpha, experts, *lists], INT8, epilogue=epilogue)[0]


def _attributes(spec: Gated, rng: np.random.Generator) -> dict[str, Any]:
    """Of the convolution: outputs spread over the codes there are, some clamped channel by channel."""
    low, high = spec.y.code_range
    spread = 40.0 * np.sqrt(spec.kernel[0] * spec.kernel[1] * max(spec.live[0] or spec.image[2], 1)) * 60.0
    shift = rng.integers(28, 36, spec.filters)
    factor = (high - low) / spread / (128.0 if spec.gamma else 1.0) * rng.uniform(0.3, 2.0, spec.filters)
    multiplier = np.clip(np.round(factor * 2.0**shift), 1, 2**23 - 1).astype(np.int64)
    centre = rng.integers(low, high + 1, spec.filters)
    offset = (centre << shift) + (np.int64(1) << (shift - 1))
    bounds = np.sort(rng.integers(low, high + 1, (2, spec.filters)), axis=0)
    clamped = spec.seed % 3 == 1
    return {
        "padding": Padding.SAME if spec.same else Padding.VALID,
        "stride": spec.stride,
        "dilation": spec.dilation,
        "epilogue": Rescale(
            tuple((multiplier * rng.choice([1, 1, -1], spec.filters)).tolist()),
            tuple(offset.tolist()),
            tuple(shift.tolist()),
            low,
            high,
            tuple(bounds[0].tolist()) if clamped else (),
            tuple(bounds[1].tolist()) if clamped else (),
        ),
        "bias": tuple(rng.integers(-3000, 3000, spec.filters).tolist()) if spec.biased else (),
    }


def statistic(name: str, image: tuple[int, int, int], live: int, kind: Statistic, x: Affine, seed: int = 0) -> Graph:
    """A statistic of an image's channels; of `live` ones, chosen by scores, where that is not 0."""
    rng = np.random.default_rng([seed, *image])
    build = Maker(name)
    source, listed = build.input("x", (1, *image), x), ""
    if live:
        scores = build.input("in_scores", (1, image[2]), INT8)
        _, listed = build.add(TopK, [scores], INT8, ChannelList(image[2]), k=live, by_position=True)
        (source,) = build.add(GatherChannels, [source, listed], x)
    pixels = 1 if kind is Statistic.MAXIMUM else image[0] * image[1]
    multiplier = int(rng.uniform(0.3, 1.2) * 2**20 / pixels)
    epilogue = Rescale((multiplier,), ((3 << 20) + (1 << 19),), (20,), -128, 127)
    kinds = {"statistic": kind, "epilogue": epilogue}
    return build.graph(*build.add(ChannelStatistic, [source, listed] if listed else [source], INT8, **kinds))


def scores_of(tensor: Tensor, rng: np.random.Generator, kind: str) -> np.ndarray:
    """Codes of scores: "random", "tied" (two values), "equal" (one), "zero", or "low"."""
    low, high = tensor.code_range
    drawn = {
        "random": lambda: random_codes(tensor.encoding, tensor.shape, rng),
        "tied": lambda: rng.choice([low + 7, high - 3], tensor.shape),
        "equal": lambda: np.full(tensor.shape, 5),
        "zero": lambda: np.zeros(tensor.shape, np.int64),
        "low": lambda: np.full(tensor.shape, low),
    }[kind]()
    return np.asarray(drawn).astype(tensor.dtype)


SCORES = ("random", "tied", "equal", "zero", "low")


def feeds_of(graph: Graph, rng: np.random.Generator) -> list[list[np.ndarray]]:
    """One sample for each kind of scores."""
    tensors = [graph.tensors[name] for name in graph.inputs]
    return [[scores_of(t, rng, kind if "scores" in t.name else "random") for t in tensors] for kind in SCORES]


@dataclass(frozen=True, kw_only=True)
class Masked:
    """A convolution whose lists are as long as the scores say. Where `listed` is false, no list says what lives."""

    name: str
    image: tuple[int, int, int]
    filters: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    same: bool = True
    listed: tuple[bool, bool] = (True, True)
    x: IntegerEncoding = INT8
    w: IntegerEncoding = INT8
    y: IntegerEncoding = INT8
    seed: int = 0


def masked_conv(spec: Masked) -> Graph:
    """Two layers: the first writes zeros to the inputs that the second does not read.

    Inputs: x, scores of the middle, scores of the outputs. Outputs: the last tensor, and the lists.
    """
    rng = np.random.default_rng([spec.seed, *spec.image, spec.filters])
    build = Maker(spec.name)
    channels = spec.image[2]
    x = build.input("x", (1, *spec.image), spec.x)
    lists = []
    for name, width, listed in (("in", channels, spec.listed[0]), ("out", spec.filters, spec.listed[1])):
        lists.append("")
        if listed:
            scores = build.input(f"{name}_scores", (1, width), INT8)
            (lists[-1],) = build.add(PositiveChannels, [scores], ChannelList(width, counted=True))
    shape = (channels, 1, 1, channels)
    first = build.constant("first", spec.w, random_codes(spec.w, shape, rng))
    epilogue = _attributes(Gated(name="", image=spec.image, filters=channels, gamma=False, y=spec.x), rng)["epilogue"]
    inputs = [x, first, "", lists[0]]
    (x,) = build.add(MaskedConv2D, inputs, spec.x, padding=Padding.SAME, stride=(1, 1), epilogue=epilogue)
    weights = build.constant("weights", spec.w, random_codes(spec.w, (spec.filters, *spec.kernel, channels), rng))
    like = Gated(name="", image=spec.image, filters=spec.filters, gamma=False, stride=spec.stride, y=spec.y)
    attributes = _attributes(like, rng) | {"padding": Padding.SAME if spec.same else Padding.VALID}
    del attributes["bias"]
    (y,) = build.add(MaskedConv2D, [x, weights, *lists], spec.y, **attributes)
    return build.graph(y, *(name for name in lists if name))


def gated_depthwise(spec: Gated) -> Graph:
    """A depthwise layer of `spec.live[0]` live inputs. Inputs: x, scores. Outputs: the layer's, the list."""
    rng = np.random.default_rng([spec.seed, *spec.image])
    channels, build = spec.image[2], Maker(spec.name)
    x = build.input("x", (1, *spec.image), spec.x)
    scores = build.input("in_scores", (1, channels), INT8)
    kinds = (INT8, ChannelList(channels))
    _, live = build.add(TopK, [scores], *kinds, k=spec.live[0], by_position=True)
    (x,) = build.add(GatherChannels, [x, live], spec.x)
    weights = build.constant("weights", spec.w, random_codes(spec.w, (channels, *spec.kernel, 1), rng))
    attributes = _attributes(replace(spec, image=(*spec.image[:2], 1), filters=channels, gamma=False, live=(0, 0)), rng)
    del attributes["bias"]
    (y,) = build.add(GatherDepthwiseConv2D, [x, weights, live], spec.y, **attributes)
    return build.graph(y, live)
