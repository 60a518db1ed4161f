"""Dense layers many of whose weights are zero: int8 as in TFLite, and integer codes of any encoding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.support import integer_layers
from tests.support.integer_layers import Layer
from tinygen.ir.encodings import Affine, Encoding, IntegerEncoding
from tinygen.ir.epilogue import Tflite
from tinygen.ir.fixed_point import Activation
from tinygen.ir.graph import Graph
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.window import Padding
from tinygen.ir.tensor import Tensor


def single(shape: tuple[int, int], density: float, rng: np.random.Generator) -> np.ndarray:
    """Live weights anywhere."""
    return rng.random(shape) < density


def blocked(shape: tuple[int, int], density: float, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Live blocks of neighbouring outputs and inputs."""
    blocks = rng.random((-(-shape[0] // height), -(-shape[1] // width))) < density
    return np.kron(blocks, np.ones((height, width), bool))[: shape[0], : shape[1]].astype(bool)


def n_of_m(shape: tuple[int, int], n: int, m: int, rng: np.random.Generator) -> np.ndarray:
    """At most n live weights among each m neighbouring inputs."""
    order = rng.random((shape[0], -(-shape[1] // m), m)).argsort(axis=-1)
    return (order < n).reshape(shape[0], -1)[:, : shape[1]]


def ends(shape: tuple[int, int]) -> np.ndarray:
    """One live weight a row: the first, the last, or none, by turns."""
    live = np.zeros(shape, bool)
    live[0::3, 0] = True
    live[1::3, -1] = True
    return live


def int8_dense(
    name: str,
    live: np.ndarray,
    rows: int = 1,
    *,
    zero: int = -7,
    scales: int = 1,
    activation: Activation = Activation.NONE,
    y_scale: float = 1.0,
    bias: int = 3000,
    extreme: bool = False,
    seed: int = 0,
) -> Layer:
    """A FullyConnected [rows, I] -> [rows, O] with a mask of its weights [O, I].

    Args:
        zero: point of the input.
        scales: of the weights, 1 or one per output.
        y_scale: times the scale that uses the codes well.
        bias: the largest.
        extreme: weights are -128 and 127 only.
    """
    rng = np.random.default_rng([seed, *live.shape])
    outputs, depth = live.shape
    codes = rng.integers(1, 128, live.shape) * rng.choice([-1, 1], live.shape)
    codes = np.where(extreme, np.where(codes > 0, 127, -128), codes)
    w_scale = tuple(float(np.float32(s)) for s in rng.uniform(0.004, 0.008, outputs if scales > 1 else 1))
    axis = 0 if len(w_scale) > 1 else None
    zeros = (0,) * len(w_scale)
    used = max(float(live.sum(axis=1).max(initial=0)), 1.0)
    out_scale = float(np.float32(0.05 * 0.006 * 70 * np.sqrt(used) * y_scale))
    tensors = {
        "x": Tensor("x", (rows, depth), Affine("int8", (0.05,), (zero,))),
        "w": Tensor("w", live.shape, Affine("int8", w_scale, zeros, axis), np.where(live, codes, 0).astype(np.int8)),
        "b": Tensor(
            "b",
            (outputs,),
            Affine("int32", tuple(0.05 * s for s in w_scale), zeros, axis),
            rng.integers(-bias, bias + 1, outputs).astype(np.int32),
        ),
        "y": Tensor("y", (rows, outputs), Affine("int8", (out_scale,), (4,))),
    }
    op = FullyConnected(name="layer", inputs=("x", "w", "b"), outputs=("y",), epilogue=Tflite(activation))
    graph = Graph(name, tensors, (op,), ("x",), ("y",))
    graph.validate()
    feeds = [[rng.integers(-128, 128, (rows, depth)).astype(np.int8)] for _ in range(2)]
    return Layer(graph, feeds)


def integer_dense(
    name: str,
    live: np.ndarray,
    rows: int = 1,
    *,
    x: IntegerEncoding,
    w: IntegerEncoding,
    y: Encoding,
    shared: bool = False,
    seed: int = 0,
) -> Layer:
    """A FullyConnected of codes with the code of zero outside the mask; `w` has one, which is 0."""
    rng = np.random.default_rng([seed, *live.shape, rows])
    layer = integer_layers.dense(
        name, (live.shape[1],), live.shape[0], x=x, w=w, y=y, shared=shared, masked=live, seed=seed
    )
    tensors = dict(layer.graph.tensors)
    for key, width in (("x", live.shape[1]), ("y", live.shape[0])):
        tensors[key] = replace(tensors[key], shape=(rows, width))
    graph = replace(layer.graph, tensors=tensors)
    graph.validate()
    feeds = [[integer_layers.random_codes(x, (rows, live.shape[1]), rng)] for _ in range(2)]
    return Layer(graph, feeds)


def int8_pixels(
    name: str,
    live: np.ndarray,
    image: tuple[int, int],
    *,
    kernel: tuple[int, int] = (1, 1),
    stride: int = 1,
    dilation: int = 1,
    padding: Padding = Padding.SAME,
    scales: int = 1,
    seed: int = 0,
) -> Layer:
    """A Conv2D over an image [H, W] with a mask of its weights [O, H W I]: `int8_dense` for each pixel."""
    flat = int8_dense(name, live, scales=scales, seed=seed)
    tensors, rng = dict(flat.graph.tensors), np.random.default_rng(seed)
    outputs, channels = len(live), live.shape[1] // (kernel[0] * kernel[1])
    weights, shape = tensors["w"], (outputs, *kernel, channels)
    assert weights.data is not None
    tensors["x"] = replace(tensors["x"], shape=(1, *image, channels))
    tensors["w"] = replace(weights, shape=shape, data=weights.data.reshape(shape))
    op = Conv2D(
        name="layer",
        inputs=("x", "w", "b"),
        outputs=("y",),
        padding=padding,
        stride=(stride, stride),
        dilation=(dilation, dilation),
    )
    graph = replace(flat.graph, tensors=tensors, ops=(op,))
    tensors["y"] = replace(tensors["y"], shape=op.infer_shapes(graph.node(op))[0])
    graph.validate()
    return Layer(graph, [[rng.integers(-128, 128, (1, *image, channels)).astype(np.int8)] for _ in range(2)])


def integer_pixels(
    name: str,
    live: np.ndarray,
    image: tuple[int, int],
    *,
    x: IntegerEncoding,
    w: IntegerEncoding,
    y: Encoding,
    kernel: tuple[int, int] = (1, 1),
    stride: int = 1,
    same: bool = True,
    seed: int = 0,
) -> Layer:
    """A Conv2D of codes with the code of zero outside the mask [O, H W I]; `w` has one, which is 0."""
    outputs, channels = len(live), live.shape[1] // (kernel[0] * kernel[1])
    codes = integer_layers.random_codes(w, live.shape, np.random.default_rng(seed))
    weights = np.where(live, codes, 0).astype(codes.dtype).reshape(outputs, *kernel, channels)
    return integer_layers.conv(
        name,
        (*image, channels),
        outputs,
        kernel,
        x=x,
        w=w,
        y=y,
        stride=(stride, stride),
        same=same,
        seed=seed,
        weights=weights,
    )
