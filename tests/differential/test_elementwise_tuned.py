"""Tuned kernels of two operands, of PRELU and of bilinear resizing, with and without SIMD, on shapes hard for them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import numpy as np
import pytest

from tests.differential.test_scalar import BUILDS, ESP32C3, M0PLUS
from tests.support.board_batch import M7
from tests.support.variants import Feeds, check_variants
from tinygen.ir.encodings import Affine
from tinygen.ir.fixed_point import Activation
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.binary import Add, Maximum, Minimum, Mul, Sub
from tinygen.ir.ops.prelu import Prelu
from tinygen.ir.ops.resize import ResizeBilinear
from tinygen.ir.tensor import Shape, Tensor
from tinygen.lowering.select import choose
from tinygen.targets.board import Board

Case = tuple[Graph, Feeds]
NAMES: dict[str, Any] = {"name": "op", "inputs": ("a", "b"), "outputs": ("y",)}
# Whole words and what is left of them, one operand broadcast, either of one element in the innermost loop.
SHAPES: list[tuple[Shape, Shape]] = [
    ((1, 3, 2, 8), (1, 3, 2, 8)),
    ((1, 3, 5, 7), (1, 3, 5, 7)),
    ((2, 3, 4), (2, 3, 1)),
    ((1, 1, 5, 1), (1, 4, 1, 6)),
    ((1, 4, 3, 4), (1, 1, 1, 4)),
    ((1, 3), (1, 3)),
    ((1, 1), (1, 1)),
    ((1, 2, 2, 12), (1, 1, 2, 12)),
]


def _feeds(rng: np.random.Generator, tensors: list[Tensor]) -> Feeds:
    """Arbitrary codes, and the ends of their range in all four pairs."""
    info = np.iinfo(tensors[0].dtype)
    arbitrary = [[rng.integers(info.min, info.max + 1, t.shape).astype(t.dtype) for t in tensors] for _ in range(3)]
    ends = [
        [np.full(t.shape, pair[i % 2], t.dtype) for i, t in enumerate(tensors)]
        for pair in ((info.min, info.min), (info.max, info.min), (info.min, info.max), (info.max, info.max))
    ]
    return [*arbitrary, *ends]


def _graph(op: Op, tensors: list[Tensor], number: int) -> Case:
    """The tensors are the operands, in order, and the output."""
    rng = np.random.default_rng(number)
    given = [tensor for tensor in tensors[:-1] if not tensor.is_constant]
    graph = Graph(f"m{number}", {t.name: t for t in tensors}, (op,), tuple(t.name for t in given), ("y",))
    graph.validate()
    return graph, _feeds(rng, given)


def _tensors(shapes: tuple[Shape, Shape], kind: str, scales: tuple[float, ...], zeros: tuple[int, ...]) -> list[Tensor]:
    out = np.broadcast_shapes(*shapes)
    rows = zip("aby", (*shapes, out), scales, zeros, strict=True)
    return [Tensor(name, shape, Affine(kind, (float(np.float32(s)),), (z,))) for name, shape, s, z in rows]


def of_16_bits() -> Iterator[Case]:
    """Operands of like scales, of one that is hardly seen beside the other, of an output that saturates."""
    scales = cycle(
        [(1e-4, 8e-5, 1.5e-4), (3e-6, 2e-3, 2e-3), (2e-3, 1e-7, 1.1e-3), (1e-4, 1e-4, 2e-5), (1e-3, 5e-4, 0.9)]
    )
    activations = cycle([Activation.NONE, Activation.NONE, Activation.RELU, Activation.RELU_N1_TO_1])
    for number, (shapes, kind) in enumerate((s, k) for k in (Add, Sub, Mul) for s in SHAPES[:5] + SHAPES[6:7]):
        a, b, y = next(scales)
        real = (a, b, a * b * [1.3, 4000.0, 30000.0][number % 3] if kind is Mul else y)
        yield _graph(kind(**NAMES, activation=next(activations)), _tensors(shapes, "int16", real, (0, 0, 0)), number)


def extrema() -> Iterator[Case]:
    for number, (shapes, kind) in enumerate((s, k) for k in (Maximum, Minimum) for s in SHAPES):
        for dtype in ("int8", "int16") if number % 2 else ("int8",):
            tensors = _tensors(shapes, dtype, (0.1,) * 3, (0,) * 3)
            yield _graph(kind(**NAMES), tensors, 100 + 2 * number + (dtype == "int16"))


def prelus() -> Iterator[Case]:
    """Alpha of a channel, of each element, of all; positive and negative ones, and such as are nearly 0."""
    for number, (shape, alpha) in enumerate(
        [
            ((1, 3, 4, 8), (1, 1, 8)),
            ((1, 2, 3, 5), (1, 1, 5)),
            ((1, 2, 3, 5), (2, 3, 5)),
            ((1, 4, 3, 3), (1, 1, 1)),
            ((1, 1, 1, 1), (1, 1, 1)),
        ]
    ):
        codes = np.random.default_rng(number).integers(-128, 128, alpha).astype(np.int8)
        for turn, (x_zero, y_zero, ratio) in enumerate([(-7, 4, 1.2), (-128, 127, 0.6), (127, -128, 3.0), (0, 0, 0.7)]):
            x, y = (0.05, 0.05 * ratio)
            encodings = [
                Affine("int8", (float(np.float32(s)),), (z,)) for s, z in ((x, x_zero), (0.01, 3), (y, y_zero))
            ]
            tensors = [
                Tensor("a", shape, encodings[0]),
                Tensor("b", alpha, encodings[1], codes),
                Tensor("y", shape, encodings[2]),
            ]
            yield _graph(Prelu(**NAMES), tensors, 200 + 4 * number + turn)


def bilinears() -> Iterator[Case]:
    """Twice, four times, half the size; borders where LiteRT's weights are negative; one side as it was."""
    sizes = [
        ((3, 4), (6, 8)),
        ((2, 3), (8, 12)),
        ((8, 6), (4, 3)),
        ((5, 3), (5, 6)),
        ((1, 1), (2, 4)),
        ((4, 4), (16, 16)),
    ]
    for number, (before, after) in enumerate(sizes):
        for half in (False, True):
            op = ResizeBilinear(
                name="op", inputs=("a",), outputs=("y",), size=after, align_corners=False, half_pixel_centers=half
            )
            batch, channels = 1 + number % 2, (4, 12)[number % 2]
            encoding = Affine("int8", (0.1,), (5,))
            x = Tensor("a", (batch, *before, channels), encoding)
            yield _graph(op, [x, Tensor("y", (batch, *after, channels), encoding)], 300 + 2 * number + half)


