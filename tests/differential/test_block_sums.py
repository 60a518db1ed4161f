"""Sums of integer codes on each block of a convolution's outputs, against what the two operators mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tests.differential.test_integer_add import INT16
from tests.support import integer_layers as layers
from tests.support.arena import run_in_arena
from tests.support.integer_layers import BINARY, INT8, INT32, TERNARY, Layer, affine, levels
from tests.support.shares import one_in
from tests.support.variants import DSP, check_variants
from tinygen.ir.encodings import IntegerEncoding
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.conv_2d_add import Conv2DAdd
from tinygen.lowering import fuse as fusing
from tinygen.lowering.fuse import fuse
from tinygen.lowering.lower import lower
from tinygen.lowering.scratch_search import Prefer
from tinygen.targets.bare_cores import bare_cores

DUAL = (*DSP, "dual-issue")
SCALAR = {"esp32c3-core": ("c99", "scalar", "rv32"), "cortex-m0plus": ("c99", "scalar", "armv6m")}
CODES: tuple[IntegerEncoding, ...] = (levels(4), levels(2), INT8, affine(-128), TERNARY, levels(2, True))
WEIGHTS: tuple[IntegerEncoding, ...] = (levels(4, True), levels(2, True), INT8, TERNARY)
OTHERS: tuple[IntegerEncoding, ...] = (INT32, INT8, levels(4), BINARY, INT16, levels(2))
OUTPUTS: tuple[IntegerEncoding, ...] = (levels(4), INT8, levels(2), BINARY, INT32)


@pytest.fixture(autouse=True)
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Joined whether it pays or not."""
    monkeypatch.setattr(fusing, "_CLOSE", 1e9)
    monkeypatch.setattr(fusing, "_LARGE", 0.0)


def summed(layer: Layer, other: IntegerEncoding, y: IntegerEncoding, *, turned: bool, shifted: bool) -> Layer:
    """A convolution's output plus an input."""
    (convolution,), before = layer.graph.ops, layer.graph.tensors
    between = replace(before["y"], name="between")
    assert isinstance(between.encoding, IntegerEncoding)
    sums = layers.add("sum", between.shape[1:], a=between.encoding, b=other, y=y, shifted=shifted, seed=len(before))
    (add,) = sums.graph.ops
    add = replace(add, name="sum", inputs=("between", "z"))
    if turned:
        add = replace(add, inputs=("z", "between"), first=add.second, second=add.first)  # type: ignore[call-arg, attr-defined]
    tensors = {
        **{name: tensor for name, tensor in before.items() if name != "y"},
        "between": between,
        **{name: sums.graph.tensors[name] for name in ("z", "y")},
    }
    graph = Graph(layer.graph.name, tensors, (replace(convolution, outputs=("between",)), add), ("x", "z"), ("y",))
    graph.validate()
    return Layer(graph, [[mine[0], theirs[1]] for mine, theirs in zip(layer.feeds, sums.feeds, strict=True)])


def drawn(count: int, seed: int) -> Iterator[Layer]:
    rng = np.random.default_rng(seed)
    for i in range(count):
        layer = layers.conv(
            f"b{seed}_{i}",
            (int(rng.integers(4, 9)), int(rng.integers(4, 11)), int(rng.choice([3, 4, 8, 17]))),
            int(rng.choice([1, 4, 6, 8, 35])),
            ((1, 1), (3, 3), (2, 3))[i % 3],
            x=CODES[i % len(CODES)],
            w=WEIGHTS[int(rng.integers(len(WEIGHTS)))],
            y=(INT32, INT32, INT8, levels(8))[int(rng.integers(4))],
            stride=(1, 1) if i % 3 == 0 else (int(rng.integers(1, 3)), int(rng.integers(1, 3))),
            same=bool(rng.random() < 0.6),
            seed=i,
        )
        other, y = (kinds[int(rng.integers(len(kinds)))] for kinds in (OTHERS, OUTPUTS))
        yield summed(layer, other, y, turned=i % 2 == 1, shifted=i % 5 == 4)


def check(found: list[Layer], **options: object) -> None:
    check_variants([one.graph for one in found], [one.feeds for one in found], **options)  # type: ignore[arg-type]


