"""Kernels for cores without SIMD, on the shapes that are hard for them, against the operators' meaning."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest

from tests.differential.test_integer_add import accumulators
from tests.differential.test_integer_tuned import ACTIVATIONS, WEIGHTS, convolutions, dense_layers, pools
from tests.differential.test_tuned import (
    CONVOLUTIONS,
    DENSE,
    DEPTHWISE,
    ONE_PIXEL,
    SCALES,
    Case,
    dense,
    network,
    random_window,
    residual,
    separable,
    window,
)
from tests.support import integer_layers
from tests.support.integer_layers import OUTPUTS, Layer, affine, levels
from tests.support.shares import one_in
from tests.support.variants import check_variants
from tests.targets.tools import requires_tool
from tinygen.bench.layers import Window, max_pool_2d
from tinygen.errors import UnsupportedError
from tinygen.frontends.load import load_model
from tinygen.ir.encodings import Affine, Codebook, PowerOfTwo
from tinygen.ir.epilogue import Threshold
from tinygen.ir.ops.window import Padding
from tinygen.lowering.lower import lower
from tinygen.lowering.plan import registered_kernels
from tinygen.passes.pipeline import simplify
from tinygen.targets.bare_cores import bare_cores
from tinygen.targets.board import Board

ISA = ("c99", "scalar")
ESP32C3, M0PLUS = (bare_cores()[name] for name in ("esp32c3-core", "cortex-m0plus"))
BUILDS = [
    ("zig", ESP32C3),
    ("zig", M0PLUS),
    pytest.param("gcc", ESP32C3, marks=requires_tool("riscv64-unknown-elf-gcc")),
    pytest.param("gcc", M0PLUS, marks=requires_tool("arm-none-eabi-gcc")),
]


def _half(compiler: str, core: Board) -> int:
    """0 or 1, another one for the other core and for the other compiler."""
    return (compiler == "gcc") ^ (core is M0PLUS)


def check(cases: list[Case], **how: object) -> int:
    graphs = [replace(graph, name=f"m{i}") for i, (graph, _) in enumerate(cases)]
    options = {"isa": ISA, "cores": [(ESP32C3, ESP32C3.isa)], **how}
    return check_variants(graphs, [feeds for _, feeds in cases], **options)  # type: ignore[arg-type]


def check_layers(layers: list[Layer], **how: object) -> int:
    return check([(one.graph, one.feeds) for one in layers], **how)


# Pieces of fewer than eight codes, of more, of whole eights; remainders of pixels, filters and rows.
SHAPES = [
    window((5, 7), 3, 5, (3, 3)),
    window((5, 6), 17, 9, (3, 2), stride=(2, 1)),
    window((6, 5), 16, 8, (1, 1), batch=2),
    window((5, 5), 2, 6, (3, 5), same=False),
    window((3, 4), 8, 3, (3, 4), same=False),
    window((7, 3), 5, 4, (4, 1), stride=(3, 2), dilation=(2, 1)),
    window((6, 9), 4, 7, (2, 3), dilation=(1, 3), same=False),
    window((9, 9), 33, 1, (1, 1), stride=(2, 2), same=False),
]

# Windows that roll, or do not for their stride, their dilation or their one row; weights that do not fit registers,
# written out or not; rows whose codes lie too far apart for that.
COLUMNS = [
    window((7, 9), 5, 0, (3, 3), batch=2),
    window((6, 5), 3, 0, (1, 3)),
    window((4, 13), 2, 0, (4, 2), stride=(1, 2)),
    window((7, 6), 3, 0, (3, 2), stride=(2, 3)),
    window((8, 5), 2, 0, (2, 3), dilation=(2, 2)),
    window((9, 8), 3, 0, (5, 5), stride=(2, 1)),
    window((13, 2), 4, 0, (13, 1), same=False),
    window((41, 3), 2, 0, (40, 2), same=False),
    window((9, 2), 700, 0, (9, 2), same=False),
    window((2, 2), 700, 0, (2, 2), same=False),
]


def test_chosen() -> None:
    names = [step.kernel.name for step in lower(simplify(network(separable())[0]), isa=ESP32C3.isa).layers]
    assert {name.removesuffix("_scalar") for name in names} == {"conv_2d", "depthwise_conv_2d", "add_s8"}


@one_in(3)
def test_convolutions(every: int) -> None:
    cases = [*SHAPES, *CONVOLUTIONS, *ONE_PIXEL, *SCALES][::every]
    assert check(cases, most=3) >= len(cases)


@one_in(3)
def test_dense(every: int) -> None:
    """One row, four, and more."""
    cases = [*DENSE, dense(13, 5, 4), dense(16, 8, 7), dense(9, 3, 2, extreme=True)]
    assert check(cases[::every], most=2) >= len(cases) // every
    assert check_layers(dense_layers(22, 1)[::every], most=2) >= 22 // every


def dense_layers_of_16_bits() -> list[Layer]:
    """What pools leave: depths below a group of taps, of whole groups, beyond; bits as outputs."""
    half = Affine("int16", (1.0,), (0,))
    return [
        integer_layers.dense(f"h{i}", source, outputs, x=half, w=w, y=y, seed=i)
        for i, (source, outputs, w, y) in enumerate(
            [
                ((17,), 10, integer_layers.INT8, integer_layers.affine(3)),
                ((33,), 35, integer_layers.BINARY, integer_layers.BINARY),
                ((5,), 3, integer_layers.levels(8, True), integer_layers.levels(4)),
                ((2, 2, 4), 4, integer_layers.levels(4, True), integer_layers.INT32),
                ((9,), 1, integer_layers.TERNARY, integer_layers.levels(2)),
            ]
        )
    ]


def test_dense_layers_of_16_bits() -> None:
    layers = dense_layers_of_16_bits()
    chosen = {lower(layer.graph, isa=ESP32C3.isa).layers[0].kernel.name for layer in layers}
    assert chosen == {"fully_connected_lines"}
    assert check_layers(layers, cores=[(core, core.isa) for core in (ESP32C3, M0PLUS)]) == 3 * len(layers)


@one_in(3)
def test_integer_convolutions(every: int) -> None:
    assert check_layers(convolutions(22, 1)[::every], most=2) >= 22 // every


def offset_weights(cases: list[Case], compiler: str) -> int:
    how: dict[str, Any] = {"part": "offset", "isa": M0PLUS.isa, "cores": [(M0PLUS, M0PLUS.isa)], "compiler": compiler}
    return check(cases, most=3, **how)


def extreme_codes(depth: int, size: tuple[int, int]) -> Case:
    """Largest and least weights, in a filter each, and by turns; codes all largest, all least."""
    weights = np.full((8, 1, 1, depth), -127, np.int8)  # -128 has no opposite, which channels that fall need
    weights[4:] = np.arange(4 * depth).reshape(4, 1, 1, depth) % 255 - 127  # too many values to be packed
    weights[0, ..., ::2], weights[1], weights[3], weights[2, ..., 1::2] = 127, 127, 127, 127
    types: dict[str, Any] = {"x": affine(-128), "w": integer_layers.INT8, "y": integer_layers.INT32}
    graph = integer_layers.conv("extreme", (*size, depth), 8, (1, 1), weights=weights, **types).graph
    return graph, [[np.full((1, *size, depth), code, np.int8)] for code in (-128, 127)]


@pytest.mark.parametrize("compiler", ["zig", pytest.param("gcc", marks=requires_tool("arm-none-eabi-gcc"))])
@one_in(3)
def test_offset_weights(every: int, compiler: str) -> None:
    """Of two filters in a halfword; as many taps as fit their sums, and more; groups, odd filters, one pixel."""
    shapes = [*SHAPES, *ONE_PIXEL, window((4, 5), 12, 10, (3, 3), groups=2, same=False)][compiler == "gcc" :: every]
    extremes = [dense(270, 5, 4, extreme=True), dense(13, 6), extreme_codes(256, (2, 3)), extreme_codes(515, (1, 5))]
    assert all(map(_is_offset, extremes[2:]))
    layers: list[Layer] = []
    for i, x in enumerate(ACTIVATIONS):
        kind: dict[str, Any] = {"x": x, "w": integer_layers.INT8, "y": OUTPUTS[i % len(OUTPUTS)], "seed": i}
        layers.append(integer_layers.conv(f"c{i}", (4 + i % 3, 5, 3 + i), 3 + i, (2, 1 + i % 3), **kind))
        layers.append(integer_layers.dense(f"d{i}", (7 + 5 * i,), 5, **kind))
    layers = layers[compiler == "gcc" :: every]
    found = [case for case in (*shapes, *extremes, *((one.graph, one.feeds) for one in layers)) if _is_offset(case)]
    assert len(found) >= 15 // every and offset_weights(found, compiler) >= len(found)


def _is_offset(case: Case) -> bool:
    node = case[0].node(case[0].ops[0])
    return any(
        "offset" in kernel.name and kernel.variants(node)
        for kernel in registered_kernels()
        if type(node.op) in kernel.ops
    )


def depthwise_layers(count: int, seed: int) -> list[Layer]:
    """Integer layers whose filters have one kernel each, one or two of them per channel; encodings in turn."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        channels, rows, columns = (int(n) for n in rng.integers((1, 1, 1), (40, 6, 4)))
        found.append(
            integer_layers.conv(
                f"w{seed}_{i}",
                (int(rng.integers(rows, 9)), int(rng.integers(columns, 14)), channels),
                channels * int(rng.choice([1, 1, 2])),
                (rows, columns),
                groups=channels,
                x=ACTIVATIONS[i % len(ACTIVATIONS)],
                w=WEIGHTS[int(rng.integers(len(WEIGHTS)))],
                y=OUTPUTS[int(rng.integers(len(OUTPUTS)))],
                stride=(int(rng.integers(1, 3)), 1),
                same=bool(rng.random() < 0.6),
                seed=i,
            )
        )
    return found


