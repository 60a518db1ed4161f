"""Gated channels mean the dense layer times a mask: computed here without the operators' own helpers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.support.gated import (
    GAMMA,
    SCORES,
    Gated,
    Maker,
    Masked,
    feeds_of,
    gated_conv,
    gated_depthwise,
    masked_conv,
    statistic,
)
from tests.support.integer_layers import INT8, affine, levels
from tinygen.errors import ModelError, UnsupportedError
from tinygen.frontends.tg import read_tg, write_tg
from tinygen.ir.encodings import Affine, ChannelList, Levels
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.network import Network
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.channel_statistic import Statistic
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.ir.ops.gather_depthwise_conv_2d import GatherDepthwiseConv2D
from tinygen.ir.ops.masked_conv_2d import MaskedConv2D
from tinygen.ir.ops.movement import StridedSlice
from tinygen.ir.ops.positive_channels import PositiveChannels
from tinygen.ir.ops.scatter_channels import ScatterChannels
from tinygen.ir.ops.softmax_numerator import SoftmaxNumerator
from tinygen.ir.ops.top_k import TopK
from tinygen.ir.tensor import Tensor

SPECS = [
    Gated(name="all", image=(5, 4, 6), filters=7, gamma=False),
    Gated(name="boosted", image=(5, 4, 6), filters=7),
    Gated(name="outputs", image=(5, 6, 3), filters=8, live=(0, 3), stride=(2, 1)),
    Gated(name="both", image=(5, 5, 8), filters=9, live=(5, 4), seed=1),
    Gated(name="one", image=(4, 4, 8), filters=9, live=(1, 1), kernel=(1, 1)),
    Gated(name="every", image=(4, 4, 8), filters=9, live=(8, 9), dilation=(2, 1)),
    Gated(name="unboosted", image=(4, 4, 8), filters=9, live=(4, 5), gamma=False, same=False, biased=False),
    Gated(name="zero point", image=(4, 4, 8), filters=9, live=(4, 5), x=affine(17), y=affine(-128), seed=1),
    Gated(name="few bits", image=(4, 4, 8), filters=9, live=(4, 5), x=levels(4), w=levels(2, True), y=levels(4)),
    Gated(name="mixed", image=(4, 4, 8), filters=9, live=(4, 5), experts=4),
    Gated(name="mixed whole", image=(4, 4, 8), filters=5, experts=3, gamma=False),
]


def _winners(scores: np.ndarray, k: int) -> list[int]:
    """By sorting pairs: the largest first, of equal ones the lowest index."""
    ranked = sorted(range(scores.size), key=lambda c: (-int(scores[0, c]), c))
    return sorted(ranked[:k])


def _dense(graph: Graph, spec: Gated, feed: dict[str, np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """The full layer on an input whose dead channels are zero, epilogue and mask afterwards; and the live outputs."""
    (op,) = (op for op in graph.ops if isinstance(op, GatherConv2D))
    x = spec.x.integers(feed["x"])
    alive = _winners(feed["in_scores"], spec.live[0]) if spec.live[0] else list(range(x.shape[3]))
    masked = np.zeros_like(x)
    masked[..., alive] = x[..., alive]
    weights = _weights(graph, spec, feed)
    kind = replace(op, inputs=("x", "w"), outputs=("y",))
    attributes = {name: getattr(kind, name) for name in ("padding", "stride", "dilation")}
    dense = Conv2D(name="dense", inputs=("x", "w"), outputs=("y",), **attributes)
    wide = Tensor("x", masked.shape, replace(INT8, storage="int16"))
    tensors = {"x": wide, "w": Tensor("w", weights.shape, replace(INT8, storage="int16"), weights.astype(np.int16))}
    node = Graph(
        "d", tensors | {"y": Tensor("y", (1,), replace(INT8, storage="int32"))}, (dense,), ("x",), ("y",)
    ).node(dense)
    sums = dense.evaluate(node, [masked, weights])[0].astype(object)
    gammas = feed["out_scores"][0] if spec.gamma else np.ones(spec.filters, np.int64)
    ending, codes = op.epilogue, np.zeros(sums.shape, np.int64)
    for c in range(spec.filters):
        biased = sums[..., c] + (op.bias[c] if op.bias else 0)
        value = (biased * int(gammas[c]) * ending.multiplier[c] + ending.offset[c]) >> ending.shift[c]
        low = ending.floor[c] if ending.floor else ending.low
        high = ending.ceiling[c] if ending.ceiling else ending.high
        codes[..., c] = np.clip(value, low, high).astype(np.int64)
    live = _winners(feed["out_scores"], spec.live[1]) if spec.live[1] else list(range(spec.filters))
    return codes, live


def _weights(graph: Graph, spec: Gated, feed: dict[str, np.ndarray]) -> np.ndarray:
    if not spec.experts:
        return spec.w.integers(graph.tensors["weights"].data)
    (mix,) = (op for op in graph.ops if op.KIND == "mix_weights")
    experts, ending = graph.tensors["experts"].data.astype(np.int64), mix.epilogue
    total = sum(int(a) * one for a, one in zip(feed["alpha"][0], experts, strict=True))
    return np.clip((total * ending.multiplier[0] + ending.offset[0]) >> ending.shift[0], -127, 127)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_gathered_is_dense_times_mask(spec: Gated) -> None:
    graph = gated_conv(spec)
    assert len(SCORES) > 3
    for values in feeds_of(graph, np.random.default_rng(1)):
        codes, live = _dense(graph, spec, dict(zip(graph.inputs, values, strict=True)))
        found = evaluate(graph, values)
        assert np.array_equal(found[0], codes[..., live])
        if len(found) > 1:
            masked = np.full(codes.shape, spec.y.zero_point[0] if hasattr(spec.y, "zero_point") else 0)
            masked[..., live] = codes[..., live]
            assert np.array_equal(found[1], masked)
            assert found[2].reshape(-1).tolist() == live


@pytest.mark.parametrize("kind", list(Statistic))
@pytest.mark.parametrize("live", [0, 3])
def test_statistics(kind: Statistic, live: int) -> None:
    graph = statistic("m", (3, 4, 7), live, kind, affine(9))
    ending = graph.ops[-1].epilogue
    for values in feeds_of(graph, np.random.default_rng(2)):
        integers = values[0].astype(int) - 9
        each = {
            Statistic.SUM: integers.sum((1, 2)),
            Statistic.MAGNITUDE: abs(integers).sum((1, 2)),
            Statistic.MAXIMUM: integers.max((1, 2)),
        }[kind]
        if live:
            each = np.where(np.isin(np.arange(7), _winners(values[1], live)), each, 0)
        wanted = np.clip((each * ending.multiplier[0] + ending.offset[0]) >> ending.shift[0], -128, 127)
        assert np.array_equal(evaluate(graph, values)[0], wanted)


@pytest.mark.parametrize("listed", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("codes", [(affine(9), INT8), (levels(4), levels(2)), (INT8, affine(-128))], ids=str)
def test_masked_is_dense_times_mask(listed: tuple[bool, bool], codes: tuple[Any, Any]) -> None:
    """No channel, all, and some: the same layers without lists, and zeros written over what is dead."""
    graph = masked_conv(Masked(name="m", image=(5, 4, 6), filters=7, listed=listed, x=codes[0], y=codes[1]))
    convs = [op for op in graph.ops if isinstance(op, MaskedConv2D)]
    counts = set()
    for values in feeds_of(graph, np.random.default_rng(3)):
        feed = dict(zip(graph.inputs, values, strict=True))
        x = feed["x"]
        for op, scores in zip(convs, ("in_scores", "out_scores"), strict=True):
            attributes = {name: getattr(op, name) for name in ("padding", "stride", "epilogue")}
            dense = Conv2D(name="dense", inputs=op.inputs[:2], outputs=op.outputs, **attributes)
            x = dense.evaluate(graph.node(dense), [x, graph.tensors[op.inputs[1]].data])[0]
            if scores in feed:
                live = feed[scores][0] > 0
                zero = getattr(graph.tensors[op.outputs[0]].encoding, "zero_point", (0,))[0]
                x = np.where(live, x, zero)
                counts.add(live.sum() / live.size)
        found = evaluate(graph, values)
        assert np.array_equal(found[0], x)
        for name, codes_of_list in zip(graph.outputs[1:], found[1:], strict=True):
            live = np.flatnonzero(feed[graph.node(_maker(graph, name)).input(0).name][0] > 0)
            assert codes_of_list[0].tolist() == [len(live), *live, *[0] * (codes_of_list.size - 1 - len(live))]
    assert {0.0, 1.0} < counts


def _maker(graph: Graph, name: str) -> Op:
    return next(op for op in graph.ops if name in op.outputs)


@pytest.mark.parametrize("live", [1, 3, 6])
def test_depthwise_is_dense_of_the_listed_channels(live: int) -> None:
    spec = Gated(name="m", image=(5, 4, 6), filters=6, live=(live, 0), x=affine(9), y=affine(-5), stride=(2, 1), seed=1)
    graph = gated_depthwise(spec)
    (op,) = (op for op in graph.ops if isinstance(op, GatherDepthwiseConv2D))
    attributes = {name: getattr(op, name) for name in ("padding", "stride", "epilogue")}
    dense = Conv2D(name="dense", inputs=("x", "weights"), outputs=("y",), **attributes)
    node = replace(graph, tensors={**graph.tensors, "y": Tensor("y", (1,), spec.y)}).node(dense)
    for values in feeds_of(graph, np.random.default_rng(6)):
        whole = dense.evaluate(node, [values[0], graph.tensors["weights"].data])[0]
        kept = _winners(values[1], live)
        found = evaluate(graph, values)
        assert np.array_equal(found[0], whole[..., kept]) and found[1].reshape(-1).tolist() == kept
    macs = {one.op.KIND: one.op.macs(one) for one in graph.nodes() if one.op.macs(one)}
    assert macs == {"gather_depthwise_conv_2d": 3 * 4 * 9 * live}


def test_numerators_have_the_signs_of_logits_behind_a_softmax() -> None:
    """With biases added to weights: float logits far from 0 have the same sign."""
    rng = np.random.default_rng(5)
    x = Tensor("x", (1, 12), Affine("int8", (1 / 16,), (0,)))
    op = SoftmaxNumerator(name="s", inputs=("x",), outputs=("y",))
    y = Tensor("y", (1, 12), Levels((1 / 255,), bits=8, signed=False))
    node = Graph("m", {"x": x, "y": y}, (op,), ("x",), ("y",)).node(op)
    node.check()
    codes = rng.integers(-128, 128, (1, 12)).astype(np.int8)
    (numerators,) = op.evaluate(node, [codes])
    assert numerators.max() == 255 and numerators[0, codes.argmax()] == 255
    real = np.exp(codes[0] / 16.0)
    share, weights, bias = real / real.sum(), rng.normal(size=(40, 12)), rng.normal(size=40) / 4
    logits = weights @ share + bias
    whole = (weights + bias[:, None]) @ numerators[0].astype(float)
    assert np.array_equal(whole[abs(logits) > 0.02] > 0, logits[abs(logits) > 0.02] > 0)


def test_files_keep_gates() -> None:
    graph = gated_conv(SPECS[9])
    again = read_tg(write_tg(graph))
    assert again.ops == graph.ops
    assert {name: t.encoding for name, t in again.tensors.items()} == {n: t.encoding for n, t in graph.tensors.items()}
    assert again.ops[0].by_position


def test_multiply_accumulates_are_those_executed() -> None:
    graph = gated_conv(SPECS[9])
    macs = {node.op.KIND: node.op.macs(node) for node in graph.nodes() if node.op.macs(node)}
    assert macs == {"mix_weights": 4 * 5 * 9 * 4, "gather_conv_2d": 16 * 5 * 9 * 4}


def test_lists_do_not_come_from_outside() -> None:
    build = Maker("m")
    names = [build.input("x", (1, 2, 2, 3), INT8), build.input("list", (1, 3), ChannelList(8))]
    graph = build.graph(*build.add(ScatterChannels, names, INT8))
    with pytest.raises(ModelError, match="which only a gate makes"):
        Network.of(graph).validate()


def test_lists_are_not_changed_nor_given() -> None:
    """Turned around, what was a count would be a channel; a constant may hold anything."""
    build = Maker("m")
    scores = build.input("scores", (1, 4), INT8)
    (live,) = build.add(PositiveChannels, [scores], ChannelList(4, counted=True))
    turned = {"begin": (0, 4), "step": (1, -1), "count": (1, 5), "axes": (0, 1)}
    (back,) = build.add(StridedSlice, [live], ChannelList(4, counted=True), **turned)
    with pytest.raises(ModelError, match="which only a gate makes"):
        Network.of(build.graph(back)).validate()
    build = Maker("m")
    x = build.input("x", (1, 2, 2, 3), INT8)
    build.constant("list", ChannelList(8), np.array([[0, 3, 7]], np.int16))
    graph = Graph("m", build.tensors, (), (x,), (x,))
    with pytest.raises(ModelError, match="which only a gate makes"):
        Network.of(graph).validate()


def _changed(spec: Gated, **changes: object) -> Graph:
    graph = gated_conv(spec)
    ops = tuple(replace(op, **changes) if isinstance(op, GatherConv2D) else op for op in graph.ops)
    return replace(graph, ops=ops)


def test_what_does_not_fit_is_refused() -> None:
    spec = SPECS[3]
    ending = gated_conv(spec).ops[-2].epilogue
    wide = replace(ending, multiplier=(2**24,) * spec.filters)
    with pytest.raises(UnsupportedError, match="times a gamma may not fit 32 bits"):
        _changed(spec, epilogue=wide).validate()
    with pytest.raises(UnsupportedError, match="4 biases for 9 channels"):
        _changed(spec, bias=(1,) * 4).validate()
    with pytest.raises(UnsupportedError, match="sums of products may not fit"):
        _changed(spec, bias=(2**31 - 9,) * spec.filters).validate()
    graph = gated_conv(spec)
    lists = [op.outputs[1] for op in graph.ops if isinstance(op, TopK)]
    (conv,) = (op for op in graph.ops if isinstance(op, GatherConv2D))
    swapped = (*conv.inputs[:2], lists[1], lists[0], conv.inputs[4])
    with pytest.raises(UnsupportedError, match="live channels of 9, not of 8"):
        _changed(spec, inputs=swapped).validate()
    with pytest.raises(UnsupportedError, match="no list says which"):
        _changed(spec, inputs=(*conv.inputs[:2], "", *conv.inputs[3:])).validate()
    assert graph.tensors[conv.inputs[4]].encoding == GAMMA
