"""Random layers on integer codes: every encoding of activations and weights, every kind of epilogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.encodings import Affine, Binary, Codebook, Encoding, IntegerEncoding, Levels, PowerOfTwo, Ternary
from tinygen.ir.epilogue import Epilogue, Rescale, Threshold
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.integer_add import IntegerAdd
from tinygen.ir.ops.integer_mac import largest_integer
from tinygen.ir.ops.pool_2d import AveragePool2D, MaxPool2D
from tinygen.ir.ops.requantize import Requantize
from tinygen.ir.ops.window import Padding
from tinygen.ir.tensor import Shape, Tensor

ONE = (1.0,)
BINARY = Binary(ONE)
TERNARY = Ternary(ONE)
POWERS = PowerOfTwo(ONE, exponents=8)
INT8 = Affine("int8", ONE, (0,))
INT32 = Affine("int32", ONE, (0,))


def levels(bits: int, signed: bool = False) -> Levels:
    return Levels(ONE, bits=bits, signed=signed)


def affine(zero: int) -> Affine:
    return Affine("int8", ONE, (zero,))


def codebook(entries: int, seed: int = 0) -> Codebook:
    table = np.random.default_rng(seed).choice(np.arange(-127, 128), entries, replace=False)
    return Codebook(ONE, table=tuple(sorted(table.tolist())))


ACTIVATIONS: tuple[IntegerEncoding, ...] = (
    BINARY,
    TERNARY,
    POWERS,
    affine(0),
    affine(-128),
    affine(17),
    *(levels(bits) for bits in range(2, 9)),
    *(levels(bits, True) for bits in range(2, 9)),
)
WEIGHTS: tuple[IntegerEncoding, ...] = (
    BINARY,
    TERNARY,
    POWERS,
    INT8,
    codebook(4),
    codebook(16),
    codebook(64),
    *(levels(bits, True) for bits in range(2, 9)),
    *(levels(bits) for bits in (2, 4)),
)
OUTPUTS: tuple[Encoding, ...] = (
    BINARY,
    affine(-128),
    affine(3),
    Affine("int16", ONE, (0,)),
    INT32,
    levels(2),
    levels(4),
    levels(3, True),
    levels(7),
    levels(8),
    TERNARY,
)


def random_codes(encoding: Encoding, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Codes over the encoding's whole range, its ends made likely."""
    assert isinstance(encoding, IntegerEncoding)
    low, high = encoding.code_range
    codes = rng.integers(low, high + 1, shape)
    extreme = rng.random(shape)
    codes = np.where(extreme < 0.05, low, np.where(extreme > 0.95, high, codes))
    return codes.astype(encoding.dtype)


def random_epilogue(
    encoding: Encoding, accumulators: np.ndarray, rng: np.random.Generator, shared: bool = False
) -> Epilogue | None:
    """An epilogue for an output encoding that spreads given accumulators [..., C] over its codes.

    Some channels fall, some are constant.

    Args:
        shared: the same for all channels.
    """
    channels = 1 if shared else accumulators.shape[-1]
    flat = accumulators.reshape(-1, accumulators.shape[-1])
    assert isinstance(encoding, IntegerEncoding)
    low, high = encoding.code_range
    if encoding == INT32 and rng.random() < 0.5:
        return None
    sign = rng.choice([1, 1, -1], channels)
    if low == 0 and high <= 15:
        rows = []
        for c in range(channels):
            known = flat.reshape(-1) if shared else flat[:, c]
            steps = np.sort(rng.choice(sign[c] * known, high))
            if rng.random() < 0.1:
                steps[:] = rng.choice([-(2**31), 2**31])
            rows.append(tuple(steps.tolist()))
        return Threshold(tuple(rows), tuple(sign.tolist()))
    largest = max(int(np.abs(accumulators).max()), 1)
    low, high = max(low, -(2**15)), min(high, 2**15 - 1)
    shift = rng.integers(20, 40, channels)
    factor = rng.uniform(0.4, 1.5, channels) * min(high - low, 2**14) / largest / 2
    limit = np.floor(np.log2((2**31 - 1) / np.maximum(factor, 1e-9))).astype(np.int64)
    shift = np.minimum(shift, np.clip(limit, 0, 62))
    multiplier = np.clip(np.round(factor * 2.0**shift), -(2**31), 2**31 - 1).astype(np.int64) * sign
    centre = (low + high + 1) // 2 if rng.random() < 0.7 else int(rng.integers(low, high + 1))
    offset = (np.int64(centre) << shift) + (np.int64(1) << np.maximum(shift - 1, 0))
    bounds = np.sort(rng.integers(low, high + 1, (2, channels)), axis=0)
    floor, ceiling = (tuple(row.tolist()) if rng.random() < 0.3 else () for row in bounds)
    if accumulators.shape[-1] != channels:
        floor, ceiling = (), ()
    return Rescale(tuple(multiplier.tolist()), tuple(offset.tolist()), tuple(shift.tolist()), low, high, floor, ceiling)


