"""Several products in one multiplication: every pair of encodings that is packed so, on shapes that are hard for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from unittest.mock import patch

import numpy as np
import pytest

from tests.differential.test_coded import recoded
from tests.differential.test_tuned import check, window
from tests.support import integer_layers as layers
from tests.support.board_batch import M4, M4_SOFT, M7
from tests.support.integer_layers import BINARY, INT32, ONE, OUTPUTS, TERNARY, Layer, affine, levels
from tests.support.shares import one_in
from tests.support.variants import DSP, check_variants, tuned
from tests.targets.tools import requires_tool
from tinygen.ir.encodings import Codebook, PowerOfTwo
from tinygen.ir.graph import Graph
from tinygen.lowering.kernels.conv import packed_rows
from tinygen.lowering.kernels.support.activations import packed_layouts
from tinygen.lowering.kernels.support.activations.packed_fields import Fields, Segments, Sums
from tinygen.lowering.kernels.support.activations.packed_layouts import Layout, Task, all_layouts
from tinygen.lowering.plan import KernelPlan
from tinygen.lowering.select import choose
from tinygen.targets.bare_cores import bare_cores

PART = "packed_rows"
LOGARITHMIC = PowerOfTwo(ONE, exponents=4)
SHARED = Codebook(ONE, table=(6, -3, 15, 42))  # multiples of 3 once 0 is among them
ACTIVATIONS = (
    *(levels(bits) for bits in (2, 3, 4, 8)),
    *(levels(bits, True) for bits in (2, 3, 4)),
    TERNARY,
    BINARY,
    affine(-128),
    affine(5),
    affine(127),
    LOGARITHMIC,
    SHARED,
)
WEIGHTS = (
    *(levels(bits, True) for bits in (2, 3, 4)),
    *(levels(bits) for bits in (2, 4)),
    TERNARY,
    BINARY,
    levels(5, True),
    levels(7, True),
    PowerOfTwo(ONE, exponents=3),
    Codebook(ONE, table=(-4, -1, 0, 2)),
    Codebook(ONE, table=(-8192, 0, 12288)),
)


@cache
def drawn(count: int, seed: int) -> list[Layer]:
    """Odd and even sizes; windows longer than a word, in pieces; padding of every kind of code."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        found.append(
            layers.conv(
                f"p{seed}_{i}",
                (int(rng.integers(5, 10)), int(rng.integers(7, 18)), int(rng.choice([1, 3, 4, 5, 8, 17, 33]))),
                int(rng.choice([1, 3, 4, 8, 35])),
                (int(rng.integers(1, 6)), int(rng.integers(1, 8))) if rng.random() < 0.8 else (1, 1),
                x=ACTIVATIONS[i % len(ACTIVATIONS)],
                w=WEIGHTS[int(rng.integers(len(WEIGHTS)))],
                y=OUTPUTS[int(rng.integers(len(OUTPUTS)))],
                stride=(int(rng.integers(1, 3)), int(rng.integers(1, 3))),
                same=bool(rng.random() < 0.6),
                shared=bool(rng.random() < 0.3),
                seed=i,
            )
        )
    return [layer for layer in found if plans(layer.graph)]


def plans(graph: Graph) -> list[KernelPlan]:
    """Of kernels that pack rows."""
    node = graph.node(graph.ops[0])
    return [choice.fastest for choice in tuned(node, PART) if PART in choice.kernel.name]


def _check(found: list[Layer], **options: object) -> int:
    return check_variants([one.graph for one in found], [one.feeds for one in found], part=PART, **options)  # type: ignore[arg-type]


@one_in(3)
def test_drawn_layers(every: int) -> None:
    found = drawn(36, 1)[::every]
    assert len(found) >= 27 // every
    _check(found, most=1, in_turn=True)


SCALAR = {
    "esp32c3-core": ("c99", "scalar", "rv32"),
    "cortex-m0plus": ("c99", "scalar", "armv6m"),
}