TUNED = {"16 bits": (18, 18, 18), "extrema": (20, 12, 6), "PRELU": (20, 20, 20), "bilinear": (9, 9, 9)}
"""How many of the cases are, with SIMD, on RISC-V and on Armv6-M."""
ALL = {"16 bits": of_16_bits, "extrema": extrema, "PRELU": prelus, "bilinear": bilinears}


def _chosen(case: Case, isa: tuple[str, ...]) -> str:
    graph = case[0]
    op = graph.ops[0]
    node = Node(op, tuple(graph.tensors[n] for n in op.inputs), (graph.tensors["y"],))
    return choose(node, "tinygen", isa).kernel.family


@pytest.mark.parametrize("name", ALL)
def test_on_the_host(name: str) -> None:
    """The forms of all cores."""
    cases = list(ALL[name]())
    counts = [sum(_chosen(case, ("c99", isa)) == "tinygen" for case in cases) for isa in ("dsp", "rv32", "armv6m")]
    assert tuple(counts) == TUNED[name]
    graphs, feeds = zip(*cases, strict=True)
    assert check_variants(graphs, feeds, isa=("c99", "dsp", "rv32", "armv6m"), cores=[]) >= len(cases)


@pytest.mark.long
@pytest.mark.parametrize(("compiler", "core"), [*BUILDS, ("zig", M7)])
def test_in_the_core(compiler: str, core: Board) -> None:
    isa = core.isa if core in (ESP32C3, M0PLUS) else ("c99", "dsp", "dual-issue")
    cases = [case for make in ALL.values() for case in make()]
    graphs, feeds = zip(*cases, strict=True)
    assert check_variants(graphs, feeds, isa=isa, cores=[(core, isa)], compiler=compiler, host=False) >= len(cases)
