"""Which channels go, and which must stay."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator, Padding

from tests.passes.test_simplify import assert_same_meaning, feeds
from tests.support.differential import compare_models
from tests.support.layers import NONE, RELU, ZERO, conv, image, weights, zeroed
from tests.support.tflite_builder import ModelSpec, TensorSpec, build_chain, options
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.graph import Graph
from tinygen.passes.channel_folding import BIAS_LIMIT
from tinygen.passes.pipeline import simplify


@pytest.fixture(autouse=True)
def every_channel_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """These networks are too narrow for words of four channels."""
    monkeypatch.setattr("tinygen.passes.pipeline._CHANNELS", 1)


def simplified(specs: list[ModelSpec]) -> Graph:
    """Simplified, and compared everywhere: with LiteRT, with the semantics before, in C."""
    model = build_chain(specs)
    before = read_tflite(model)
    after = simplify(before)
    rng = np.random.default_rng(3)
    assert_same_meaning(before, after, rng)
    compare_models([model], [feeds(before, rng)], ["channel removal"])
    return after


def widths(graph: Graph) -> list[int]:
    """Output channels, layer by layer."""
    return [node.output.shape[-1] for node in graph.nodes()]


def test_zero_filters_fold_into_the_next_bias() -> None:
    a, b, c = image(3), image(5), image(2)
    first = conv(a, b, zeroed(weights(5, 3, 3, 3), 0, 1, 4), [100, 2000, -300, 0, -5000], Padding.SAME)
    graph = simplified([first, conv(b, c, weights(2, 1, 1, 5), [7, 8])])
    assert widths(graph) == [3, 2]
    assert [node.input(1).shape for node in graph.nodes()] == [(3, 3, 3, 3), (2, 1, 1, 3)]
    assert graph.node(graph.ops[1]).constant(2).tolist() != [7, 8]


@pytest.mark.parametrize(("bias", "kept"), [(0, 4), (3000, 5)])
def test_a_padded_border_sees_the_zero_point(bias: int, kept: int) -> None:
    """A channel that is the zero point throughout goes; another constant would end at the border."""
    a, b, c = image(3), image(5), image(2)
    first = conv(a, b, zeroed(weights(5, 1, 1, 3), 0, 2), [1, 2, bias, 4, 5])
    graph = simplified([first, conv(b, c, weights(2, 3, 3, 5), [7, 8], Padding.SAME)])
    assert widths(graph) == [kept, 2]


def test_what_the_border_sees_does_not_matter_where_weights_are_zero() -> None:
    a, b, c = image(3), image(5), image(2)
    first = conv(a, b, zeroed(weights(5, 1, 1, 3), 0, 2), [1, 2, 3000, 4, 5])
    graph = simplified([first, conv(b, c, zeroed(weights(2, 3, 3, 5), 3, 2), [7, 8], Padding.SAME)])
    assert widths(graph) == [4, 2]


def test_always_clamped() -> None:
    """A bias no input can outweigh."""
    a, b, c = image(3), image(4), image(2)
    first = conv(a, b, weights(4, 1, 1, 3), [0, -200000, 200000, 0], activation=RELU)
    assert widths(simplified([first, conv(b, c, weights(2, 1, 1, 4), [7, 8])])) == [2, 2]


def test_clamped_thanks_to_the_activation_before() -> None:
    """After a RELU codes are at least the zero point: negative weights cannot give more than the bias."""

    def network(activation: int) -> Graph:
        a, b, c, d = image(3), image(4), image(3), image(2)
        negative = weights(3, 1, 1, 4)
        negative[1] = -np.abs(negative[1])
        return simplified(
            [
                conv(a, b, weights(4, 1, 1, 3), [0, 0, 0, 0], activation=activation),
                conv(b, c, negative, [0, -1, 0], activation=RELU),
                conv(c, d, weights(2, 1, 1, 3), [0, 0]),
            ]
        )

    assert widths(network(RELU)) == [4, 2, 2]
    assert widths(network(NONE)) == [4, 3, 2]


def test_unread_channels_go_back_through_a_depthwise_layer() -> None:
    """A depthwise filter of zeros: the filter before it computed for nothing."""
    a, b, c, d = image(3), image(4), image(4), image(2)
    graph = simplified(
        [
            conv(a, b, weights(4, 1, 1, 3), [1, 2, 3, 4]),
            conv(b, c, zeroed(weights(1, 3, 3, 4), 3, 2), [5, 6, 7000, 8], Padding.SAME),
            conv(c, d, weights(2, 1, 1, 4), [9, 9]),
        ]
    )
    assert widths(graph) == [3, 3, 2]


def test_both_ways_of_an_addition_lose_the_same() -> None:
    a, b, c, d, e = image(3), image(4), image(4), image(4), image(2)
    add = options("AddOptions", fusedActivationFunction=NONE)
    graph = simplified(
        [
            conv(a, b, zeroed(weights(4, 1, 1, 3), 0, 1, 2), [1, 2, 3, 4]),
            conv(a, c, zeroed(weights(4, 1, 1, 3), 0, 2, 3), [1, 2, 3, 4]),
            ModelSpec(BuiltinOperator.ADD, [b, c], [d], version=2, **add),
            conv(d, e, weights(2, 1, 1, 4), [9, 9]),
        ]
    )
    assert widths(graph) == [3, 3, 3, 2]


def test_a_constant_operand_of_an_addition_is_one_pixel() -> None:
    a, b, c, d = image(3), image(4), image(4), image(4)
    add = options("AddOptions", fusedActivationFunction=NONE)
    graph = simplified(
        [
            conv(a, b, zeroed(weights(4, 1, 1, 3), 0, 0, 1, 2, 3), [100, 2000, 3, 4]),
            conv(a, c, weights(4, 1, 1, 3), [1, 2, 3, 4]),
            ModelSpec(BuiltinOperator.ADD, [b, c], [d], version=2, **add),
        ]
    )
    assert [node.op.KIND for node in graph.nodes()] == ["conv_2d", "add"]
    assert graph.node(graph.ops[1]).input(0).shape == (1, 1, 1, 4)


@pytest.mark.parametrize(("size", "layers"), [(4, ["conv_2d", "concatenation"]), (40, ["conv_2d"] * 3)])
def test_large_constants_do_not_fill_the_flash(size: int, layers: list[str]) -> None:
    """A concatenation needs every pixel: 6400 bytes of flash are dearer than the layers that compute them."""
    a, b, c, d = image(3, size=size), image(4, size=size), image(4, size=size), image(4, size=size)
    specs = [
        conv(a, b, np.zeros((4, 1, 1, 3), np.int8), [100, 2000, 3, 4]),
        conv(b, c, weights(4, 1, 1, 4), [0] * 4),
        conv(a, d, weights(4, 1, 1, 3), [1, 2, 3, 4]),
        ModelSpec(
            BuiltinOperator.CONCATENATION,
            [c, d],
            [image(8, size=size)],
            version=2,
            **options("ConcatenationOptions", axis=3),
        ),
    ]
    graph = simplified(specs)
    assert [node.op.KIND for node in graph.nodes()][: len(layers)] == layers


def test_dense_after_flattening() -> None:
    a, b = image(3), image(4)
    flat, y = TensorSpec((1, 64), "int8", 0.05, ZERO), TensorSpec((1, 3), "int8", 2.0, 0)
    shape = TensorSpec((2,), "int32", data=np.array([1, 64]))
    codes = weights(3, 64)
    dense = [flat, TensorSpec((3, 64), "int8", 0.01, 0, 0, codes)]
    graph = simplified(
        [
            conv(a, b, zeroed(weights(4, 1, 1, 3), 0, 2), [1, 2, 9000, 4]),
            ModelSpec(BuiltinOperator.RESHAPE, [b, shape], [flat], **options("ReshapeOptions")),
            ModelSpec(BuiltinOperator.FULLY_CONNECTED, dense, [y], **options("FullyConnectedOptions")),
        ]
    )
    assert widths(graph) == [3, 48, 3]
    assert graph.node(graph.ops[2]).constant(2).any()


def test_weights_of_two_layers() -> None:
    """Both layers read one weight tensor; only one loses a filter."""
    a, b, c, d = image(3), image(3), image(3), image(2)
    first = conv(a, b, zeroed(weights(3, 1, 1, 3), 0, 1), [1, 9000, 3])
    second = conv(b, c, weights(3, 1, 1, 3), [1, 2, 3])
    second.inputs = [b, first.inputs[1], second.inputs[2]]
    third = conv(c, d, weights(2, 1, 1, 3), [5, 6])
    assert widths(simplified([first, second, third])) == [2, 2, 2]


@pytest.mark.parametrize(("bias", "kept"), [(BIAS_LIMIT - 10**6, 1), (BIAS_LIMIT - 10, 2)])
def test_a_bias_is_not_folded_beyond_its_range(bias: int, kept: int) -> None:
    a, b = image(3), image(2)
    c = TensorSpec((1, 4, 4, 2), "int8", 5000.0, 0)
    positive = np.full((2, 1, 1, 2), 100, np.int8)
    first = conv(a, b, zeroed(weights(2, 1, 1, 3), 0, 1), [1, 200000])
    assert widths(simplified([first, conv(b, c, positive, [bias, 0])])) == [kept, 2]


def test_everything_constant() -> None:
    """Only the layer that writes the output is left."""
    a, b, c = image(3), image(4), image(2)
    first = conv(a, b, np.zeros((4, 1, 1, 3), np.int8), [1, 2, 3, 4])
    graph = simplified([first, conv(b, c, weights(2, 1, 1, 4), [7, 8])])
    assert [op.outputs for op in graph.ops] == [graph.outputs]


def test_a_constant_output_is_reshaped() -> None:
    a, b = image(3), image(4)
    flat = TensorSpec((1, 64), "int8", 0.05, ZERO)
    shape = TensorSpec((2,), "int32", data=np.array([1, 64]))
    first = conv(a, b, np.zeros((4, 1, 1, 3), np.int8), [1, 2000, 3, 4])
    simplified([first, ModelSpec(BuiltinOperator.RESHAPE, [b, shape], [flat], **options("ReshapeOptions"))])


def test_nothing_to_remove_changes_nothing() -> None:
    a, b, c = image(3), image(4), image(2)
    specs = [conv(a, b, weights(4, 3, 3, 3), [0] * 4, Padding.SAME), conv(b, c, weights(2, 1, 1, 4), [7, 8])]
    graph = read_tflite(build_chain(specs))
    assert simplify(graph).ops == graph.ops


@pytest.mark.parametrize(("constant", "kept"), [(3, 8), (4, 4), (5, 4), (7, 4)])
def test_words_of_four_channels_stay_whole(constant: int, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight channels that may go four go, or none; a layer that had no whole words loses what it can."""
    monkeypatch.setattr("tinygen.passes.pipeline._CHANNELS", 4)
    a, b, c, d = image(3), image(8), image(7), image(2)
    graph = simplified(
        [
            conv(a, b, zeroed(weights(8, 1, 1, 3), 0, *range(constant)), [100] * 8),
            conv(b, c, zeroed(weights(7, 1, 1, 8), 0, 2), [1, 2, 3, 4, 5, 6, 7]),
            conv(c, d, weights(2, 1, 1, 7), [5, 6]),
        ]
    )
    assert widths(graph) == [kept, 6, 2]