@pytest.mark.parametrize("core", SCALAR)
@one_in(3)
def test_cores_without_simd(every: int, core: str) -> None:
    """Products of 64 bits in two halves, or of 32 bits."""
    _check(drawn(36, 1)[1::every], most=1, isa=SCALAR[core], cores=((bare_cores()[core], SCALAR[core]),))


def test_four_operands_of_weights_a_step() -> None:
    """Filters that are no multiple of them; pieces; two filters in an operand."""
    core = "esp32c3-core"
    with patch.object(packed_rows, "RV32", replace(packed_rows.RV32, operands=(4,))):
        found = drawn(36, 1)[2::5]
        node = found[0].graph.node(found[0].graph.ops[0])
        choices = tuned(node, PART, isa=SCALAR[core])
        assert all(plan.context["operands"] == 4 for choice in choices for plan in choice.variants)
        _check(found, most=1, isa=SCALAR[core], cores=((bare_cores()[core], SCALAR[core]),))


@pytest.mark.long
@pytest.mark.parametrize("core", SCALAR)
@pytest.mark.parametrize(
    "compiler",
    ["zig", pytest.param("gcc", marks=(requires_tool("arm-none-eabi-gcc"), requires_tool("riscv64-unknown-elf-gcc")))],
)
def test_many_layers_without_simd(core: str, compiler: str) -> None:
    """Every layer on both cores and by both compilers, but not on each core by each compiler."""
    isa = SCALAR[core]
    found = drawn(36, 5)[(compiler == "gcc") ^ (core == "cortex-m0plus") :: 2]
    _check(found, most=2, isa=isa, cores=((bare_cores()[core], isa),), compiler=compiler, host=False)


@pytest.mark.long
@pytest.mark.parametrize("seed", [2, 3])
def test_many_drawn_layers(seed: int) -> None:
    cores = ((M7, (*DSP, "dual-issue")), (M4, DSP), (M4_SOFT, DSP))
    _check(drawn(36, seed), most=2, cores=cores, in_turn=True, compiler=("zig", "gcc")[seed % 2])


EXTREMES = [
    (levels(2), levels(2, True), (3, 3), 64),
    (levels(4), levels(4, True), (3, 3), 24),
    (levels(4), levels(3, True), (3, 3), 64),
    (affine(-128), TERNARY, (3, 3), 64),
    (affine(-128), levels(2, True), (1, 1), 128),
    (affine(-128), TERNARY, (1, 1), 150),  # the codes of a pixel are added up in two parts
    (TERNARY, BINARY, (5, 5), 16),
    (BINARY, levels(2, True), (3, 3), 64),
    (levels(4, True), levels(4, True), (1, 1), 160),
    (LOGARITHMIC, levels(5, True), (3, 3), 64),
]


def extreme(index: int) -> Layer:
    """Largest codes everywhere, in one filter, by turns; activations all largest, all least, by turns."""
    x, w, kernel, depth = EXTREMES[index]
    low, high = w.code_range
    shape = (4, *kernel, depth)
    weights = np.full(shape, low, w.dtype)
    weights[0], weights[1, ..., ::2], weights[2, :, ::2] = high, high, high
    layer = layers.conv(f"extreme{index}", (5, 9, depth), 4, kernel, x=x, w=w, y=INT32, weights=weights, seed=3)
    least, most = x.code_range
    rows = [np.full((1, 5, 9, depth), code, x.dtype) for code in (least, most)]
    turns = np.where(np.arange(5 * 9 * depth).reshape(1, 5, 9, depth) % 2, least, most).astype(x.dtype)
    return Layer(layer.graph, [[row] for row in (*rows, turns)])


def test_extreme_codes() -> None:
    _check([extreme(index) for index in range(len(EXTREMES))], most=1)


