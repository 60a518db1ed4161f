"""Small layers of every operator and encoding, with random weights: what the kernels are tried on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tests.support import gated
from tests.support import integer_layers as integer
from tests.support import sparse_layers as sparse
from tinygen.bench import layers, lowbit
from tinygen.bench.layers import Window
from tinygen.ir.encodings import Affine, Binary, Encoding, Float32, IntegerEncoding, Levels, Plain
from tinygen.ir.epilogue import Rescale, Tflite
from tinygen.ir.fixed_point import Activation
from tinygen.ir.graph import Graph
from tinygen.ir.ops import (
    activations,
    binary,
    confidence,
    division,
    elementary,
    functions_of_two,
    gru,
    lstm,
    movement,
    normalization,
    normalization_of_rows,
    reduce,
    resize,
    softmax,
    unary,
)
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.batch_matmul import BatchMatmul
from tinygen.ir.ops.cast import Cast
from tinygen.ir.ops.channel_statistic import Statistic
from tinygen.ir.ops.compare import Compare, Relation
from tinygen.ir.ops.concatenation import Concatenation, Pack
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.cumulative_sum import CumulativeSum
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.gather import Gather, ScatterNd
from tinygen.ir.ops.gru import Gru
from tinygen.ir.ops.integer_add import IntegerAdd
from tinygen.ir.ops.lstm import Lstm
from tinygen.ir.ops.pad import MirrorPad, Pad
from tinygen.ir.ops.prelu import Prelu
from tinygen.ir.ops.quantize import Dequantize, Quantize
from tinygen.ir.ops.select import Select
from tinygen.ir.ops.softmax_numerator import SoftmaxNumerator
from tinygen.ir.ops.svdf import Svdf
from tinygen.ir.ops.top_k import TopK
from tinygen.ir.ops.transpose_conv import TransposeConv
from tinygen.ir.ops.update_slice import UpdateSlice
from tinygen.ir.ops.weighted_sum import WeightedSum
from tinygen.ir.ops.window import Padding
from tinygen.ir.tensor import Shape, Tensor

FLOAT = Float32()
X, Y = Affine("int8", (0.0625,), (-7,)), Affine("int8", (0.125,), (4,))
X16, Y16 = Affine("int16", (2**-11,), (0,)), Affine("int16", (2**-10,), (0,))
_IMAGE = (1, 6, 6, 4)
_KINDS: tuple[tuple[str, Encoding, Encoding], ...] = (("s8", X, Y), ("s16", X16, Y16), ("f32", FLOAT, FLOAT))


def palette() -> Iterator[Graph]:
    """Each a graph of one layer, or of a convolution and the sum behind it."""
    yield from _int8()
    yield from _with_sum()
    for kind, x, y in _KINDS:
        yield from _multiplying(kind, x, y)
        yield from _elementwise(kind, x, y)
        if kind != "s16":
            yield from _recurrent(kind, x)
    eight_bits = (*_int8(), *_with_sum(), *_multiplying("s16", X16, Y16))
    yield from (_in_few_bits(graph) for graph in eight_bits if "weights" in graph.tensors)
    yield from _functions()
    yield from _shapes()
    yield from _placed()
    yield from _deciding()
    yield from _gated()
    yield from _integer()
    yield from _sparse()


def _one(name: str, op: type[Op], inputs: Sequence[tuple[Shape, Encoding]], *ys: Encoding, **fields: Any) -> Graph:
    """An operator on activations alone."""
    return _op(name, op, [Tensor(f"x{i}", shape, e) for i, (shape, e) in enumerate(inputs)], *ys, **fields)


def _op(name: str, op: type[Op], inputs: list[Tensor], *ys: Encoding, **fields: Any) -> Graph:
    """`ys`: of each output."""
    names = tuple(f"y{i}" for i in range(len(ys)))
    made = op(name=op.KIND, inputs=tuple(t.name for t in inputs), outputs=names, **fields)
    tensors = {t.name: t for t in inputs} | {n: Tensor(n, (1,), y) for n, y in zip(names, ys, strict=True)}
    sources = tuple(t.name for t in inputs if not t.is_constant)
    draft = Graph(name, tensors, (made,), sources, names)
    shapes = made.infer_shapes(draft.node(made))
    tensors |= {n: Tensor(n, shape, y) for n, shape, y in zip(names, shapes, ys, strict=True)}
    graph = replace(draft, tensors=tensors)
    graph.validate()
    return graph


def _int8() -> Iterator[Graph]:
    square = Window((3, 3))
    for channels, filters in ((4, 8), (3, 5), (16, 16), (32, 4)):
        yield layers.conv_2d(f"conv_{channels}_{filters}", (6, 6, channels), filters, square).graph
    yield layers.conv_2d("conv_1x1", (5, 5, 16), 8, Window((1, 1))).graph
    yield layers.conv_2d("conv_first", (9, 9, 1), 8, Window((3, 3), (2, 2))).graph
    yield layers.conv_2d("conv_valid", (7, 7, 8), 6, Window((3, 3), padding=Padding.VALID)).graph
    yield layers.conv_2d("conv_whole", (4, 4, 8), 12, Window((4, 4), padding=Padding.VALID)).graph
    yield layers.depthwise_conv_2d("depthwise", (8, 8, 8), square).graph
    yield layers.depthwise_conv_2d("depthwise_odd", (7, 7, 5), Window((3, 3), (2, 2))).graph
    yield layers.conv_2d("conv_whole_few", (4, 4, 8), 2, Window((4, 4), padding=Padding.VALID)).graph
    for depth, outputs in ((32, 8), (64, 12), (101, 7), (48, 2)):
        yield layers.fully_connected(f"dense_{depth}", depth, outputs).graph
    for window in (Window((2, 2), (2, 2), Padding.VALID), square):
        yield layers.average_pool_2d(f"average_{window.kernel[0]}", (8, 8, 8), window).graph
        yield layers.max_pool_2d(f"max_{window.kernel[0]}", (8, 8, 8), window).graph
    yield layers.average_pool_2d("average_all", (6, 6, 8), Window((6, 6), (6, 6), Padding.VALID)).graph
    yield layers.add("add", (6, 6, 8)).graph
    yield layers.softmax("softmax", 12).graph


def _with_sum() -> Iterator[Graph]:
    """A convolution and the sum behind it, which are fused."""
    for name, image, live in (("sum", (6, 6, 8), 1.0), ("sum_odd", (5, 5, 6), 1.0), ("sum_sparse", (6, 6, 16), 0.15)):
        graph = layers.conv_2d(name, image, image[2], Window((3, 3))).graph
        weights = graph.tensors["weights"]
        assert weights.data is not None
        mask = np.random.default_rng(5).random(weights.shape) < live
        z = Tensor("z", (1, *image), Y)
        total = Tensor("total", (1, *image), X)
        sum_ = binary.Add(name="sum", inputs=("y", "z"), outputs=("total",))
        tensors = dict(graph.tensors) | {"weights": replace(weights, data=weights.data * mask), "z": z, "total": total}
        made = replace(graph, tensors=tensors, ops=(*graph.ops, sum_), inputs=("x", "z"), outputs=("total",))
        made.validate()
        yield made


def _in_few_bits(graph: Graph) -> Graph:
    """The same, but that its int8 weights are few values: kernels pack them."""
    weights = graph.tensors["weights"]
    assert weights.data is not None
    few = replace(weights, data=(weights.data >> 5).astype(np.int8))
    return replace(graph, name=f"{graph.name}_few", tensors={**graph.tensors, "weights": few})


def _constant(name: str, shape: Shape, kind: str, axis: int | None = None) -> Tensor:
    rng = np.random.default_rng(list(shape))
    if kind == "f32":
        return Tensor(name, shape, FLOAT, rng.uniform(-1, 1, shape).astype(np.float32))
    return Tensor(name, shape, Affine("int8", (2.0**-7,), (0,)), rng.integers(-127, 128, shape).astype(np.int8))


def _bias(count: int, kind: str, x: Encoding) -> Tensor:
    rng = np.random.default_rng(count)
    if kind == "f32":
        return Tensor("b", (count,), FLOAT, rng.uniform(-1, 1, count).astype(np.float32))
    assert isinstance(x, Affine)
    storage = "int32" if kind == "s8" else "int64"
    encoding = Affine(storage, (x.scale[0] * 2.0**-7,), (0,))
    return Tensor("b", (count,), encoding, rng.integers(-900, 900, count).astype(storage))


def _multiplying(kind: str, x: Encoding, y: Encoding) -> Iterator[Graph]:
    image, bias = Tensor("x", _IMAGE, x), partial(_bias, kind=kind, x=x)
    window = {"padding": Padding.SAME, "stride": (1, 1), "epilogue": Tflite(Activation.RELU)}
    yield _op(f"conv_{kind}", Conv2D, [image, _constant("weights", (6, 3, 3, 4), kind), bias(6)], y, **window)
    yield _op(f"dw_{kind}", DepthwiseConv2D, [image, _constant("weights", (1, 3, 3, 4), kind), bias(4)], y, **window)
    row = Tensor("x", (1, 24), x)
    yield _op(f"fc_{kind}", FullyConnected, [row, _constant("weights", (6, 24), kind), bias(6)], y)
    shape = {"size": (12, 12), "padding": Padding.SAME, "stride": (2, 2)}
    yield _op(f"tconv_{kind}", TransposeConv, [image, _constant("weights", (6, 3, 3, 4), kind), bias(6)], y, **shape)


def _recurrent(kind: str, x: Encoding) -> Iterator[Graph]:
    """Layers over six steps, their states constants; SVDF over one, with states of 16 and of 8 bits."""
    units, depth = 8, 12
    of_floats = kind == "f32"
    y: Encoding = FLOAT if of_floats else Affine("int8", (2.0**-7,), (-3,))
    cell: Encoding = FLOAT if of_floats else Affine("int16", (2.0**-11,), (0,))

    def layer(op: type[Op], gates: int, states: Sequence[Encoding], biases: int, **fields: Any) -> Graph:
        begun = [Tensor(f"begin{i}", (1, units), e, np.zeros((1, units), e.dtype)) for i, e in enumerate(states)]
        matrices = [_constant(f"w{i}", (units, depth if i < gates else units), kind) for i in range(2 * gates)]
        vectors = [replace(_bias(units, kind, x), name=f"b{i}") for i in range(biases * gates)]
        inputs = [Tensor("x", (1, 6, depth), x), *begun, *matrices, *vectors]
        return _op(f"{op.KIND}_{kind}", op, inputs, y, *states, **fields)

    yield layer(Lstm, lstm.GATES, (y, cell), 1, cell_clip=10.0)
    yield layer(Gru, gru.GATES, (FLOAT if of_floats else gru.STATE,), 2)
    memory, rank = 6, 2
    for kept in ("float32",) if of_floats else ("int16", "int8"):
        encoding: Encoding = FLOAT if of_floats else Affine(kept, (2.0**-4,), (0,))
        shapes = (1, units * memory), (units, memory)
        begin, time = (np.zeros(shapes[0], encoding.dtype), _constant("time", shapes[1], kind))
        assert time.data is not None
        inputs = [
            Tensor("x", (1, depth), x),
            Tensor("begin", shapes[0], encoding, begin),
            _constant("features", (units, depth), kind),
            replace(time, encoding=encoding, data=time.data.astype(encoding.dtype)),
            replace(_bias(units // rank, kind, x), name="b"),
        ]
        yield _op(f"svdf_{kind}_{kept}", Svdf, inputs, y, encoding, rank=rank)


def _elementwise(kind: str, x: Encoding, y: Encoding) -> Iterator[Graph]:
    image, pair = (_IMAGE, x), [(_IMAGE, x), (_IMAGE, y)]
    for op in (binary.Add, binary.Sub, binary.Mul):
        yield _one(f"{op.KIND}_{kind}", op, pair, y, activation=Activation.NONE)
    for kept in (binary.Maximum, binary.Minimum):
        yield _one(f"{kept.KIND}_{kind}", kept, [image, image], x)
    if kind == "s16":
        return
    fixed: dict[type[Op], Encoding] = {
        unary.Logistic: Affine("int8", (2**-8,), (-128,)),
        unary.Tanh: Affine("int8", (2**-7,), (0,)),
    }
    for table in (unary.Logistic, unary.Tanh, unary.HardSwish, unary.Abs, unary.Neg, unary.Elu):
        yield _one(f"{table.KIND}_{kind}", table, [image], fixed.get(table, y) if kind == "s8" else y)
    yield _one(f"gelu_{kind}", unary.Gelu, [image], y, approximate=False)
    yield _one(f"leaky_{kind}", unary.LeakyRelu, [image], y, alpha=0.25)
    yield _one(f"clamp_{kind}", unary.Clamp, [image], x, activation=Activation.RELU6)
    probabilities = Affine("int8", (2**-8,), (-128,)) if kind == "s8" else FLOAT
    yield _one(f"softmax_{kind}", softmax.Softmax, [((1, 12), x)], probabilities)


def _functions() -> Iterator[Graph]:
    """Functions of one and two operands: floats, and codes of 16 and 8 bits."""
    image, real, halves = (_IMAGE, X), (_IMAGE, FLOAT), (_IMAGE, X16)
    codes = (elementary.Exp, elementary.Log, elementary.Rsqrt)
    others = (elementary.Sin, elementary.Cos, elementary.Floor, elementary.Ceil, elementary.Round, elementary.Sign)
    gates = (activations.Silu, activations.HardSigmoid, activations.Softplus, activations.Mish)
    for op in (*codes, *others, elementary.Square, elementary.Sqrt, *gates):
        yield _one(f"{op.KIND}_f32", op, [real], FLOAT)
        yield _one(f"{op.KIND}_s8", op, [image], Y)
    yield _one("power_f32", elementary.Power, [real], FLOAT, exponent=3.0)
    yield _one("power_s8", elementary.Power, [image], Y, exponent=3.0)
    for op in codes:
        yield _one(f"{op.KIND}_s16", op, [halves], Y16)
    yield _one("sqrt_s16", elementary.Sqrt, [halves], Y16, truncated=True)
    yield _one("gelu_s16", unary.Gelu, [halves], Y16, approximate=False)
    yield _one("leaky_s16", unary.LeakyRelu, [halves], Y16, alpha=0.25)
    yield _one("abs_s16", unary.Abs, [halves], Y16)
    yield _one("clamp_s16", unary.Clamp, [halves], Y16, activation=Activation.RELU6)
    for sigmoidal in (unary.Logistic, unary.Tanh):
        yield _one(f"{sigmoidal.KIND}_s16", sigmoidal, [halves], Affine("int16", (2**-15,), (0,)))
    row, row16 = ((1, 12), X), ((1, 12), X16)
    logarithms = Affine("int8", (1 / 16,), (127,))
    yield _one("log_softmax_s8", softmax.LogSoftmax, [row], logarithms)
    yield _one("log_softmax_f32", softmax.LogSoftmax, [((1, 12), FLOAT)], FLOAT)
    yield _one("softmax_s16", softmax.Softmax, [row16], Affine("int16", (2**-15,), (0,)))
    yield _one("l2_s8", normalization_of_rows.L2Normalization, [row], Affine("int8", (2**-7,), (0,)))
    layer_norm = {"axes": (1, 2, 3), "epsilon": 1e-5}
    yield _one("layer_norm_s8", normalization.Normalization, [image], Y, **layer_norm)
    yield _one("layer_norm_f32", normalization.Normalization, [real], FLOAT, **layer_norm)
    response = {"radius": 2, "bias": 1.0, "alpha": 0.5, "beta": 0.75}
    yield _one("response", normalization_of_rows.LocalResponseNormalization, [real], FLOAT, **response)
    for pair in ([real, real], [image, image]):
        for two in (division.Div, division.FloorDiv, division.FloorMod, functions_of_two.SquaredDifference):
            yield _one(f"{two.KIND}_{pair[0][1].dtype.name}", two, pair, FLOAT if pair[0] is real else Y)
    yield _one("pow", functions_of_two.Pow, [real, real], FLOAT)
    yield _one("atan2", functions_of_two.Atan2, [real, real], FLOAT)


def _shapes() -> Iterator[Graph]:
    """Operators that move codes, or take a part of them."""
    image = (_IMAGE, X)
    for pool in (True, False):
        yield _one(f"mean_{pool}", reduce.Mean, [image], Y, axes=(1, 2), keep_dims=pool)
    for axes in ((3,), (1, 2)):
        yield _one(f"largest_{axes[0]}", reduce.ReduceMax, [image], X, axes=axes, keep_dims=True)
        yield _one(f"smallest_{axes[0]}", reduce.ReduceMin, [image], X, axes=axes, keep_dims=True)
    for many in (reduce.Sum, reduce.Prod):
        yield _one(f"{many.KIND}_s8", many, [image], Y, axes=(1,), keep_dims=True)
    for whether in (reduce.ReduceAny, reduce.ReduceAll):
        yield _one(whether.KIND, whether, [(_IMAGE, Plain("bool"))], Plain("bool"), axes=(1,), keep_dims=True)
    yield _one("transposed", movement.Transpose, [image], X, permutation=(0, 3, 1, 2))
    yield _one("parts", movement.Split, [image], X, X, axis=3, sizes=(1, 3))
    yield _one("rows", movement.Unpack, [((2, 3, 4), X)], X, X, axis=0)
    strided = {"begin": (0, 1, 0, 0), "step": (1, 2, 1, 1), "count": (1, 2, 6, 4), "axes": (0, 1, 2, 3)}
    yield _one("slice", movement.StridedSlice, [image], X, **strided)
    yield _one("joined", Concatenation, [image, image], X, axis=3)
    yield _one("packed", Pack, [((3, 4), X), ((3, 4), X)], X, axis=0)
    paddings = ((0, 0), (1, 2), (2, 1), (0, 0))
    yield _one("padded", Pad, [image], X, paddings=paddings, value=-7)
    yield _one("mirrored", MirrorPad, [image], X, paddings=paddings, value=0, symmetric=False)
    scaled = {"size": (9, 11), "align_corners": False, "half_pixel_centers": True}
    yield _one("nearest", resize.ResizeNearestNeighbor, [image], X, **scaled)
    yield _one("bilinear", resize.ResizeBilinear, [image], X, **scaled)
    matrices = [((1, 4, 6), X), ((1, 6, 5), X)]
    yield _one("product", BatchMatmul, matrices, Y, adjoint_first=False, adjoint_second=False)
    slopes = Tensor("a", (4,), X, np.array([-128, -7, 20, 127], np.int8))
    yield _op("prelu", Prelu, [Tensor("x", _IMAGE, X), slopes], Y)
    yield _one("requantized", Quantize, [image], Y)
    yield _one("quantized", Quantize, [(_IMAGE, FLOAT)], Y)
    yield _one("real", Dequantize, [image], FLOAT)


def _placed() -> Iterator[Graph]:
    """Operators whose places and choices are data, and numbers without a scale."""
    whole, long, truth = Plain("int32"), Plain("int64"), Plain("bool")
    table, block = ((9, 4), X), ((2, 3), X)
    yield _one("broadcast", movement.BroadcastTo, [((1, 4), X)], X, shape=(3, 5, 4))
    for index in (whole, long):
        yield _one(f"gathered_{index}", Gather, [table, ((3, 2), index)], X, axis=0)
    yield _one("gathered_pairs", Gather, [table, ((5, 2), whole)], X, axis=0, tuples=True)
    yield _one("scattered", ScatterNd, [((5, 1), whole), ((5, 4), FLOAT)], FLOAT, shape=(9, 4))
    yield _one("updated", UpdateSlice, [table, block, ((2,), whole)], X)
    yield _one("selected", Select, [((4, 1), truth), ((4, 6), X), ((6,), X)], X)
    yield _one("summed_up", CumulativeSum, [((3, 5), FLOAT)], FLOAT, axis=1)
    for before, after in ((FLOAT, X), (X, FLOAT), (long, whole), (whole, truth)):
        yield _one(f"cast_{before.dtype.name}_{after.dtype.name}", Cast, [((24,), before)], after)
    for op in (binary.Add, binary.Mul):
        yield _one(f"{op.KIND}_whole", op, [((24,), whole), ((24,), whole)], whole, activation=Activation.RELU6)


def _deciding() -> Iterator[Graph]:
    logits = ((1, 10), X)
    for op in (confidence.Margin, confidence.MaxProbability, confidence.NegativeEntropy):
        yield _one(op.KIND, op, [logits], op.encoding(X.scale[0]))
    for where in (reduce.ArgMax, reduce.ArgMin):
        yield _one(where.KIND, where, [logits], Plain("int32"), axis=1)
    yield _one("best", TopK, [logits], X, Plain("int32"), k=3)
    yield _one("compared", Compare, [logits, logits], Plain("bool"), relation=Relation.GREATER)


def _gated() -> Iterator[Graph]:
    """Layers whose channels gates choose."""
    for kind in Statistic:
        yield gated.statistic(f"statistic_{kind.value}", (5, 5, 8), 0, kind, Affine("int8", (1.0,), (-7,)))
    shape: dict[str, Any] = {"image": (5, 5, 8), "filters": 6}
    yield gated.gated_conv(gated.Gated(name="gathered", live=(4, 3), **shape))
    yield gated.gated_conv(gated.Gated(name="mixed", live=(4, 3), experts=2, **shape))
    yield gated.gated_depthwise(gated.Gated(name="gathered_depthwise", live=(4, 3), **shape))
    yield gated.masked_conv(gated.Masked(name="masked", **shape))
    shares = Rescale((1 << 22,), (1 << 29,), (30,), -128, 127)
    yield _one("weighted", WeightedSum, [((1, 2), X), (_IMAGE, X), (_IMAGE, X)], Y, epilogue=shares)
    yield _one("numerator", SoftmaxNumerator, [((1, 12), X)], Levels((1 / 255,), bits=8, signed=False))


def _integer() -> Iterator[Graph]:
    """Layers of `tinygen.nn`: each encoding of weights and activations."""
    for coding in lowbit.CODINGS:
        for channels, filters, side in ((32, 8, 3), (8, 8, 3), (16, 8, 1)):
            if not ((coding.scaled or coding.zeros) and side == 1):
                name = f"{coding.label}_{channels}_{side}".replace("-", "_")
                yield lowbit.integer_conv_2d(name, (5, 5, channels), filters, Window((side, side)), coding).graph
        given: dict[str, Any] = {"x": coding.x, "w": coding.w, "y": coding.x}
        name = coding.label.replace("-", "_")
        if not coding.scaled:
            yield integer.dense(f"{name}_dense", (64,), 8, **given).graph
            yield integer.dense(f"{name}_lines", (2, 2, 9), 5, **given).graph
            yield integer.dense(f"{name}_few", (48,), 2, **given).graph
        whole: dict[str, Any] = {**given, "same": False, "scaled": coding.scaled}
        for filters in (12, 2):
            yield integer.conv(f"{name}_whole_{filters}", (4, 4, 8), filters, (4, 4), **whole).graph
        yield integer.conv(f"{name}_depthwise", (6, 6, 8), 8, (3, 3), groups=8, **given).graph
        yield integer.conv(f"{name}_odd", (5, 5, 7), 5, (3, 3), scaled=coding.scaled, **given).graph
    four, halves = Levels((1.0,), bits=4, signed=False), Affine("int16", (1.0,), (0,))
    for label, w in (("int8", integer.INT8), ("table", integer.codebook(4))):
        codes: dict[str, Any] = {"w": w, "y": four}
        yield integer.conv(f"dilated_{label}", (7, 6, 8), 8, (3, 3), groups=8, dilation=(2, 1), x=four, **codes).graph
        yield integer.dense(f"halves_{label}", (64,), 8, x=halves, **codes).graph
    yield from _integer_pools()


def _integer_pools() -> Iterator[Graph]:
    int8, bits, four = Affine("int8", (1.0,), (-128,)), Binary((1.0,)), Levels((1.0,), bits=4, signed=False)
    int32, two = Affine("int32", (1.0,), (0,)), Levels((1.0,), bits=2, signed=False)
    for label, x in (("s8", int8), ("bits", bits), ("four", four), ("two", two)):
        for sign in ("rising", "mixed"):
            yield integer.max_pool(f"pool_{label}_{sign}", (6, 6, 32), (2, 2), (2, 2), x=x, sign=sign).graph
        yield integer.sum_pool(f"pool_sum_{label}", (6, 6, 32), (2, 2), (2, 2), x=x, y=int8).graph
    for label, a, b in (("codes", four, four), ("sums", int32, four), ("wide", int32, int32), ("s8", int8, int8)):
        for shared in (True, False):
            name = f"residual_{label}_{shared}"
            yield integer.add(name, (5, 5, 8), a=a, b=b, y=four, shared=shared).graph
    yield integer.add("residual_shifted", (5, 5, 8), a=int32, b=int32, y=int8, shifted=True).graph
    for label, a, b, y in (("few", four, four, four), ("codes", int8, int8, int8), ("wide", int32, four, int8)):
        for channels in (1, 8):
            yield _residual(f"residual_{label}_{channels}", a, b, y, channels)
    yield integer.requantize("recoded", (5, 5, 8), x=int8, y=four).graph


def _residual(name: str, a: Encoding, b: Encoding, y: IntegerEncoding, channels: int) -> Graph:
    """A sum of which a fifth is the code, as trained networks have it; with factors for each channel, or for all."""
    low, high = y.code_range
    bits, count = 30, (1,) * channels
    epilogue = Rescale(
        tuple(round(2**bits / 5) for _ in count),
        tuple(1 << bits - 1 for _ in count),
        tuple(bits for _ in count),
        low,
        high,
    )
    factors = {"first": tuple(3 - i % 2 for i, _ in enumerate(count)), "second": tuple(2 for _ in count)}
    return _one(name, IntegerAdd, [((1, 5, 5, 8), a), ((1, 5, 5, 8), b)], y, **factors, epilogue=epilogue)


def _sparse() -> Iterator[Graph]:
    """Layers many of whose weights are zero, in the patterns that pruning leaves."""
    rng, four = np.random.default_rng(20), Levels((1.0,), bits=4, signed=False)
    masks = {"any": sparse.single((16, 64), 0.15, rng), "groups": sparse.n_of_m((16, 64), 1, 4, rng)}
    masks |= {f"{h}x{w}": sparse.blocked((16, 64), 0.2, rng, h, w) for h, w in ((1, 2), (1, 4), (2, 2), (4, 4))}
    masks["pairs"] = sparse.n_of_m((16, 64), 2, 4, rng)
    for label, mask in masks.items():
        yield sparse.int8_dense(f"sparse_{label}", mask).graph
        given: dict[str, Any] = {"x": four, "w": integer.TERNARY, "y": four}
        yield sparse.integer_dense(f"sparse_{label}_codes", mask, **given).graph
    yield from _sparse_convolutions(rng)


def _sparse_convolutions(rng: np.random.Generator) -> Iterator[Graph]:
    for label, mask in (("any", sparse.single((8, 32), 0.15, rng)), ("groups", sparse.n_of_m((8, 32), 1, 4, rng))):
        yield sparse.int8_pixels(f"sparse_pixels_{label}", mask, (5, 5)).graph
    graph = layers.conv_2d("sparse_window", (6, 6, 16), 8, Window((3, 3))).graph
    weights = graph.tensors["weights"]
    assert weights.data is not None
    thin = replace(weights, data=weights.data * (rng.random(weights.shape) < 0.15))
    yield replace(graph, tensors={**graph.tensors, "weights": thin})
    four = Levels((1.0,), bits=4, signed=False)
    for side, channels in ((1, 32), (3, 16)):
        given: dict[str, Any] = {"x": four, "w": integer.TERNARY, "y": four, "zeros": 0.85}
        yield integer.conv(f"sparse_codes_{side}", (5, 5, channels), 8, (side, side), **given).graph
