"""Operators on floats: our graph against ONNX Runtime, and in C on this computer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.support.host_batch import run_on_host
from tests.support.onnx_models import OnnxNet, _session
from tinygen.frontends.onnx.builder import Builder
from tinygen.frontends.onnx.file import OnnxModel, read_model
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify

Build = Callable[[OnnxNet, str], str]
IMAGE, SIGNAL, VOLUME, ROW = (1, 4, 6, 5), (1, 4, 9), (1, 4, 1, 6, 5), (1, 12)


def w(net: OnnxNet, *shape: int, low: float = -1, high: float = 1) -> str:
    return net.constant(np.random.default_rng(sum(shape)).uniform(low, high, shape))


def i64(net: OnnxNet, *values: int) -> str:
    return net.constant(list(values), "int64")


def unary(kind: str, shape: tuple[int, ...] = IMAGE, **attributes: object) -> tuple[tuple[int, ...], Build]:
    return shape, lambda n, x: n.node(kind, x, **attributes)


def positive(kind: str) -> tuple[tuple[int, ...], Build]:
    return IMAGE, lambda n, x: n.node(kind, n.node("Add", n.node("Abs", x), n.constant(0.25)))


def norm(n: OnnxNet, x: str, kind: str, count: int, **attributes: object) -> str:
    return n.node(kind, x, w(n, count), w(n, count, low=0), **attributes)


def recurrent(n: OnnxNet, x: str, kind: str, direction: str, *, biased: bool = True, begun: bool = False) -> str:
    """All outputs of a layer of 6 units, side by side."""
    count, states_of = 2 if direction == "bidirectional" else 1, 2 if kind == "LSTM" else 1
    more = {} if kind == "LSTM" else {"linear_before_reset": 1}
    gates = 4 if kind == "LSTM" else 3
    given = [w(n, count, 6 * gates, 5), w(n, count, 6 * gates, 6), w(n, count, 12 * gates) if biased else ""]
    begin = ["", *(w(n, count, 1, 6) for _ in range(states_of))] if begun else []
    y, *states = n.several(kind, 1 + states_of, x, *given, *begin, hidden_size=6, direction=direction, **more)
    flat = [n.node("Reshape", part, i64(n, 1, -1)) for part in (y, *states)]
    return n.node("Concat", *flat, axis=1)


OPERATORS: dict[str, tuple[tuple[int, ...], Build]] = {
    # Functions.
    **{kind: unary(kind) for kind in ("Relu", "Sigmoid", "Tanh", "HardSwish", "Mish", "Abs", "Neg", "Softplus", "Erf")},
    **{
        kind: unary(kind) for kind in ("Exp", "Sin", "Cos", "Floor", "Ceil", "Round", "Sign", "Softsign", "HardSigmoid")
    },
    **{kind: positive(kind) for kind in ("Log", "Sqrt", "Reciprocal")},
    "hard sigmoid of PyTorch": unary("HardSigmoid", alpha=1 / 6),
    "ELU": unary("Elu", alpha=0.7),
    "SELU": unary("Selu"),
    "CELU": unary("Celu", alpha=1.3),
    "leaky": unary("LeakyRelu", alpha=0.2),
    "thresholded": unary("ThresholdedRelu", alpha=0.4),
    "GELU": unary("Gelu"),
    "GELU, tanh": unary("Gelu", approximate="tanh"),
    "GELU spelled out": (
        IMAGE,
        lambda n, x: n.node(
            "Mul",
            n.node("Mul", x, n.node("Add", n.node("Erf", n.node("Div", x, n.constant(2**0.5))), n.constant(1.0))),
            n.constant(0.5),
        ),
    ),
    "PReLU per channel": (IMAGE, lambda n, x: n.node("PRelu", x, w(n, 4, 1, 1))),
    "PReLU per element": (IMAGE, lambda n, x: n.node("PRelu", x, w(n, 4, 6, 5))),
    "clip": (IMAGE, lambda n, x: n.node("Clip", x, n.constant(-0.5), n.constant(0.75))),
    "clip from below": (IMAGE, lambda n, x: n.node("Clip", x, n.constant(-0.5))),
    "softmax over rows": unary("Softmax", axis=2),
    "log softmax": unary("LogSoftmax", axis=1),
    # Recurrent layers.
    **{
        f"{kind}, {direction}": ((9, 1, 5), partial(recurrent, kind=kind, direction=direction, **options))
        for kind in ("LSTM", "GRU")
        for direction, options in (
            ("forward", {}),
            ("reverse", {"biased": False}),
            ("bidirectional", {"begun": True}),
        )
    },
    # Arithmetic.
    "constant minus": (IMAGE, lambda n, x: n.node("Sub", w(n, 4, 1, 1), x)),
    "constant over": (IMAGE, lambda n, x: n.node("Div", n.constant(2.0), n.node("Exp", x))),
    "quotient": (IMAGE, lambda n, x: n.node("Div", x, n.node("Exp", x))),
    "broadcast": (IMAGE, lambda n, x: n.node("Mul", x, n.node("GlobalAveragePool", x))),
    "extrema of three": (IMAGE, lambda n, x: n.node("Max", x, n.node("Neg", x), n.constant(0.3))),
    "mean of two": (IMAGE, lambda n, x: n.node("Mean", x, n.node("Relu", x))),
    **{
        f"power {p}": (IMAGE, lambda n, x, p=p: n.node("Pow", n.node("Exp", x), n.constant(p)))
        for p in (2.0, 0.5, -1.0, 1.7)
    },
    "power of a constant": (IMAGE, lambda n, x: n.node("Pow", n.constant(2.0), x)),
    "where": (
        IMAGE,
        lambda n, x: n.node("Where", n.constant(np.tri(6, 5) > 0, "bool"), x, n.constant(-1.0)),
    ),
    "upper triangle": (IMAGE, lambda n, x: n.node("Trilu", x)),
    "lower triangle": (IMAGE, lambda n, x: n.node("Trilu", x, n.constant(-1, "int64"), upper=0)),
    "three smallest": (
        IMAGE,
        lambda n, x: n.several("TopK", 2, x, i64(n, 3), axis=1, largest=0)[0],
    ),
    # Layers.
    "convolution": (
        IMAGE,
        lambda n, x: n.node("Conv", x, w(n, 6, 4, 3, 3), w(n, 6), pads=[0, 1, 2, 0], strides=[2, 1]),
    ),
    "depthwise": (IMAGE, lambda n, x: n.node("Conv", x, w(n, 8, 1, 3, 2), group=4, auto_pad="SAME_LOWER")),
    "of a signal": (SIGNAL, lambda n, x: n.node("Conv", x, w(n, 6, 4, 3), w(n, 6), pads=[2, 0], strides=[2])),
    "of a flat volume": (VOLUME, lambda n, x: n.node("Conv", x, w(n, 6, 4, 1, 3, 3), pads=[0, 1, 0, 0, 1, 1])),
    "transposed": (
        IMAGE,
        lambda n, x: n.node(
            "ConvTranspose", x, w(n, 4, 3, 3, 3), w(n, 3), strides=[2, 2], pads=[1, 0, 0, 1], output_padding=[0, 1]
        ),
    ),
    "transposed, same": (
        IMAGE,
        lambda n, x: n.node("ConvTranspose", x, w(n, 4, 3, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    ),
    "transposed, in groups": (
        IMAGE,
        lambda n, x: n.node("ConvTranspose", x, w(n, 4, 1, 3, 3), group=4, dilations=[2, 1]),
    ),
    "transposed signal": (SIGNAL, lambda n, x: n.node("ConvTranspose", x, w(n, 4, 3, 4), strides=[3], pads=[1, 2])),
    "dense": (ROW, lambda n, x: n.node("Gemm", x, w(n, 7, 12), w(n, 7), transB=1, alpha=0.5, beta=2.0)),
    "dense, turned": ((12, 3), lambda n, x: n.node("Gemm", x, w(n, 12, 7), transA=1)),
    "product": ((1, 3, 8), lambda n, x: n.node("MatMul", x, w(n, 8, 5))),
    "product with itself": ((1, 8, 8), lambda n, x: n.node("MatMul", x, n.node("Transpose", x, perm=[0, 2, 1]))),
    "constant first": ((8, 5), lambda n, x: n.node("MatMul", w(n, 3, 8), x)),
    "einsum": ((1, 3, 2, 8), lambda n, x: n.node("Einsum", x, w(n, 5, 2, 8), equation="bihd,jhd->bhij")),
    "attention": (
        (1, 5, 8),
        lambda n, x: n.node(
            "Attention", x, n.node("Neg", x), n.node("Relu", x), q_num_heads=2, kv_num_heads=2, is_causal=1
        ),
    ),
    "attention, masked": (
        (1, 2, 5, 4),
        lambda n, x: n.node(
            "Attention", x, n.node("Neg", x), n.node("Relu", x), n.constant(np.eye(5) + np.tri(5, k=-2), "bool")
        ),
    ),
    "attention, masked by numbers and causal": (
        (1, 2, 5, 4),
        lambda n, x: n.node("Attention", x, x, x, w(n, 5, 5), is_causal=1, scale=0.7),
    ),
    "attention, masked by the input and causal": (
        (1, 2, 5, 5),
        lambda n, x: n.node("Attention", x, x, x, x, is_causal=1),
    ),
    "attention, shared keys": (
        (1, 4, 5, 8),
        lambda n, x: n.node("Attention", x, *(n.node("Slice", x, i64(n, s), i64(n, s + 2), i64(n, 1)) for s in (0, 2))),
    ),
    "batch norm": (
        IMAGE,
        lambda n, x: n.node("BatchNormalization", x, w(n, 4), w(n, 4), w(n, 4), w(n, 4, low=0.5)),
    ),
    "batch norm folded": (
        IMAGE,
        lambda n, x: n.node(
            "BatchNormalization", n.node("Conv", x, w(n, 4, 4, 1, 1)), w(n, 4), w(n, 4), w(n, 4), w(n, 4, low=0.5)
        ),
    ),
    "layer norm": ((1, 5, 8), lambda n, x: norm(n, x, "LayerNormalization", 8)),
    "RMS norm": ((1, 5, 8), lambda n, x: n.node("RMSNormalization", x, w(n, 8))),
    "instance norm": (IMAGE, lambda n, x: norm(n, x, "InstanceNormalization", 4)),
    "group norm": (IMAGE, lambda n, x: norm(n, x, "GroupNormalization", 4, num_groups=2)),
    "response of channels around": unary("LRN", (1, 7, 4, 3), size=5, alpha=0.3, beta=0.6, bias=1.5),
    "L2 norm": (ROW, lambda n, x: n.node("LpNormalization", x, axis=1)),
    # Pools and reductions.
    "max pool": unary("MaxPool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 0, 1]),
    "max pool, one more": unary("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    "average": unary("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "average with padding": unary("AveragePool", kernel_shape=[3, 3], pads=[1, 0, 1, 1], count_include_pad=1),
    "average of a signal": unary("AveragePool", SIGNAL, kernel_shape=[3], strides=[2]),
    "maximum of a flat volume": unary("MaxPool", VOLUME, kernel_shape=[1, 2, 2]),
    "global maximum": unary("GlobalMaxPool"),
    "global average": unary("GlobalAveragePool", SIGNAL),
    **{
        kind: (IMAGE, lambda n, x, kind=kind: n.node(kind, x, i64(n, 1, 3), keepdims=0))
        for kind in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare")
    },
    "product of elements": (IMAGE, lambda n, x: n.node("ReduceProd", x, i64(n, 2))),
    "log of a sum of exponentials": (IMAGE, lambda n, x: n.node("ReduceLogSumExp", x, i64(n, -1))),
    "sum of all": unary("ReduceSum", keepdims=0),
    # Elements moved.
    "slices backwards": (
        IMAGE,
        lambda n, x: n.node("Slice", x, i64(n, -1, 1), i64(n, -99, 5), i64(n, 2, 3), i64(n, -2, 2)),
    ),
    "gathered": (IMAGE, lambda n, x: n.node("Gather", x, i64(n, 3, 0, -2), axis=1)),
    "gathered once": (IMAGE, lambda n, x: n.node("Gather", x, n.constant(2, "int64"), axis=2)),
    **{
        f"padded, {mode}": (IMAGE, lambda n, x, mode=mode: n.node("Pad", x, i64(n, 0, 0, 1, 2, 0, 0, 2, 1), mode=mode))
        for mode in ("constant", "reflect", "edge", "wrap")
    },
    "cropped": (IMAGE, lambda n, x: n.node("Pad", x, i64(n, 0, 0, -1, 1, 0, 0, 2, -1), n.constant(0.5))),
    "tiled": (IMAGE, lambda n, x: n.node("Tile", x, i64(n, 1, 2, 1, 3))),
    "expanded": ((1, 4, 1, 5), lambda n, x: n.node("Expand", x, i64(n, 1, 6, 1))),
    "depth to space": unary("DepthToSpace", blocksize=2),
    "depth to space, CRD": unary("DepthToSpace", blocksize=2, mode="CRD"),
    "space to depth": unary("SpaceToDepth", (1, 3, 6, 4), blocksize=2),
    "split": (
        (1, 6, 4, 3),
        lambda n, x: n.several("Split", 2, x, i64(n, 2, 4), axis=1)[1],
    ),
    "class token": ((1, 5, 8), lambda n, x: n.node("Concat", w(n, 1, 1, 8), x, axis=1)),
    "channel shuffle": (
        IMAGE,
        lambda n, x: n.node(
            "Reshape",
            n.node("Transpose", n.node("Reshape", x, i64(n, 1, 2, 2, 6, 5)), perm=[0, 2, 1, 3, 4]),
            i64(n, 0, -1, 6, 5),
        ),
    ),
    "patches": (
        IMAGE,
        lambda n, x: n.node(
            "MatMul", n.node("Transpose", n.node("Reshape", x, i64(n, 1, 4, 30)), perm=[0, 2, 1]), w(n, 4, 3)
        ),
    ),
    # Resized.
    **{
        f"{mode}, {where}": (
            IMAGE,
            lambda n, x, mode=mode, where=where: n.node(
                "Resize",
                x,
                "",
                "",
                i64(n, 1, 4, 13, 8),
                mode=mode,
                coordinate_transformation_mode=where,
                nearest_mode="floor",
            ),
        )
        for mode in ("nearest", "linear")
        for where in ("asymmetric", "half_pixel", "align_corners")
        if mode == "linear" or where == "asymmetric"
    },
    **{
        f"nearest by {rounding}, {where}": (
            IMAGE,
            lambda n, x, where=where, rounding=rounding: n.node(
                "Resize", x, "", "", i64(n, 1, 4, 4, 8), coordinate_transformation_mode=where, nearest_mode=rounding
            ),
        )
        for where in ("half_pixel", "align_corners")
        for rounding in ("round_prefer_ceil", "ceil")
    },
    **{
        f"{mode}, {antialias}": (
            IMAGE,
            lambda n, x, mode=mode, antialias=antialias: n.node(
                "Resize", x, "", n.constant([1.0, 1.0, 0.5, 1.8]), mode=mode, antialias=antialias
            ),
        )
        for mode, antialias in (("cubic", 0), ("cubic", 1), ("linear", 1))
    },
    "channels resized": (IMAGE, lambda n, x: n.node("Resize", x, "", n.constant([1.0, 2.0, 1.0, 1.0]), mode="linear")),
    "not larger": (
        IMAGE,
        lambda n, x: n.node(
            "Resize", x, "", "", i64(n, 12, 13), axes=[2, 3], mode="linear", keep_aspect_ratio_policy="not_larger"
        ),
    ),
    "signal resized": (SIGNAL, lambda n, x: n.node("Resize", x, "", n.constant([1.0, 1.0, 2.0]), mode="linear")),
}


def model_of(name: str) -> tuple[bytes, OnnxModel, np.ndarray]:
    shape, build = OPERATORS[name]
    net = OnnxNet()
    content = net.model(build(net, net.input(*shape)), opset=23).SerializeToString()
    return (
        content,
        read_model(content, f"layer{list(OPERATORS).index(name)}"),
        np.random.default_rng(3).normal(0, 1, shape).astype(np.float32),
    )


def ours(model: OnnxModel, feed: np.ndarray) -> np.ndarray:
    """The input as the graph stores it."""
    name = model.graph.inputs[0]
    return model.inputs[name].to_memory(feed).reshape(model.graph.tensors[name].shape)


def theirs(content: bytes, model: OnnxModel, feed: np.ndarray) -> np.ndarray:
    """ONNX Runtime's output as the graph stores it."""
    found = _session(content).run(None, {"x": feed})[0]
    return model.outputs[0].to_memory(found).reshape(model.graph.tensors[model.graph.outputs[0]].shape)