def _longest(depth: int, wanted: bool) -> None:
    """A row of three taps of the largest codes, `depth` deep, in one segment of fields that hold 36 steps."""
    weights = np.zeros((2, 1, 3, depth), np.uint8)
    weights[0], weights[1, 0, 0, 0] = 15, 1  # codes are in steps of what weights have in common
    layer = layers.conv("longest", (2, 8, depth), 2, (1, 3), x=levels(4), w=levels(4), y=INT32, weights=weights)
    one = replace(layer, feeds=[[np.full((1, 2, 8, depth), 15, np.uint8)]])

    def only(sums: Sums, fields: Fields) -> Segments | None:
        there = (fields.pixels, fields.spacing, fields.start) == (2, 14, 4)
        return Segments(-(-depth // 3), 3, 1) if there else None

    with patch.object(packed_layouts, "segments", only):
        if wanted:
            _check([one], most=1)
        else:
            with pytest.raises(AssertionError, match="differ"):
                _check([one], most=1, cores=())
            with pytest.raises(AssertionError, match="differ"):
                _check([one], most=1, host=False, cores=((M7, (*DSP, "dual-issue")),))


def test_as_many_steps_as_fields_hold() -> None:
    """36 x 2 x 15 x 15 = 16,200 < 2^14."""
    _longest(36, True)


def test_one_step_more_is_wrong() -> None:
    """37 steps need 16,650: the test of the bound can fail."""
    _longest(37, False)


@pytest.mark.parametrize("core", SCALAR)
def test_one_pixel_in_a_word(core: str) -> None:
    """More taps than pixels: the first outputs lie behind the first pair of runs; pieces of one tap, two filters."""
    isa = SCALAR[core]
    found = [
        layers.conv(
            "taps", (8, 14, 17), 1, (1, 4), x=levels(2), w=levels(2, True), y=TERNARY, stride=(2, 1), same=False
        ),
        layers.conv("pieces", (6, 9, 5), 9, (4, 3), x=affine(-128), w=levels(2, True), y=TERNARY, same=False),
    ]
    _check(found, isa=isa, cores=((bare_cores()[core], isa),))


def test_edges_of_pieces_with_two_filters() -> None:
    """Padding that is not stored, and windows in pieces of a tap: what sums of both filters of an operand lack."""
    layer = layers.conv("edges", (5, 8, 16), 5, (3, 3), x=BINARY, w=levels(6, True), y=INT32)

    def only(task: Task, least: int) -> Iterator[Layout]:
        found = (one for one in all_layouts(task, least) if one.fields.pixels == one.fields.filters == 2)
        yield next(one for one in found if one.edges)

    with patch.object(packed_rows, "all_layouts", only):
        context = plans(layer.graph)[0].context
        assert context["pieces"] == 3 and context["edges"]
        _check([layer], most=1)


def test_taps_outside_that_no_code_stands_for() -> None:
    """Padding that counts as code 0: what outputs lack, in corners too, with and without rows of sums in memory."""
    kinds = (
        (BINARY, levels(2, True), (3, 3), (1, 1), INT32),
        (BINARY, BINARY, (3, 3), (1, 1), BINARY),
        (levels(2, True), levels(2, True), (5, 4), (1, 2), TERNARY),
        (levels(3, True), TERNARY, (4, 5), (1, 1), INT32),
    )
    found = [
        layers.conv(f"odd{i}", (6, 11, 9), 5, kernel, x=x, w=w, y=y, stride=stride, seed=i)
        for i, (x, w, kernel, stride, y) in enumerate(kinds)
    ]

    def only(task: Task, least: int) -> Iterator[Layout]:
        return (one for one in all_layouts(task, least) if task.codes.odd)

    with patch.object(packed_rows, "all_layouts", only):
        contexts = [plans(layer.graph)[0].context for layer in found]
        assert all(context["odd"] for context in contexts) and not all(context["direct"] for context in contexts)
        _check(found, most=1)


def test_windows_wider_than_the_input() -> None:
    """More outputs than the last pair of runs has: of carries alone, of both runs, or of a pair that there is not."""
    found = [
        layers.conv("beyond", (1, 2, 5), 22, (4, 5), x=BINARY, w=levels(2, True), y=levels(4)),
        layers.conv("carried", (2, 6, 10), 2, (1, 5), x=levels(3, True), w=TERNARY, y=levels(8), columns=(0, 4)),
    ]
    contexts = [plans(layer.graph)[0].context for layer in found]
    assert [context["direct"] for context in contexts] == [False, True]
    _check(found, most=1, cores=())


POINTS = (
    ((5, 5, 17), 6, levels(4), levels(4, True), levels(4)),
    ((1, 3, 8), 5, levels(2), levels(2, True), affine(3)),  # fewer points than a pair of runs
    ((13, 1, 9), 3, affine(-128), TERNARY, affine(5)),
    ((7, 6, 33), 35, BINARY, levels(2, True), BINARY),
    ((3, 9, 8), 9, levels(3, True), BINARY, INT32),  # outputs do not fit where points were
    ((4, 6, 16), 16, levels(2), levels(4, True), levels(2)),  # all rows are of whole pairs
    ((5, 7, 5), 4, SHARED, levels(2, True), TERNARY),
)


def points(index: int) -> Layer:
    image, filters, x, w, y = POINTS[index]
    return layers.conv(f"points{index}", image, filters, (1, 1), x=x, w=w, y=y, seed=index)


def _variants_of(layer: Layer, isa: tuple[str, ...]) -> list[KernelPlan]:
    node = layer.graph.node(layer.graph.ops[0])
    return [plan for choice in tuned(node, PART, isa) for plan in choice.variants]


def test_rows_of_points() -> None:
    """Of every length: the last row is shorter, ends in part of a pair, or is all there is; outputs replace points."""
    found = [points(index) for index in range(len(POINTS))]
    shapes = [[plan.context for plan in _variants_of(layer, (*DSP, "dual-issue"))] for layer in found]
    assert all(all(context["points"] for context in contexts) for contexts in shapes)
    assert {context["points"] % context["out_w"] > 0 for contexts in shapes for context in contexts} == {False, True}
    _check(found, in_turn=True)


@pytest.mark.parametrize("core", SCALAR)
def test_rows_of_points_without_simd(core: str) -> None:
    isa = SCALAR[core]
    found = [points(index) for index in range(len(POINTS))]
    _check(
        [one for one in found if "points" in _variants_of(one, isa)[0].context],
        isa=isa,
        most=3,
        cores=((bare_cores()[core], isa),),
    )


def test_points_of_several_images() -> None:
    layer = points(0)
    tensors = {
        name: tensor if tensor.is_constant else replace(tensor, shape=(2, *tensor.shape[1:]))
        for name, tensor in layer.graph.tensors.items()
    }
    graph = replace(layer.graph, name="images", tensors=tensors)
    _check([Layer(graph, [[np.concatenate(pair) for pair in zip(*layer.feeds[:2], strict=True)]])], most=2)


def test_few_bits_are_packed() -> None:
    """Nothing else is chosen for the layers that this is for."""
    pairs = (
        (levels(2), levels(2, True)),
        (levels(4), levels(4, True)),
        (affine(-128), TERNARY),
        (levels(2), PowerOfTwo(ONE, exponents=4)),
        (LOGARITHMIC, levels(2, True)),
        (levels(2), levels(5, True)),
    )
    for x, w in pairs:
        for kernel in ((3, 3), (1, 1), (5, 5)):
            graph = layers.conv("few", (16, 16, 64), 64, kernel, x=x, w=w, y=x).graph
            assert choose(graph.node(graph.ops[0]), "compact", DSP).kernel.name == "conv_2d_packed_rows"


@one_in(3)
def test_layers_of_tflite(every: int) -> None:
    """Weights of few values in TFLite's scheme, its zero points and roundings."""
    cases = [
        window((5, 9), 8, 6, (3, 3)),
        window((4, 7), 5, 4, (3, 3), stride=(2, 2)),
        window((5, 8), 12, 9, (1, 1)),
    ]
    names = ("w1", "w2 ternary", "w2 levels", "w3")
    found = [recoded(case, names[(i + j) % 4]) for i, case in enumerate(cases) for j in range(3)]
    check(found[::every], part=PART)
