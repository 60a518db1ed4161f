"""Streaming networks: in every step the codes of the whole window that ends there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tinygen
from tests.support.cases import draws
from tests.support.integer_layers import BINARY, POWERS, levels, random_codes
from tests.support.windows import WindowNetwork, random_window_network
from tinygen.errors import TinygenError, UnsupportedError
from tinygen.frontends.load import load_network
from tinygen.ir.encodings import Affine, Codebook, Encoding, Float32, Plain
from tinygen.ir.fixed_point import Activation
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import Stream, evaluate
from tinygen.ir.ops.binary import Add, Mul
from tinygen.ir.ops.cast import Cast
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.cumulative_sum import CumulativeSum
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.gather import Gather
from tinygen.ir.ops.movement import BroadcastTo, Split, StridedSlice, Transpose
from tinygen.ir.ops.pad import Pad
from tinygen.ir.ops.reduce import ReduceMax
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.ops.resize import ResizeNearestNeighbor
from tinygen.ir.ops.select import Select
from tinygen.ir.ops.softmax import Softmax
from tinygen.ir.ops.unary import Clamp
from tinygen.ir.ops.window import Padding
from tinygen.passes.to_streaming import to_streaming, zero_codes


def stride_of(graph: Graph) -> int:
    """A hop that the strides in time divide."""
    for hop in range(1, 65):
        try:
            to_streaming(graph, hop=hop)
        except UnsupportedError:
            continue
        return hop
    raise AssertionError("no hop")


def assert_streams(graph: Graph, hop: int, seed: int = 0, steps: int = 12) -> None:
    """Frames one after the other: from the first whole window on, every code is that of the window."""
    source = graph.tensors[graph.inputs[0]]
    window = source.shape[1]
    count = (-(-window // hop) + steps) * hop
    frames = random_codes(source.encoding, (1, count, *source.shape[2:]), np.random.default_rng(seed))
    network = to_streaming(graph, hop=hop)
    stream = Stream(network.first)
    compared = 0
    for end in range(hop, count + 1, hop):
        found = stream.step([frames[:, end - hop : end]])
        if end < window:
            continue
        for ours, theirs in zip(found, evaluate(graph, [frames[:, end - window : end]]), strict=True):
            np.testing.assert_array_equal(ours, theirs, err_msg=f"after {end} of {window} frames")
        compared += 1
    assert compared >= steps


@pytest.mark.parametrize("lowbit", [False, True], ids=["int8", "lowbit"])
def test_random_networks(lowbit: bool) -> None:
    for draw in draws(f"streams {lowbit}", 40):
        seed, times = draw.integer(0, 2**32 - 1), draw.integer(1, 4)
        graph = random_window_network(seed, lowbit=lowbit)
        window = graph.tensors["input"].shape[1]
        hop = stride_of(graph)
        hop = hop * times if hop * times <= window else hop
        assert_streams(graph, hop, seed)


def test_what_is_kept() -> None:
    """Windows keep what they share with the next one, dense layers all frames but the new ones, a skip its lag."""
    net = WindowNetwork(np.random.default_rng(1), (1, 20, 2, 3))
    net.conv(4, (5, 2), same_columns=True)
    before = net.x
    net.conv(4, (3, 1), dilation=(2, 1))
    after = net.x
    net.x = before
    net.last_frames(12, later=2)
    net.plus(after)
    net.dense(2)
    graph = net.graph()
    kept = {state.tensor: graph_of(graph, 1).tensors[state.tensor].shape[1] for state in graph_of(graph, 1).states}
    # The skip lags by two frames, less than what the convolution keeps; the sum has 12 frames.
    assert kept == {"input_before": 4, f"{before}_before": 4, f"{net.ops[-3].outputs[0]}_before": 11}
    for hop in (1, 2, 3, 7, 20):
        assert_streams(graph, hop)
    assert not graph_of(graph, 20).states


def graph_of(graph: Graph, hop: int) -> Graph:
    return to_streaming(graph, hop=hop).first


def test_strides() -> None:
    """A hop that is no multiple of a stride; one window over all frames has none."""
    net = WindowNetwork(np.random.default_rng(2), (1, 21, 1, 3))
    net.conv(4, (3, 1), stride=(2, 1))
    net.pool((2, 1), (2, 1), largest=True)
    graph = net.graph()
    with pytest.raises(
        UnsupportedError, match=r"op0 .*its windows lie 2 frames apart, .* 1 new ones.*\n.*2 times as many frames"
    ):
        to_streaming(graph, hop=1)
    with pytest.raises(UnsupportedError, match=r"op1 .*\n.*2 times as many"):
        to_streaming(graph, hop=6)
    assert_streams(graph, 4)
    net = WindowNetwork(np.random.default_rng(2), (1, 9, 1, 3))
    net.pool((9, 1), (9, 1), largest=True)
    assert_streams(net.graph(), 1)


def test_padding_without_effect() -> None:
    """ "Same" that adds no frames in the window would add some to fewer frames."""
    net = WindowNetwork(np.random.default_rng(3), (1, 12, 4, 3))
    net.conv(4, (2, 3), stride=(2, 1), padding=Padding.SAME, row_padding=None, column_padding=None)
    assert_streams(net.graph(), 4)


def test_frames_along_columns() -> None:
    """Signals are images one row high."""
    net = WindowNetwork(np.random.default_rng(4), (1, 24, 3))
    net.add(Reshape, [net.x], net.encoding, shape=(1, 1, 24, 3))
    net.conv(5, (1, 4), stride=(1, 2))
    net.depthwise((1, 3))
    net.dense(2)
    assert_streams(net.graph(), 2)


def test_reshaped_and_reduced_frames() -> None:
    net = WindowNetwork(np.random.default_rng(5), (1, 12, 6))
    net.add(FullyConnected, [net.x, *net.int8_weights((4, 6), 0)], net.int8(), keep_dims=True)
    net.add(ReduceMax, [net.x], net.encoding, axes=(2,), keep_dims=False)
    one = net.x
    net.add(Reshape, [net.x], net.encoding, shape=(12, 1))
    net.add(FullyConnected, [net.x, *net.int8_weights((3, 1), 0)], net.int8())
    net.add(Softmax, [net.x], Affine("int8", (1 / 256,), (-128,)))
    net.add(Transpose, [net.x], net.encoding, permutation=(1, 0))
    assert_streams(net.graph(net.x, one), 3)


def test_numbers_and_choices() -> None:
    """Frames that are cast and chosen one by one; what mixes frames at places of its own reads whole windows."""
    net = WindowNetwork(np.random.default_rng(5), (1, 12, 4))
    plain, codes = Plain("int32"), np.array([7, -7, 0, 3], np.int32)
    net.add(Cast, [net.x], plain)
    holds = net.constant(np.array([[[True, False, False, True]]]), Plain("bool"))
    net.add(Select, [holds, net.x, net.constant(codes, plain)], plain)
    chosen = net.x
    net.add(CumulativeSum, [net.x], plain, axis=1)
    net.add(Gather, [net.x, net.constant(np.array([11, 0], np.int32), plain)], plain, axis=1)
    net.add(BroadcastTo, [net.x], plain, shape=(3, 2, 4))
    assert_streams(net.graph(net.x, chosen), 3)


def test_every_other_frame() -> None:
    net = WindowNetwork(np.random.default_rng(6), (1, 12, 2, 3))
    net.add(StridedSlice, [net.x], net.encoding, begin=(0, 1, 1, 0), step=(1, 3, 1, 1), count=(1, 3, 1, 3), axes=(1, 3))
    net.dense(3)
    assert_streams(net.graph(), 3)
    net = WindowNetwork(np.random.default_rng(6), (1, 12, 2, 3))
    net.add(
        StridedSlice,
        [net.x],
        net.encoding,
        begin=(0, 11, 0, 0),
        step=(1, -2, 1, 1),
        count=(1, 4, 2, 3),
        axes=(0, 1, 2, 3),
    )
    assert_streams(net.graph(), 5)


def test_a_frame_of_its_own() -> None:
    """Parts of a window, and factors for all of its frames: what follows is computed anew."""
    net = WindowNetwork(np.random.default_rng(7), (1, 10, 1, 3))
    whole = net.x
    net.add(Split, [whole], *[net.encoding] * 3, axis=1, sizes=(2, 7, 1))
    oldest, middle, last = net.ops[-1].outputs
    net.x = middle
    net.conv(3, (2, 1))
    middle = net.x
    net.add(Mul, [whole, last], net.int8())
    scaled = net.x
    net.add(Add, [whole, net.constant(random_codes(net.int8(), (1, 10, 1, 1), net.rng), net.int8())], net.int8())
    assert_streams(net.graph(oldest, middle, last, scaled, net.x), 1)
    assert_streams(net.graph(oldest, middle, last, scaled, net.x), 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda net: net.conv(4, (3, 1), row_padding=(1, 1)), r"op0 .*it pads in time"),
        (
            lambda net: net.add(Pad, [net.x], net.encoding, paddings=((0, 0), (0, 1), (0, 0), (0, 0)), value=0),
            r"op0 .*it pads in time",
        ),
        (lambda net: net.add(Concatenation, [net.x, net.x], net.encoding, axis=1), r"op0 .*behind the other in time"),
        (
            lambda net: net.add(
                ResizeNearestNeighbor,
                [net.x],
                net.encoding,
                size=(32, 2),
                align_corners=False,
                half_pixel_centers=False,
            ),
            r"op0 .*how resize_nearest_neighbor mixes frames is not known",
        ),
    ],
)
def test_what_cannot_be_streamed(make: Callable[[WindowNetwork], object], message: str) -> None:
    net = WindowNetwork(np.random.default_rng(8), (1, 16, 2, 3))
    make(net)
    with pytest.raises(UnsupportedError, match=message) as caught:
        to_streaming(net.graph(), hop=1)
    assert caught.value.fix


def test_what_is_no_window() -> None:
    net = WindowNetwork(np.random.default_rng(9), (1, 16, 2, 3))
    net.conv(4, (3, 2))
    graph = net.graph()
    for hop in (0, 17):
        with pytest.raises(TinygenError, match=f"a hop of {hop} frames, in windows of 16\nChoose 1 to 16"):
            to_streaming(graph, hop=hop)
    with pytest.raises(UnsupportedError, match="keeps 'input_before' already"):
        to_streaming(to_streaming(graph, hop=1), hop=1)
    two = WindowNetwork(np.random.default_rng(9), (2, 16))
    two.add(Clamp, [two.x], two.encoding, activation=Activation.RELU)
    with pytest.raises(UnsupportedError, match=r"input 'input': is int8 \[2,16\], no window"):
        to_streaming(two.graph(), hop=1)


@pytest.mark.parametrize(
    ("encoding", "code"),
    [
        (Affine("int8", (0.5,), (-128,)), -128),
        (levels(3), 0),
        (levels(2, True), 1),
        (BINARY, 0),
        (POWERS, 0),
        (Codebook((1.0,), table=(-7, 3, 9)), 1),
        (Float32(), 0),
        (Affine("int32", (0.5,), (7,)), 7),
    ],
)
def test_zeros(encoding: Encoding, code: int) -> None:
    codes = zero_codes(encoding, (2, 3))
    assert codes.dtype == encoding.dtype and codes.shape == (2, 3) and (codes == code).all()


def test_zeros_of_channels() -> None:
    encoding = Affine("int8", (0.5, 1.0), (3, -4), 1)
    np.testing.assert_array_equal(zero_codes(encoding, (1, 2, 2)), [[[3, 3], [-4, -4]]])


def test_is_saved(tmp_path: Path) -> None:
    network = tinygen.to_streaming(random_window_network(3, lowbit=True), hop=2)
    tinygen.save(network, tmp_path / "stream.tg")
    again = load_network(tmp_path / "stream.tg")
    assert again.first.ops == network.first.ops and len(again.first.states) == len(network.first.states) > 0
