"""Models of one layer between quantizers: what they become, and how."""

from __future__ import annotations

import numpy as np

from tests.support.onnx_models import OnnxNet


def weights_of(net: OnnxNet, *shape: int, axis: int = 0, **arguments: object) -> str:
    rng = np.random.default_rng(8)
    scale = rng.uniform(0.001, 0.004, shape[axis])
    return net.weights(rng.integers(-127, 128, shape), scale, axis, **arguments)  # type: ignore[arg-type]


def q(net: OnnxNet, y: str, scale: float = 0.0617, zero: int = -7) -> str:
    return net.quantize(y, scale, zero)


def resized(net: OnnxNet, x: str, sizes: list[int], where: str, rounding: str) -> str:
    """Nearest pixels: where an output pixel lies in the input, and how that is rounded."""
    wanted = net.constant(sizes, "int64")
    return net.node("Resize", x, "", "", wanted, coordinate_transformation_mode=where, nearest_mode=rounding)


IMAGE = (4, 9, 8)
LAYERS = {
    "uneven pads": (
        ("conv_2d",),
        IMAGE,
        lambda n, x: q(n, n.node("Conv", x, weights_of(n, 5, 4, 3, 2), pads=[2, 0, 1, 1], strides=[2, 1])),
    ),
    "dilated": (
        ("conv_2d",),
        IMAGE,
        lambda n, x: q(n, n.node("Conv", x, weights_of(n, 5, 4, 3, 3), dilations=[2, 2], pads=[2, 2, 2, 2])),
    ),
    "same lower": (
        ("conv_2d",),
        IMAGE,
        lambda n, x: q(n, n.node("Conv", x, weights_of(n, 5, 4, 2, 3), auto_pad="SAME_LOWER")),
    ),
    "same upper": (
        ("conv_2d",),
        IMAGE,
        lambda n, x: q(n, n.node("Conv", x, weights_of(n, 5, 4, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER")),
    ),
    "depth multiplier 2": (
        ("depthwise_conv_2d",),
        IMAGE,
        lambda n, x: q(n, n.node("Conv", x, weights_of(n, 8, 1, 3, 3), group=4)),
    ),
    "relu6": (
        ("conv_2d",),
        IMAGE,
        lambda n, x: q(
            n,
            n.node("Clip", n.node("Conv", x, weights_of(n, 5, 4, 1, 1)), n.constant(0.0), n.constant(6.0)),
            0.05,
            -100,
        ),
    ),
    "any clip": (
        ("integer_conv_2d",),
        IMAGE,
        lambda n, x: q(
            n, n.node("Clip", n.node("Conv", x, weights_of(n, 5, 4, 1, 1)), n.constant(-0.3), n.constant(1.1))
        ),
    ),
    "float bias": (
        ("conv_2d",),
        IMAGE,
        lambda n, x: q(n, n.node("Conv", x, weights_of(n, 3, 4, 1, 1), n.constant([0.5, -0.25, 0.1]))),
    ),
    "batch norm": (
        ("integer_conv_2d",),
        IMAGE,
        lambda n, x: q(
            n, n.node("Relu", n.batch_norm(n.node("Conv", x, weights_of(n, 5, 4, 3, 3)), 5, np.random.default_rng(2)))
        ),
    ),
    "uint8 weights": (
        ("integer_conv_2d",),
        IMAGE,
        lambda n, x: q(
            n,
            n.node(
                "Conv", x, n.weights(np.random.default_rng(1).integers(0, 256, (5, 4, 3, 3)), 0.002, 0, "uint8", 100)
            ),
        ),
    ),
    "matmul": (
        ("fully_connected",),
        (40,),
        lambda n, x: q(
            n, n.node("Add", n.node("MatMul", x, weights_of(n, 40, 12, axis=1)), n.constant(np.arange(12) / 10))
        ),
    ),
    "gemm": (
        ("fully_connected",),
        (40,),
        lambda n, x: q(n, n.node("Gemm", x, weights_of(n, 40, 12, axis=1), n.constant(np.arange(12) / 10), beta=0.5)),
    ),
    "flatten and gemm": (
        ("fully_connected",),
        IMAGE,
        lambda n, x: q(n, n.node("Gemm", n.node("Flatten", x), weights_of(n, 12, 288), transB=1)),
    ),
    "reshape and matmul": (
        ("fully_connected",),
        IMAGE,
        lambda n, x: q(
            n, n.node("MatMul", n.node("Reshape", x, n.constant([1, -1], "int64")), weights_of(n, 288, 12, axis=1))
        ),
    ),
    "max pool, uneven": (
        ("max_pool_2d",),
        IMAGE,
        lambda n, x: n.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    ),
    "max pool, ceil": (
        ("max_pool_2d",),
        IMAGE,
        lambda n, x: n.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    ),
    "global max pool": (("max_pool_2d",), IMAGE, lambda n, x: n.node("GlobalMaxPool", x)),
    "average pool": (
        ("integer_average_pool_2d",),
        IMAGE,
        lambda n, x: q(n, n.node("AveragePool", x, kernel_shape=[2, 3], strides=[2, 2]), 0.0317),
    ),
    "average pool, padding counts": (
        ("integer_average_pool_2d",),
        IMAGE,
        lambda n, x: q(
            n, n.node("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1), 0.0317
        ),
    ),
    "average pool, same encoding": (
        ("average_pool_2d",),
        IMAGE,
        lambda n, x: q(
            n, n.node("AveragePool", x, kernel_shape=[3, 3], strides=[1, 1], auto_pad="SAME_UPPER"), 0.05, 3
        ),
    ),
    "average pool, inside": (
        ("average_pool_2d", "quantize"),
        IMAGE,
        lambda n, x: q(n, n.node("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1]), 0.07),
    ),
    "global average pool": (("mean",), IMAGE, lambda n, x: q(n, n.node("GlobalAveragePool", x), 0.011)),
    "reduce mean": (
        ("mean", "reshape"),
        IMAGE,
        lambda n, x: q(n, n.node("ReduceMean", x, n.constant([2, 3], "int64"), keepdims=0), 0.011),
    ),
    "sum": (("quantize", "add"), IMAGE, lambda n, x: q(n, n.node("Relu", n.node("Add", x, q(n, x))), 0.071)),
    "difference": (("quantize", "sub"), IMAGE, lambda n, x: q(n, n.node("Sub", x, q(n, x)), 0.0123)),
    "clipped sum": (
        ("quantize", "add", "requantize"),
        IMAGE,
        lambda n, x: q(n, n.node("Clip", n.node("Add", x, q(n, x)), n.constant(-1.2), n.constant(1.5)), 0.071),
    ),
    "square": (("lookup",), IMAGE, lambda n, x: q(n, n.node("Mul", x, x), 0.0377)),
    "quantized constant added": (
        ("add",),
        IMAGE,
        lambda n, x: q(n, n.node("Add", x, n.weights(np.arange(4).reshape(1, 4, 1, 1) * 9, 0.0213)), 0.071),
    ),
    "constant added": (
        ("requantize",),
        IMAGE,
        lambda n, x: q(n, n.node("Add", n.constant([[[0.5]], [[1.0]], [[-1.0]], [[2.0]]]), x), 0.0717),
    ),
    "scaled": (
        ("requantize",),
        IMAGE,
        lambda n, x: q(
            n,
            n.node("Sub", n.constant(1.0), n.node("Div", n.node("Mul", x, n.constant(-1.5)), n.constant(0.7))),
            0.0717,
        ),
    ),
    "relu alone": (("clamp",), IMAGE, lambda n, x: q(n, n.node("Relu", x))),
    "relu that does nothing": (("quantize",), IMAGE, lambda n, x: q(n, n.node("Relu", x), 0.0312, -128)),
    "another scale": (("quantize",), IMAGE, lambda n, x: q(n, x)),
    "concatenation": (
        ("quantize", "quantize", "quantize", "concatenation"),
        IMAGE,
        lambda n, x: q(n, n.node("Concat", x, q(n, x, 0.0813), axis=1), 0.0912),
    ),
    "sigmoid": (("lookup",), IMAGE, lambda n, x: q(n, n.node("Sigmoid", x), 1 / 256, -128)),
    "tanh": (("lookup",), IMAGE, lambda n, x: q(n, n.node("Tanh", x), 1 / 128, 0)),
    "hard swish": (("lookup",), IMAGE, lambda n, x: q(n, n.node("HardSwish", x))),
    "gelu": (("lookup",), IMAGE, lambda n, x: q(n, n.node("Gelu", x), 0.0217, -100)),
    "gelu, tanh": (("lookup",), IMAGE, lambda n, x: q(n, n.node("Gelu", x, approximate="tanh"), 0.0217, -100)),
    "elu": (("lookup",), IMAGE, lambda n, x: q(n, n.node("Elu", x))),
    "twice as large": (
        ("resize_nearest_neighbor",),
        IMAGE,
        lambda n, x: n.node("Resize", x, "", n.constant([1, 1, 2, 3]), mode="nearest"),
    ),
    "larger by sizes": (
        ("resize_nearest_neighbor",),
        IMAGE,
        lambda n, x: resized(n, x, [1, 4, 13, 21], "asymmetric", "floor"),
    ),
    "corners aligned": (
        ("resize_nearest_neighbor",),
        IMAGE,
        lambda n, x: resized(n, x, [1, 4, 12, 11], "align_corners", "round_prefer_ceil"),
    ),
    "leaky relu": (("lookup",), IMAGE, lambda n, x: q(n, n.node("LeakyRelu", x, alpha=0.1))),
    "softmax, another scale": (("softmax", "quantize"), (10,), lambda n, x: q(n, n.node("Softmax", x), 0.0041, -128)),
    "pad": (("pad",), IMAGE, lambda n, x: n.node("Pad", x, n.constant([0, 0, 1, 2, 0, 0, 0, 1], "int64"))),
    "pad with a value": (
        ("pad",),
        IMAGE,
        lambda n, x: n.node("Pad", x, n.constant([0, 0, 1, 2, 0, 0, 0, 1], "int64"), n.constant(-1.0)),
    ),
    "slice": (
        ("strided_slice",),
        IMAGE,
        lambda n, x: n.node("Slice", x, *(n.constant(v, "int64") for v in ([-1, 1], [-9, 100], [2, 1], [-2, 1]))),
    ),
    "flatten alone": (("reshape", "transpose", "reshape"), IMAGE, lambda n, x: n.node("Flatten", x)),
    "squeezed channels": (
        ("max_pool_2d", "reshape"),
        IMAGE,
        lambda n, x: n.node(
            "Unsqueeze",
            n.node("Squeeze", n.node("GlobalMaxPool", x), n.constant([2, 3], "int64")),
            n.constant([1], "int64"),
        ),
    ),
    "transposed twice": (
        ("max_pool_2d",),
        IMAGE,
        lambda n, x: n.node(
            "GlobalMaxPool", n.node("Transpose", n.node("Transpose", x, perm=[0, 2, 3, 1]), perm=[0, 3, 1, 2])
        ),
    ),
    "two activations": (("batch_matmul",), (6, 6), lambda n, x: q(n, n.node("MatMul", x, x), 0.21)),
}
# TFLite's arithmetic for these rounds to a fraction of a code first (multipliers of 1/8 to 1/32), averages codes (ties
# away from zero), or has a fixed-point softmax of its own: more than 1 % of codes differ, by one.
WITHIN_ONE = {
    "softmax, another scale",
    "average pool, inside",
    "average pool, same encoding",
    "global average pool",
    "reduce mean",
}