@one_in(3)
def test_wide_weights(every: int) -> None:
    """Odd integers of 9 bits: codes of 8, and a sum per pixel."""
    found: list[Layer] = []
    for i, x in enumerate(ACTIVATIONS):
        kind: dict[str, Any] = {"x": x, "w": integer_layers.levels(8, True), "y": OUTPUTS[i % len(OUTPUTS)], "seed": i}
        found.append(integer_layers.conv(f"a{i}", (4 + i % 3, 5, 3 + i), 3 + i, (2, 1 + i % 3), **kind))
        found.append(integer_layers.conv(f"b{i}", (5, 4, 9), 5, (1 + i % 2, 1), same=False, **kind))
        found.append(integer_layers.dense(f"c{i}", (7 + 5 * i,), 5, **kind))
        found.append(integer_layers.conv(f"d{i}", (6, 5, 4), 4, (2 + i % 4, 4), groups=4, **kind))
    kernels = [lower(layer.graph, isa=ESP32C3.isa).layers[0].kernel.name for layer in found]
    assert sum(name in ("conv_2d_codes", "fully_connected_codes") for name in kernels) <= 0.15 * len(found)
    assert sum("_scalar" in name for name in kernels) >= 0.5 * len(found)
    assert check_layers(found[::every], most=2) >= len(found) // every


