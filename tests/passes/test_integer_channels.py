"""Channels that leave layers on integer codes: networks with dead filters and inputs mean the same without them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.cases import draws
from tests.support.integer_layers import BINARY, INT8, INT32, TERNARY, affine, levels, random_codes, random_epilogue
from tests.support.variants import check_variants
from tinygen.ir.encodings import Encoding, IntegerEncoding
from tinygen.ir.epilogue import Rescale, Threshold
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate, evaluate_all
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.integer_add import IntegerAdd
from tinygen.ir.ops.pool_2d import AveragePool2D, MaxPool2D
from tinygen.ir.ops.requantize import Requantize
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.ops.window import Padding
from tinygen.ir.tensor import Tensor
from tinygen.passes.integer_channels import moved
from tinygen.passes.pipeline import simplify
from tinygen.passes.ranges import channel_ranges
from tinygen.passes.remove_channels import remove_channels

CODES: tuple[IntegerEncoding, ...] = (
    levels(2),
    levels(4),
    levels(8),
    levels(3, True),
    affine(-128),
    affine(4),
    TERNARY,
    BINARY,
)


class Builder:
    """A graph that grows by one operator at a time; epilogues spread the accumulators of one random sample."""

    def __init__(self, rng: np.random.Generator, x: IntegerEncoding, shape: tuple[int, ...]) -> None:
        self.rng = rng
        self.tensors = {"x": Tensor("x", (1, *shape), x)}
        self.ops: list[Op] = []
        self.sample = {"x": random_codes(x, (1, *shape), rng)}

    def add(self, op: Op, y: Encoding) -> str:
        """The operator, which has an epilogue unless its output is int32 or that of its input."""
        name = op.outputs[0]
        node = self._node(op, Tensor(name, (1,), INT32))
        shape = op.infer_shapes(node)[0]
        if hasattr(op, "epilogue") and y != INT32:
            integers = (
                node.input(0).integer.integers(self.sample[op.inputs[0]])
                if isinstance(op, Requantize)
                else self._value(op, Tensor(name, shape, INT32))
            )
            epilogue = random_epilogue(y, integers, self.rng, shared=bool(self.rng.random() < 0.2))
            assert epilogue is not None
            op = replace(op, epilogue=epilogue)  # type: ignore[call-arg]
        self.tensors[name] = Tensor(name, shape, y)
        self.sample[name] = self._value(op, self.tensors[name])
        self.ops.append(op)
        return name

    def constant(self, shape: tuple[int, ...], encoding: IntegerEncoding, kept: np.ndarray) -> str:
        name = f"w{len(self.tensors)}"
        data = np.where(kept, random_codes(encoding, shape, self.rng), 0).astype(encoding.dtype)
        self.tensors[name] = Tensor(name, shape, encoding, data)
        return name

    def _node(self, op: Op, y: Tensor):  # type: ignore[no-untyped-def]
        return Graph("draft", {**self.tensors, y.name: y}, (op,), ("x",), (y.name,)).node(op)

    def _value(self, op: Op, y: Tensor) -> np.ndarray:
        node = self._node(op, y)
        values = [self.tensors[n].data if self.tensors[n].is_constant else self.sample[n] for n in op.inputs]
        return op.evaluate(node, [v for v in values if v is not None])[0]

    def graph(self) -> Graph:
        graph = Graph("net", self.tensors, tuple(self.ops), ("x",), self.ops[-1].outputs)
        graph.validate()
        return graph


def masks(rng: np.random.Generator, filters: int, window: tuple[int, ...], depth: int) -> np.ndarray:
    """Kept weights: some filters and some inputs are dead, and kernels here and there."""
    kept = rng.random((filters, *[1] * len(window), depth)) < 0.7
    kept &= rng.random((filters, *[1] * len(window), 1)) < 0.7
    kept &= rng.random(depth) < 0.7
    return np.broadcast_to(kept, (filters, *window, depth))


def random_network(rng: np.random.Generator, layers: int) -> Graph:
    def some(options: tuple[IntegerEncoding, ...] = CODES) -> IntegerEncoding:
        return options[int(rng.integers(len(options)))]

    net = Builder(rng, some(), (int(rng.integers(3, 6)), int(rng.integers(3, 6)), int(rng.integers(2, 6))))
    name = "x"

    def conv(source: str, filters: int, y: Encoding, stride: int = 1) -> str:
        depth = net.tensors[source].shape[3]
        window = tuple(int(n) for n in rng.integers(1, 4, 2))
        grouped = depth > 1 and filters % depth == 0 and rng.random() < 0.2
        mask = masks(rng, filters, window, 1 if grouped else depth)
        weights = net.constant(mask.shape, (INT8, TERNARY)[int(rng.integers(2))], mask)
        same = Padding.SAME if rng.random() < 0.5 or min(net.tensors[source].shape[1:3]) < 3 else Padding.VALID
        output = f"c{len(net.tensors)}"
        place = {"inputs": (source, weights), "padding": same, "stride": (stride, stride)}
        return net.add(Conv2D(name=output, outputs=(output,), epilogue=None, **place), y)

    for _ in range(layers):
        channels = net.tensors[name].shape[3]
        output, kind = f"t{len(net.tensors)}", int(rng.integers(6))
        common = {"name": output, "outputs": (output,)}
        if kind == 0:
            sign = tuple(rng.choice([1, -1], channels).tolist())
            op: Op = MaxPool2D(**common, inputs=(name,), padding=Padding.SAME, kernel=(2, 2), stride=(1, 1), sign=sign)  # type: ignore[arg-type]
            name = net.add(op, net.tensors[name].encoding)
        elif kind == 1:
            padding = Padding.SAME if rng.random() < 0.5 else Padding.VALID
            window = {"padding": padding, "kernel": (1, 2), "stride": (1, 1)}
            op = AveragePool2D(**common, **window, inputs=(name,), epilogue=None)  # type: ignore[arg-type]
            name = net.add(op, some()) if net.tensors[name].shape[2] > 2 else name
        elif kind == 2:
            name = net.add(Requantize(**common, inputs=(name,), epilogue=Threshold(((0,),))), some())  # type: ignore[arg-type]
        elif kind == 3:
            a, b = (conv(name, 6, y) for y in (some(), some()))
            if net.tensors[a].shape == net.tensors[b].shape:
                factors = [tuple(int(f) for f in rng.integers(-99, 99, 6)) for _ in range(2)]
                name = net.add(IntegerAdd(**common, inputs=(a, b), first=factors[0], second=factors[1]), some())  # type: ignore[arg-type]
        else:
            name = conv(name, int(rng.integers(1, 9)), some())
    size = int(np.prod(net.tensors[name].shape))
    whole = net.tensors[name].encoding != BINARY
    if whole and rng.random() < 0.5:
        net.add(Reshape(name="flat", inputs=(name,), outputs=("flat",), shape=(1, size)), net.tensors[name].encoding)
        name = "flat"
    depth = size
    weights = net.constant((5, depth), INT8, masks(rng, 5, (), depth))
    net.add(
        FullyConnected(name="dense", inputs=(name, weights), outputs=("dense",), epilogue=None),
        some() if rng.random() < 0.7 else INT32,
    )
    return net.graph()


def feeds(graph: Graph, rng: np.random.Generator) -> list[list[np.ndarray]]:
    x = graph.tensors["x"]
    low, high = x.integer.code_range
    ends = [np.full(x.shape, code, x.dtype) for code in (low, high)]
    return [[codes] for codes in (*ends, *(random_codes(x.encoding, x.shape, rng) for _ in range(3)))]


@pytest.mark.parametrize("multiple", [1, 4])
def test_means_the_same(multiple: int) -> None:
    for draw in draws("dead channels", 60):
        rng = draw.rng
        graph = random_network(rng, draw.integer(1, 5))
        after = remove_channels(graph, multiple)
        after.validate()
        assert simplify(graph).inputs == graph.inputs
        for sample in feeds(graph, rng):
            want = evaluate(graph, sample)[0]
            assert np.array_equal(want, evaluate(after, sample)[0])
            assert np.array_equal(want, evaluate(simplify(graph), sample)[0])


def test_no_code_leaves_its_range() -> None:
    for draw in draws("ranges of codes", 60):
        rng = draw.rng
        graph = random_network(rng, draw.integer(1, 5))
        ranges = channel_ranges(graph)
        for sample in feeds(graph, rng):
            values = evaluate_all(graph, sample)
            for name, known in ranges.items():
                assert (values[name] >= known.low).all() and (values[name] <= known.high).all(), name


def chain(padding: Padding, code: int) -> Graph:
    """Two convolutions; filters 1 and 3 of the first are zero, input 2 of the second is read by nobody."""
    rng = np.random.default_rng(5)
    first = rng.integers(1, 100, (6, 1, 1, 3)).astype(np.int8)
    first[[1, 3]] = 0
    second = rng.integers(1, 100, (4, 3, 3, 6)).astype(np.int8)
    second[..., 2] = 0
    tensors = [
        Tensor("x", (1, 5, 5, 3), affine(0)),
        Tensor("w1", first.shape, INT8, first),
        Tensor("a", (1, 5, 5, 6), affine(0)),
        Tensor("w2", second.shape, INT8, second),
        Tensor("y", (1, *[5 if padding is Padding.SAME else 3] * 2, 4), affine(0)),
    ]
    half = 1 << 9
    ops = (
        Conv2D(
            name="one",
            inputs=("x", "w1"),
            outputs=("a",),
            padding=Padding.VALID,
            stride=(1, 1),
            epilogue=Rescale((3,), (half + (code << 10),), (10,), -128, 127),
        ),
        Conv2D(
            name="two",
            inputs=("a", "w2"),
            outputs=("y",),
            padding=padding,
            stride=(1, 1),
            epilogue=Rescale((1,), (half,), (10,), -128, 127),
        ),
    )
    return Graph("chain", {t.name: t for t in tensors}, ops, ("x",), ("y",))


@pytest.mark.parametrize(
    ("padding", "code", "kept"), [(Padding.VALID, 7, 3), (Padding.SAME, 7, 5), (Padding.SAME, 0, 3)]
)
def test_constant_and_unread_channels(padding: Padding, code: int, kept: int) -> None:
    """A constant fills the window everywhere, or it is 0; a padded border would show another one."""
    graph = chain(padding, code)
    after = remove_channels(graph)
    assert after.node(after.ops[0]).output.shape[3] == kept
    assert after.node(after.ops[1]).input(1).shape == (4, 3, 3, kept)
    rng = np.random.default_rng(1)
    for sample in feeds(graph, rng):
        assert np.array_equal(evaluate(graph, sample)[0], evaluate(after, sample)[0])


def test_moved_thresholds() -> None:
    """Never and always stay; others move, and stop at the ends."""
    given_ = Threshold(((-(2**31), 5, 2**31), (-7, 0, 7)), (1, -1))
    assert moved(given_, np.array([3, 4])) == Threshold(((-(2**31), 2, 2**31), (-3, 4, 11)), (1, -1))
    assert moved(given_, np.array([0, 0])) is given_
    assert moved(Threshold(((2**31 - 5,),)), np.array([-9])) == Threshold(((2**31,),))


def test_the_c_as_well() -> None:
    rng = np.random.default_rng(8)
    graphs = [replace(simplify(random_network(rng, 3)), name=f"n{i}") for i in range(8)]
    check_variants(graphs, [feeds(graph, rng) for graph in graphs], most=1, cores=())