@pytest.mark.parametrize("name", OPERATORS)
def test_operator(name: str) -> None:
    content, model, feed = model_of(name)
    assert model.is_float and not model.notes
    wanted = theirs(content, model, feed)
    found = evaluate(model.graph, [ours(model, feed)])[0]
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 2e-5 * max(1, np.abs(wanted).max())


def test_in_c(tmp_path: Path) -> None:
    """All of them in one program, within what rounding in another order explains."""
    programs, samples, expected = [], [], []
    for name in OPERATORS:
        _, model, feed = model_of(name)
        programs.append(lower(simplify(model.graph), isa=("c99",)))
        samples.append([[ours(model, feed)]])
        expected.append(evaluate(model.graph, [ours(model, feed)])[0])
    for name, found, wanted in zip(OPERATORS, run_on_host(programs, samples, tmp_path), expected, strict=True):
        gap = np.abs(found[0][0].reshape(-1) - wanted.reshape(-1)).max()
        assert gap <= 2e-5 * max(1, np.abs(wanted).max()), name


@pytest.mark.parametrize(
    ("label", "wanted"),
    [
        ("model/conv2d_3/BiasAdd", "model_conv2d_3_BiasAdd"),
        ("functional_1/activation/depthwise_conv2d_3/BiasAdd", "depthwise_conv2d_3_BiasAdd"),
        ("a" * 40, "a" * 32),
    ],
)
def test_long_names_keep_their_last_words(label: str, wanted: str) -> None:
    """So that tables of layers have no more than 80 columns."""
    assert Builder().unique(label) == wanted
