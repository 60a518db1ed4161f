"""Random networks over a window of frames, of every encoding and every way in which time is mixed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tests.support.integer_layers import ACTIVATIONS, INT32, WEIGHTS, random_codes, random_epilogue
from tinygen.ir.encodings import Affine, Binary, Encoding, IntegerEncoding
from tinygen.ir.epilogue import Tflite
from tinygen.ir.fixed_point import Activation
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.binary import Add
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.integer_add import IntegerAdd
from tinygen.ir.ops.integer_mac import LARGEST, largest_integer
from tinygen.ir.ops.movement import Split, StridedSlice
from tinygen.ir.ops.pool_2d import AveragePool2D, MaxPool2D
from tinygen.ir.ops.reduce import Mean
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.ops.unary import Logistic
from tinygen.ir.ops.window import Padding
from tinygen.ir.tensor import Shape, Tensor

LOWBIT = tuple(e for e in ACTIVATIONS if e.code_range != (-128, 127))


class WindowNetwork:
    """A network in the making; `x` is what the next layer reads, [1, frames, width, channels].

    Args:
        rng: decides on weights and encodings.
        shape: of the input.
        encoding: of the input; None for one by chance.
    """

    def __init__(self, rng: np.random.Generator, shape: Shape, encoding: Encoding | None = None) -> None:
        self.rng = rng
        self.tensors: dict[str, Tensor] = {}
        self.values: dict[str, np.ndarray] = {}
        self.ops: list[Op] = []
        encoding = encoding or self.int8()
        self.x = self._tensor("input", shape, encoding)
        self.values[self.x] = random_codes(encoding, shape, rng)

    def graph(self, *outputs: str, name: str = "window") -> Graph:
        """What was made, giving its last tensor or those named."""
        graph = Graph(name, self.tensors, tuple(self.ops), ("input",), outputs or (self.x,))
        graph.validate()
        return graph

    def int8(self) -> Affine:
        return Affine("int8", (0.05,), (int(self.rng.integers(-128, 128)),))

    @property
    def shape(self) -> Shape:
        return self.tensors[self.x].shape

    @property
    def encoding(self) -> Encoding:
        return self.tensors[self.x].encoding

    def add(self, kind: type[Op], inputs: list[str], *encodings: Encoding, **attributes: Any) -> str:
        """Appends an operator; its first output is the new `x`."""
        names = tuple(f"t{len(self.ops)}_{i}" for i in range(len(encodings)))
        op = kind(name=f"op{len(self.ops)}", inputs=tuple(inputs), outputs=names, **attributes)
        drafts = tuple(Tensor(name, (1,), encoding) for name, encoding in zip(names, encodings, strict=True))
        node = Node(op, tuple(self.tensors[name] for name in inputs), drafts)
        tensors = tuple(replace(t, shape=shape) for t, shape in zip(drafts, op.infer_shapes(node), strict=True))
        values = op.evaluate(Node(op, node.inputs, tensors), [self.values[name] for name in inputs])
        self.tensors |= {t.name: t for t in tensors}
        self.values |= dict(zip(names, values, strict=True))
        self.ops.append(op)
        self.x = names[0]
        return self.x

    def constant(self, codes: np.ndarray, encoding: Encoding) -> str:
        name = self._tensor(f"c{len(self.tensors)}", codes.shape, encoding, codes)
        self.values[name] = codes
        return name

    def int8_weights(self, shape: Shape, axis: int) -> list[str]:
        """Weights with a scale per filter, and biases."""
        codes = self.rng.integers(-127, 128, shape).astype(np.int8)
        filters = shape[axis]
        taps = codes.size // filters
        scales = (self.rng.uniform(0.5, 2.0, filters) / (70 * np.sqrt(taps) * 2)).astype(np.float32)
        encoding = Affine("int8", tuple(scales.tolist()), (0,) * filters, axis)
        bias = Affine("int32", tuple((scales * np.float32(0.05)).tolist()), (0,) * filters, 0)
        shifts = self.rng.integers(-500, 500, filters).astype(np.int32)
        return [self.constant(codes, encoding), self.constant(shifts, bias)]

    def conv(self, filters: int, kernel: tuple[int, int], *, same_columns: bool = False, **window: Any) -> None:
        """Of any encoding; `same_columns` pads columns, never frames."""
        columns = (kernel[1] // 2, (kernel[1] - 1) // 2) if same_columns else (0, 0)
        window = {"padding": Padding.VALID, "stride": (1, 1), "row_padding": (0, 0), "column_padding": columns} | window
        shape = (filters, *kernel, self.shape[3])
        if self._is_int8():
            self.add(
                Conv2D, [self.x, *self.int8_weights(shape, 0)], self.int8(), epilogue=Tflite(Activation.RELU), **window
            )
            return
        weights = self._weights(shape)
        self._with_epilogue(Conv2D, [self.x, weights], **window)

    def depthwise(self, kernel: tuple[int, int], output: Encoding | None = None, **window: Any) -> None:
        window = {"padding": Padding.VALID, "stride": (1, 1)} | window
        if not self._is_int8():
            channels = self.shape[3]
            self._with_epilogue(Conv2D, [self.x, self._weights((channels, *kernel, 1))], **window)
            return
        weights = self.int8_weights((1, *kernel, self.shape[3]), 3)
        self.add(DepthwiseConv2D, [self.x, *weights], output or self.int8(), **window)

    def pool(self, kernel: tuple[int, int], stride: tuple[int, int], *, largest: bool) -> None:
        window: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": Padding.VALID}
        if largest or self._is_int8():
            self.add(MaxPool2D if largest else AveragePool2D, [self.x], self.encoding, **window)
        else:
            self._with_epilogue(AveragePool2D, [self.x], **window)

    def last_frames(self, count: int, later: int = 0) -> None:
        """A stretch of frames, with so many behind it that are cut off."""
        shape = self.shape
        begin = (0, shape[1] - count - later, 0, 0)
        self.add(
            StridedSlice,
            [self.x],
            self.encoding,
            begin=begin,
            step=(1,) * 4,
            count=(1, count, *shape[2:]),
            axes=(0, 1, 2, 3),
        )

    def plus(self, other: str) -> None:
        """The sum with a tensor of the same shape."""
        if self._is_int8():
            self.add(Add, [self.x, other], self.int8())
            return
        channels = self.shape[3]
        largest = max(largest_integer(self.tensors[name].encoding) for name in (self.x, other))
        factors = [tuple(self.rng.integers(-9, 10, channels).tolist()) for _ in range(2)]
        assert largest * 18 < LARGEST
        self._with_epilogue(IntegerAdd, [self.x, other], first=factors[0], second=factors[1])

    def beside(self, other: str) -> None:
        """Channels of another tensor behind those of `x`; both of one encoding."""
        self.add(Concatenation, [self.x, other], self.encoding, axis=3)

    def split_channels(self, first: int) -> str:
        """Goes on with the first channels; gives the others."""
        rest = self.shape[3] - first
        self.add(Split, [self.x], self.encoding, self.encoding, axis=3, sizes=(first, rest))
        return self.ops[-1].outputs[1]

    def dense(self, outputs: int) -> None:
        """On all frames, flattened."""
        size = int(np.prod(self.shape))
        if not isinstance(self.encoding, Binary):
            self.add(Reshape, [self.x], self.encoding, shape=(1, size))
        if self._is_int8():
            self.add(FullyConnected, [self.x, *self.int8_weights((outputs, size), 0)], self.int8())
            return
        self._with_epilogue(FullyConnected, [self.x, self._weights((outputs, size))])

    def mean(self) -> None:
        """Over time, and over columns."""
        if self._is_int8():
            self.add(Mean, [self.x], self.int8(), axes=(1, 2), keep_dims=True)
        else:
            self.pool(self.shape[1:3], (1, 1), largest=False)

    def logistic(self) -> None:
        self.add(Logistic, [self.x], Affine("int8", (1 / 256,), (-128,)))

    def _is_int8(self) -> bool:
        return isinstance(self.encoding, Affine)

    def _tensor(self, name: str, shape: Shape, encoding: Encoding, data: np.ndarray | None = None) -> str:
        self.tensors[name] = Tensor(name, tuple(shape), encoding, data)
        return name

    def _weights(self, shape: Shape) -> str:
        encoding = WEIGHTS[self.rng.integers(len(WEIGHTS))]
        return self.constant(random_codes(encoding, shape, self.rng), encoding)

    def _with_epilogue(self, kind: type[Op], inputs: list[str], **attributes: Any) -> None:
        """With an output encoding by chance; bits where channels fill words now and then."""
        options: list[IntegerEncoding] = [e for e in LOWBIT if not isinstance(e, Binary)]
        encoding = options[self.rng.integers(len(options))] if self.rng.random() < 0.7 else Binary((1.0,))
        before = (dict(self.tensors), dict(self.values), list(self.ops), self.x)
        self.add(kind, inputs, INT32, epilogue=None, **attributes)
        accumulators = self.values[self.x]
        self.tensors, self.values, self.ops, self.x = before
        self.add(kind, inputs, encoding, epilogue=random_epilogue(encoding, accumulators, self.rng), **attributes)


def random_window_network(seed: int, *, lowbit: bool) -> Graph:
    """A few blocks that mix time, then a head, all by chance."""
    rng = np.random.default_rng(seed)
    frames, width = int(rng.integers(12, 40)), int(rng.choice([1, 1, 2, 5]))
    encoding = LOWBIT[rng.integers(len(LOWBIT))] if lowbit else None
    net = WindowNetwork(rng, (1, frames, width, int(rng.choice([1, 3, 8]))), encoding)
    for _ in range(int(rng.integers(1, 5))):
        _block(net, rng)
    head = rng.choice(["frames", "dense", "mean", "pool", "both"])
    if head == "frames":
        return net.graph()
    whole = net.x
    if head in ("mean", "both"):
        net.mean()
    elif head == "pool":
        net.pool(net.shape[1:3], (1, 1), largest=True)
    if head != "mean" or not lowbit:
        net.dense(int(rng.integers(1, 5)))
    if not lowbit and rng.random() < 0.5:
        net.logistic()
    return net.graph(net.x, whole) if head == "both" else net.graph()


def _block(net: WindowNetwork, rng: np.random.Generator) -> None:
    frames, width = net.shape[1:3]
    kernel = (int(rng.integers(1, min(frames, 6) + 1)), int(rng.integers(1, min(width, 3) + 1)))
    widest = min((frames - 1) // max(kernel[0] - 1, 1), 3)
    dilation = int(rng.integers(1, widest + 1)) if widest > 1 and rng.random() < 0.3 else 1
    stride = (int(rng.choice([1, 1, 2])), 1)
    filters = int(rng.choice([2, 5, 8, 32]))
    kind = rng.choice(["conv", "depthwise", "pool", "residual", "mixed", "pointwise"])
    lowbit = not isinstance(net.encoding, Affine)
    if kind == "pointwise":
        net.conv(filters, (1, kernel[1]), same_columns=True)
    elif kind == "depthwise":
        net.depthwise(kernel, dilation=(dilation, 1))
    elif kind == "pool" and frames >= 4:
        net.pool((min(kernel[0], frames), 1), stride, largest=bool(rng.random() < 0.5))
    elif kind == "residual" and not isinstance(net.encoding, Binary):
        before = net.x
        net.conv(net.shape[3], (kernel[0], 1))
        after, left = net.x, net.shape[1]
        net.x = before
        net.last_frames(left, int(rng.integers(0, frames - left + 1)))
        net.plus(after)
    elif kind == "mixed" and not lowbit and net.shape[3] > 1:
        rest = net.split_channels(net.shape[3] // 2)
        net.last_frames(frames - kernel[0] + 1)
        net.depthwise((1, 1))
        one, encoding = net.x, net.encoding
        net.x = rest
        net.depthwise((kernel[0], 1), output=encoding)
        net.beside(one)
    else:
        net.conv(filters, kernel, stride=stride, dilation=(1, 1) if stride[0] > 1 else (dilation, 1))