@dataclass(frozen=True, eq=False)
class Layer:
    """A graph of one layer, and inputs for it."""

    graph: Graph
    feeds: Sequence[Sequence[np.ndarray]]


def _layer(
    name: str, x: Tensor, constants: Sequence[Tensor], op: Op, output: Encoding, rng: np.random.Generator
) -> Layer:
    """The layer with its output's shape, validated, and two random inputs."""
    y = Tensor("y", (1,), output)
    tensors = {t.name: t for t in (x, *constants, y)}
    draft = Graph(name, tensors, (op,), ("x",), ("y",))
    shape = op.infer_shapes(draft.node(op))[0]
    graph = Graph(name, {**tensors, "y": Tensor("y", shape, output)}, (op,), ("x",), ("y",))
    graph.validate()
    return Layer(graph, [[random_codes(x.encoding, x.shape, rng)] for _ in range(2)])


def _accumulators(x: Tensor, constants: Sequence[Tensor], bare: Op, rng: np.random.Generator) -> np.ndarray:
    """Accumulators of a random input."""
    layer = _layer("draft", x, constants, bare, INT32, rng)
    node = layer.graph.node(bare)
    return bare.evaluate(node, [layer.feeds[0][0], *[t.data for t in constants if t.data is not None]])[0]


def conv(
    name: str,
    image: Shape,
    filters: int,
    kernel: tuple[int, int],
    *,
    x: IntegerEncoding,
    w: IntegerEncoding,
    y: Encoding,
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    same: bool = True,
    columns: tuple[int, int] | None = None,
    groups: int = 1,
    scaled: bool = False,
    shared: bool = False,
    zeros: float = 0.0,
    seed: int = 0,
    weights: np.ndarray | None = None,
) -> Layer:
    """A convolution of [H, W, C] with random weights, or the codes given.

    Args:
        columns: padding beside the input, instead of what `same` says.
        scaled: with kernel scales of 8 bits.
        shared: one epilogue for all channels.
        zeros: share of the weights that are set to the code of zero (Ternary, PowerOfTwo, int8).
    """
    rng = np.random.default_rng([seed, *image, filters, *kernel])
    shape = (filters, *kernel, image[2] // groups)
    source = Tensor("x", (1, *image), x)
    codes = random_codes(w, shape, rng) if weights is None else weights
    codes = np.where(rng.random(shape) < zeros, 0, codes).astype(codes.dtype)
    constants = [Tensor("w", shape, w, codes), *_scales(shape, scaled, rng)]
    arguments = {
        "name": "layer",
        "inputs": (source.name, "w", *("", "scales") * scaled),
        "outputs": ("y",),
        "padding": Padding.SAME if same else Padding.VALID,
        "stride": stride,
        "dilation": dilation,
        "column_padding": columns,
    }
    accumulators = _accumulators(source, constants, Conv2D(**arguments, epilogue=None), rng)
    op = Conv2D(**arguments, epilogue=random_epilogue(y, accumulators, rng, shared))
    return _layer(name, source, constants, op, y, rng)


def dense(
    name: str,
    source: Shape,
    outputs: int,
    *,
    x: IntegerEncoding,
    w: IntegerEncoding,
    y: Encoding,
    scaled: bool = False,
    shared: bool = False,
    zeros: float = 0.0,
    masked: np.ndarray | None = None,
    seed: int = 0,
) -> Layer:
    """A dense layer on an input of any shape, taken as one row; where `masked` is false weights have code 0."""
    rng = np.random.default_rng([seed, *source, outputs])
    shape = (outputs, int(np.prod(source)))
    tensor = Tensor("x", (1, *source), x)
    codes = random_codes(w, shape, rng)
    codes = np.where(rng.random(shape) < zeros, 0, codes).astype(codes.dtype)
    codes = codes if masked is None else np.where(masked, codes, 0).astype(codes.dtype)
    constants = [Tensor("w", shape, w, codes), *_scales(shape, scaled, rng)]
    arguments = {"name": "layer", "inputs": (tensor.name, "w", *("", "scales") * scaled), "outputs": ("y",)}
    accumulators = _accumulators(tensor, constants, FullyConnected(**arguments, epilogue=None), rng)
    op = FullyConnected(**arguments, epilogue=random_epilogue(y, accumulators, rng, shared))
    return _layer(name, tensor, constants, op, y, rng)


def _scales(shape: Shape, scaled: bool, rng: np.random.Generator) -> list[Tensor]:
    if not scaled:
        return []
    data = rng.integers(0, 256, (shape[0], shape[-1])).astype(np.uint16)
    return [Tensor("scales", data.shape, Affine("uint16", ONE, (0,)), data)]


def max_pool(
    name: str,
    image: Shape,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    *,
    x: IntegerEncoding,
    same: bool = False,
    sign: str = "mixed",
    seed: int = 0,
) -> Layer:
    """A pool with signs "rising", "falling" or "mixed"."""
    rng = np.random.default_rng([seed, *image, *kernel])
    signs = {"rising": (1,), "falling": (-1,), "mixed": tuple(rng.choice([1, -1], image[2]).tolist())}[sign]
    op = MaxPool2D(
        name="layer",
        inputs=("x",),
        outputs=("y",),
        padding=Padding.SAME if same else Padding.VALID,
        kernel=kernel,
        stride=stride,
        sign=signs,
    )
    return _layer(name, Tensor("x", (1, *image), x), [], op, x, rng)


def sum_pool(
    name: str,
    image: Shape,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    *,
    x: IntegerEncoding,
    y: Encoding,
    same: bool = False,
    seed: int = 0,
) -> Layer:
    rng = np.random.default_rng([seed, *image, *kernel])
    source = Tensor("x", (1, *image), x)
    arguments: dict[str, Any] = {
        "name": "layer",
        "inputs": ("x",),
        "outputs": ("y",),
        "kernel": kernel,
        "stride": stride,
        "padding": Padding.SAME if same else Padding.VALID,
    }
    accumulators = _accumulators(source, [], AveragePool2D(**arguments, epilogue=None), rng)
    op = AveragePool2D(**arguments, epilogue=random_epilogue(y, accumulators, rng))
    return _layer(name, source, [], op, y, rng)


def requantize(name: str, shape: Shape, *, x: IntegerEncoding, y: Encoding, seed: int = 0) -> Layer:
    rng = np.random.default_rng([seed, *shape])
    source = Tensor("x", (1, *shape), x)
    integers = x.integers(random_codes(x, source.shape, rng)) if x != INT32 else rng.integers(-999, 999, source.shape)
    epilogue = random_epilogue(y, integers, rng) or Threshold(((0,),))
    op = Requantize(name="layer", inputs=("x",), outputs=("y",), epilogue=epilogue)
    layer = _layer(name, source, [], op, y, rng)
    if x == INT32:
        return Layer(layer.graph, [[rng.integers(-999, 999, source.shape).astype(np.int32)] for _ in range(2)])
    return layer


def add(
    name: str,
    shape: Shape,
    *,
    a: IntegerEncoding,
    b: IntegerEncoding,
    y: Encoding,
    shared: bool = False,
    shifted: bool = False,
    seed: int = 0,
) -> Layer:
    """A sum of two inputs; int32 operands take the sum beyond 32 bits now and then.

    Args:
        shared: one factor for all channels.
        shifted: factors of 31 bits or more, and shifts.
    """
    rng = np.random.default_rng([seed, *shape])
    count = 1 if shared else shape[-1]
    operands = [Tensor(n, (1, *shape), encoding) for n, encoding in (("x", a), ("z", b))]
    factors = []
    for tensor in operands:
        known = 2**15 if tensor.encoding == INT32 else largest_integer(tensor.encoding)
        limit = 2**60 // max(known, 2**12) if shifted else max(1, min(2**16, (2**29) // known))
        factors.append(tuple(int(f) for f in rng.integers(-limit, limit + 1, count)))
    feeds = [[_wide(tensor, rng) for tensor in operands] for _ in range(2)]
    arguments: dict[str, Any] = {
        "name": "layer",
        "inputs": ("x", "z"),
        "outputs": ("y",),
        "first": factors[0],
        "second": factors[1],
    }
    if shifted:
        arguments["shift"] = tuple(int(s) for s in rng.integers(10, 32, count))
    draft = {t.name: t for t in (*operands, Tensor("y", (1, *shape), INT32))}
    bare = IntegerAdd(**arguments)
    sums = bare.evaluate(Graph(name, draft, (bare,), ("x", "z"), ("y",)).node(bare), feeds[0])[0]
    op = IntegerAdd(**arguments, epilogue=random_epilogue(y, sums, rng))
    graph = Graph(name, {**draft, "y": Tensor("y", (1, *shape), y)}, (op,), ("x", "z"), ("y",))
    graph.validate()
    return Layer(graph, feeds)


def _wide(tensor: Tensor, rng: np.random.Generator) -> np.ndarray:
    """Codes; of int32 mostly small ones, and some extreme."""
    codes = random_codes(tensor.encoding, tensor.shape, rng)
    if tensor.encoding != INT32:
        return codes
    return np.where(rng.random(codes.shape) < 0.9, codes >> 17, codes).astype(np.int32)