def wide_codebook(entries: int) -> Codebook:
    return Codebook((1.0,), table=tuple(100 * value for value in integer_layers.codebook(entries).table))


HALVES = (
    Affine("int16", (1.0,), (0,)),
    integer_layers.POWERS,
    PowerOfTwo((1.0,), exponents=14),
    integer_layers.codebook(16),
    wide_codebook(200),
    integer_layers.BINARY,
    *ACTIVATIONS[::3],
)
"""Activations of 16 bits, as they lie or by a table; bits; and such as weights of 16 bits are multiplied with."""
WIDE_WEIGHTS = (
    integer_layers.INT8,
    wide_codebook(64),
    PowerOfTwo((1.0,), exponents=9),
    integer_layers.levels(8, True),
)


def halves(seed: int) -> list[Layer]:
    """Convolutions, dense layers and depthwise ones of every such pair; several pixels of bits in a row."""
    found: list[Layer] = []
    for i, (x, w) in enumerate(product(HALVES, WIDE_WEIGHTS)):
        kind: dict[str, Any] = {"x": x, "w": w, "y": OUTPUTS[(i + seed) % len(OUTPUTS)], "seed": i + seed}
        image, kernel = (4 + i % 3, 5, 1 + 9 * (i % 4)), (1 + i % 3, 1 + (i + seed) % 2)
        row = ((2, 2, 5), (2, 1, 40), (9 + 4 * i,))[i % 3]
        channels = 1 + i % 5
        for make in (
            partial(integer_layers.conv, f"a{i}", image, 3 + i % 7, kernel, same=i % 2 == 0),
            partial(integer_layers.dense, f"c{i}", row, 1 + i % 9),
            partial(integer_layers.conv, f"d{i}", (6, 5, channels), channels, (2 + i % 4, 4), groups=channels),
        ):
            with suppress(UnsupportedError):  # sums beyond 32 bits
                found.append(make(**kind))
    assert len(found) > 100
    return found