def joined(graph: Graph, isa: tuple[str, ...]) -> bool:
    return any(isinstance(op, Conv2DAdd) for op in fuse(graph, "tinygen", isa).ops)


@one_in(3)
def test_drawn_layers(every: int) -> None:
    found = list(drawn(30, 1))[::every]
    assert all(joined(layer.graph, DUAL) for layer in found)
    check(found, most=2, in_turn=True)


@pytest.mark.parametrize("core", SCALAR)
@one_in(3)
def test_cores_without_simd(every: int, core: str) -> None:
    isa = SCALAR[core]
    found = list(drawn(30, 1))[1::every]
    assert all(joined(layer.graph, isa) for layer in found)
    check(found, most=2, isa=isa, cores=((bare_cores()[core], isa),))


def residual() -> tuple[Graph, list[list[np.ndarray]]]:
    """A network with a residual block of 4 bits, and its inputs."""
    kinds = {"x": levels(4), "w": levels(4, True)}
    first = layers.conv("first", (12, 12, 16), 16, (3, 3), **kinds, y=levels(4), seed=1)
    middle = layers.conv("middle", (12, 12, 16), 16, (3, 3), **kinds, y=levels(4), seed=4)
    second = layers.conv("net", (12, 12, 16), 16, (3, 3), **kinds, y=INT32, seed=2)
    block = summed(second, levels(4), levels(4), turned=False, shifted=False)
    last = layers.conv("last", (12, 12, 16), 4, (1, 1), **kinds, y=INT8, seed=3)
    return chained(first.graph, middle.graph, block.graph, last.graph), first.feeds


@pytest.mark.parametrize("isa", [DUAL, *SCALAR.values()], ids=lambda isa: isa[-1])
def test_packed_codes_in_place(isa: tuple[str, ...]) -> None:
    """In the smallest arena the sum is written over the other operand."""
    graph, feeds = residual()
    program = lower(graph, isa=isa, prefer=Prefer.RAM)
    (step,) = (step for step in program.steps if isinstance(step.node.op, Conv2DAdd))
    assert step.node.input(3).code_bits == step.node.output.code_bits == 4
    assert program.offsets[step.node.input(3).name] == program.offsets[step.node.output.name]
    for feed in feeds:
        want, got = evaluate(graph, feed), run_in_arena(program, feed)
        assert all(np.array_equal(*pair) for pair in zip(want, got, strict=True))


def test_joined_where_it_pays_and_decides_the_arena(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, _ = residual()
    for share, slower, wanted in ((0.5, 1.2, True), (0.5, 0.5, False), (1.01, 1.2, False)):
        monkeypatch.setattr(fusing, "_LARGE", share)
        monkeypatch.setattr(fusing, "_CLOSE", slower)
        assert joined(graph, DUAL) == wanted


def chained(first: Graph, middle: Graph, block: Graph, last: Graph) -> Graph:
    """A residual network: `block` adds what `first` gives."""
    parts = (
        (first, "a", {"y": "a"}),
        (middle, "m", {"x": "a", "y": "m"}),
        (block, "b", {"x": "m", "z": "a", "y": "b"}),
        (last, "c", {"x": "b"}),
    )
    tensors, ops = {}, []
    for graph, mark, same in parts:
        names = {name: same.get(name, name if name == "x" else mark + name) for name in graph.tensors}
        tensors |= {new: replace(graph.tensors[old], name=new) for old, new in names.items()}
        for op in graph.ops:
            inputs, outputs = ([names.get(name, name) for name in group] for group in (op.inputs, op.outputs))
            ops.append(replace(op, name=f"{mark}_{op.name}", inputs=tuple(inputs), outputs=tuple(outputs)))
    return Graph("net", tensors, tuple(ops), ("x",), ("cy",))


def test_layers_with_kernel_scales_are_left() -> None:
    """Their scales are the operand that the sum would be."""
    kinds = {"x": levels(4), "w": levels(4, True), "y": INT32}
    for scaled in (False, True):
        layer = layers.conv("scaled", (5, 6, 8), 8, (3, 3), **kinds, scaled=scaled, seed=3)
        found = summed(layer, INT8, INT8, turned=False, shifted=False)
        assert joined(found.graph, DUAL) != scaled
        check([found], most=1)