@one_in(4)
def test_halves(every: int) -> None:
    """Both on a core whose loops are assembly, and on the host."""
    found = halves(0)
    kernels = [lower(layer.graph, isa=ISA).layers[0].kernel.name for layer in found]
    assert "conv_2d_codes" not in kernels
    assert check_layers(found[::every], most=2) >= len(found) // every


@pytest.mark.long
@pytest.mark.parametrize(("compiler", "core"), BUILDS)
def test_halves_by_compilers(compiler: str, core: Board) -> None:
    """Every layer on both cores and by both compilers, but not on each core by each compiler."""
    layers = [*halves(1)[::2], *grouped(2), *grouped_bits()][_half(compiler, core) :: 2]
    check_layers(layers, most=2, compiler=compiler, cores=[(core, core.isa)], host=False)


def grouped(seed: int) -> list[Layer]:
    """One or several filters a group, fewer than four and more; rows and single taps, bytes and halves."""
    found = []
    shapes = [(2, 3, 5), (3, 4, 4), (4, 1, 2), (2, 8, 9), (5, 2, 1), (3, 7, 6), (2, 5, 3)]
    for i, (groups, depth, filters) in enumerate(shapes):
        x = (affine(3), HALVES[2], levels(8), levels(3, True), Affine("int16", (1.0,), (0,)))[(i + seed) % 5]
        kernel = ((3, 3), (1, 1), (2, 3), (1, 1))[(i + seed) % 4]
        how: dict[str, Any] = {"same": i % 3 > 0, "stride": (1 + i % 2, 1), "dilation": (1, 1 + (i + seed) % 5 // 4)}
        w = (integer_layers.INT8, levels(4, True), levels(8, True))[i % 3]
        image = (5, 7, groups * depth)
        y = (affine(-128), levels(4), levels(3, True), integer_layers.BINARY)[(i + seed) % 4]
        found.append(
            integer_layers.conv(
                f"g{seed}_{i}", image, groups * filters, kernel, groups=groups, x=x, w=w, y=y, seed=i, **how
            )
        )
    return found


@pytest.mark.parametrize("seeds", [(0,), pytest.param((0, 1), marks=pytest.mark.long)], ids=["some", "all"])
def test_groups(seeds: tuple[int, ...]) -> None:
    layers = [layer for seed in seeds for layer in grouped(seed)]
    kernels = [lower(layer.graph, isa=ISA).layers[0].kernel.name for layer in layers]
    assert sum(name in ("conv_2d_scalar", "conv_2d_halves_scalar") for name in kernels) >= 3 * len(seeds)
    bytes_of_tflite = [window((5, 6), 6, 10, (3, 3), groups=2, batch=2), window((6, 5), 12, 6, (1, 1), groups=3)]
    assert check([*((one.graph, one.feeds) for one in layers), *bytes_of_tflite], most=3) >= len(layers) + 2


def grouped_bits() -> list[Layer]:
    """Bits in, bits out, or both: groups that begin within words, fours of filters that lie in two words."""
    shapes = [(2, 35, 4), (3, 5, 3), (4, 8, 32), (2, 3, 17), (5, 33, 1), (3, 40, 9)]
    bits, codes = integer_layers.BINARY, (affine(3), levels(2))
    return [
        integer_layers.conv(
            f"b{i}",
            (5, 6, groups * depth),
            groups * filters,
            ((3, 3), (1, 1), (2, 3))[i % 3],
            groups=groups,
            x=codes[i % 2] if i % 3 == 1 else bits,
            w=bits if i % 2 else levels(4, True),
            y=codes[i % 2] if i % 3 == 2 else bits,
            same=i % 4 > 0,
            stride=(1, 1 + i % 2),
            dilation=(1, 1 + (i == 3)),
            seed=i,
        )
        for i, (groups, depth, filters) in enumerate(shapes)
    ]


def test_groups_of_bits() -> None:
    layers = grouped_bits()
    for core in (ESP32C3, M0PLUS):
        chosen = [lower(layer.graph, isa=core.isa).layers[0].kernel.name for layer in layers]
        # Four filters at a time are not for groups of one.
        assert sum(name.endswith("_scalar") for name in chosen) == 5
    assert check_layers(layers, most=2) >= len(layers)


@one_in(3)
def test_integer_depthwise(every: int) -> None:
    layers = depthwise_layers(24, 1)
    chosen = [lower(layer.graph, isa=ESP32C3.isa).layers[0].kernel.name for layer in layers]
    assert sum(name.startswith("depthwise_conv_2d_scalar") for name in chosen) > 13
    assert check_layers(layers[::every]) >= 24 // every


def depthwise_layers_of_bits() -> list[Layer]:
    """Channels in several words, one or two filters each, strides, taps outside that count as 0."""
    shapes = [((5, 9), 3, (3, 3), 1), ((6, 4), 35, (2, 3), 2), ((4, 11), 64, (3, 1), 1), ((7, 5), 33, (5, 4), 1)]
    weights = (integer_layers.BINARY, integer_layers.levels(8, True))
    return [
        integer_layers.conv(
            f"b{i}",
            (*image, channels),
            channels * each,
            kernel,
            groups=channels,
            x=integer_layers.BINARY,
            w=weights[i % 2],
            y=OUTPUTS[i],
            stride=(1 + i % 2, 1),
            seed=i,
        )
        for i, (image, channels, kernel, each) in enumerate(shapes)
    ]


def logarithmic() -> list[Layer]:
    """15 and 6 thresholds that lie as powers do, which cores that count no zeros search."""
    found = []
    for each, y in ((2, levels(4)), (1, levels(3))):
        layer = integer_layers.conv(f"l{each}", (5, 4, 6), 6, (3, 3), groups=6, x=affine(3), w=levels(4, True), y=y)
        (op,) = layer.graph.ops
        powers = 9 * 2.0 ** (np.arange(y.code_range[1] - y.code_range[0]) / each)
        rows = tuple(tuple(np.round(40 * c - 80 + powers).astype(int).tolist()) for c in range(6))
        op = replace(op, epilogue=Threshold(rows, (1, -1) * 3))  # type: ignore[call-arg]
        found.append(replace(layer, graph=replace(layer.graph, ops=(op,))))
    return found


def test_depthwise_layers_of_bits() -> None:
    layers = [*depthwise_layers_of_bits(), *logarithmic()]
    chosen = [lower(layer.graph, isa=ESP32C3.isa).layers[0].kernel.name for layer in layers]
    # Bits become bits in the first one alone.
    assert chosen[0] == "depthwise_conv_2d_sliced"
    assert {name.removesuffix("_unpacked") for name in chosen[1:]} == {"depthwise_conv_2d_scalar"}
    for compiler, core in (("zig", ESP32C3), ("zig", M0PLUS)):
        check_layers(layers, compiler=compiler, cores=[(core, core.isa)], host=core is ESP32C3)


@one_in(3)
def test_depthwise(every: int) -> None:
    cases = [*COLUMNS, *DEPTHWISE][::every]
    assert check(cases) >= len(cases)


def max_pool(image: tuple[int, int, int], kernel: tuple[int, int], stride: tuple[int, int], same: bool) -> Case:
    padding = Padding.SAME if same else Padding.VALID
    graph = load_model(max_pool_2d("pool", image, Window(kernel, stride, padding)))
    rng = np.random.default_rng(image)
    ends = [np.full((1, *image), code, np.int8) for code in (-128, 127)]
    return graph, [[x] for x in (*ends, *rng.integers(-128, 128, (3, 1, *image)).astype(np.int8))]


@one_in(2)
def test_max_pools(every: int) -> None:
    """Bytes of every kind, the largest or the smallest codes; channels that fill words or do not."""
    cases = [max_pool((5, 6, 5), (3, 3), (2, 1), True), max_pool((8, 9, 8), (2, 2), (2, 2), False)]
    layers = [layer for seed in (1, 2) for layer in pools(seed)]
    cases += [(layer.graph, layer.feeds) for layer in layers][::every]
    kernels = {lower(graph, isa=ESP32C3.isa).layers[0].kernel.name for graph, _ in cases}
    assert kernels == {"max_pool_2d_rv32"}
    check(cases, isa=ESP32C3.isa)


def test_max_pools_of_whole_words() -> None:
    """On a core that loads no word from elsewhere."""
    cases = [max_pool((5, 6, 8), (3, 3), (2, 1), True)]
    for i, (x, sign) in enumerate([(levels(4), "mixed"), (levels(8), "falling"), (affine(3), "mixed")]):
        image = (5 + i, 7, 4 * (1 + i))
        layer = integer_layers.max_pool(f"w{i}", image, (2, 3), (2, 2), x=x, sign=sign, same=True, seed=i)
        cases.append((layer.graph, layer.feeds))
    kernels = {lower(graph, isa=M0PLUS.isa).layers[0].kernel.name for graph, _ in cases}
    assert kernels == {"max_pool_2d_armv6m"}
    check(cases, isa=M0PLUS.isa, cores=[(M0PLUS, M0PLUS.isa)])


def test_networks() -> None:
    """What lies in place of another."""
    check([network(residual()), network(separable())], most=2)


@pytest.mark.parametrize(
    ("compiler", "core"),
    [
        ("zig", ESP32C3),
        pytest.param("zig", M0PLUS, marks=pytest.mark.long),
        pytest.param("gcc", ESP32C3, marks=[requires_tool("riscv64-unknown-elf-gcc"), pytest.mark.long]),
        pytest.param("gcc", M0PLUS, marks=requires_tool("arm-none-eabi-gcc")),
    ],
)
def test_compilers(compiler: str, core: Board) -> None:
    """What is in registers is right whichever compiler is around it: each core and each compiler in the default run."""
    check([*SHAPES[:4], *COLUMNS[::3]], compiler=compiler, cores=[(core, core.isa)], host=False, most=2)


@pytest.mark.long
@pytest.mark.parametrize(("compiler", "core"), BUILDS)
def test_random_windows(compiler: str, core: Board) -> None:
    rng = np.random.default_rng([len(compiler), len(core.name)])
    check([random_window(rng, 5) for _ in range(30)], most=3, compiler=compiler, cores=[(core, core.isa)])


@pytest.mark.long
@pytest.mark.parametrize(("compiler", "core"), BUILDS)
def test_small_kernels(compiler: str, core: Board) -> None:
    """Sums of accumulators, dense lines, bits of depthwise layers, pools: by half of the pairs, as in
    `test_halves_by_compilers`."""
    layers = [*map(accumulators, range(12)), *dense_layers_of_16_bits(), *depthwise_layers_of_bits(), *pools(4)]
    layers = layers[_half(compiler, core) :: 2]
    layers += logarithmic()
    how: dict[str, Any] = {"compiler": compiler, "cores": [(core, core.isa)], "host": False}
    check_layers(layers, isa=core.isa, **how)
