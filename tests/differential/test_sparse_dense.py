"""Every kernel of sparse dense layers, on shapes and patterns that are hard for it, against the operators' meaning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.differential.test_tuned import window
from tests.support import variants
from tests.support.board_batch import M0PLUS, M4, M4_SOFT, M7
from tests.support.integer_layers import BINARY, INT8, INT32, ONE, OUTPUTS, TERNARY, Layer, affine, dense, levels
from tests.support.integer_layers import conv as integer_layer_conv
from tests.support.sparse_layers import (
    blocked,
    ends,
    int8_dense,
    int8_pixels,
    integer_dense,
    integer_pixels,
    n_of_m,
    single,
)
from tests.support.variants import DSP, check_variants
from tests.targets.tools import requires_tool
from tinygen.ir.encodings import PowerOfTwo
from tinygen.ir.fixed_point import Activation
from tinygen.ir.ops.window import Padding
from tinygen.lowering.plan import registered_kernels

ACTIVATIONS = (
    affine(-128),
    affine(5),
    BINARY,
    TERNARY,
    *(levels(b) for b in (2, 4, 7, 8)),
    *(levels(b, True) for b in (2, 4, 8)),
)
WEIGHTS = (INT8, TERNARY, PowerOfTwo(ONE, exponents=7), levels(4), levels(7))
ALL = ((M7, (*DSP, "dual-issue")), (M4, DSP), (M0PLUS, DSP))


@pytest.fixture(autouse=True)
def _only_sparse_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, even where they cannot gain; the dense ones have their own tests."""
    found = [kernel for kernel in registered_kernels() if "_sparse" in kernel.name]
    monkeypatch.setattr(variants, "registered_kernels", lambda: found)


def _pattern(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A mask of any kind, of any density, now and then with rows that are dead."""
    density = float(rng.choice([0.0, 0.02, 0.1, 0.3, 0.6, 1.0]))
    match rng.integers(5):
        case 0 | 1:
            live = single(shape, density, rng)
        case 2:
            live = blocked(shape, density, rng, *(int(n) for n in rng.choice([1, 2, 4, 8], 2)))
        case 3:
            m = int(rng.choice([4, 8]))
            live = n_of_m(shape, int(rng.integers(1, m // 2 + 1)), m, rng)
        case _:
            live = ends(shape)
    return live & (rng.random((shape[0], 1)) < 0.9)


def _shape(rng: np.random.Generator) -> tuple[int, int]:
    """Widths around those of words and steps, and any up to 700."""
    depth = int(rng.choice([1, 2, 3, 4, 5, 7, 8, 15, 17, 33, 64, 255, 256, 257, 511, int(rng.integers(1, 701))]))
    return int(rng.choice([1, 2, 3, 4, 5, 9, 33])), depth


def int8_layers(count: int, seed: int) -> list[Layer]:
    rng = np.random.default_rng(seed)
    return [
        int8_dense(
            f"m{seed}_{i}",
            _pattern(_shape(rng), rng),
            int(rng.integers(1, 6)),
            zero=int(rng.integers(-128, 128)),
            scales=int(rng.integers(1, 3)),
            activation=list(Activation)[i % len(Activation)],
            y_scale=float(rng.choice([1.0, 1.0, 0.01, 3000.0])),
            bias=int(rng.choice([0, 3000, 2**22])),
            extreme=bool(rng.random() < 0.2),
            seed=i,
        )
        for i in range(count)
    ]


def integer_layers(count: int, seed: int) -> list[Layer]:
    rng = np.random.default_rng(seed)
    return [
        integer_dense(
            f"i{seed}_{i}",
            _pattern(_shape(rng), rng),
            int(rng.integers(1, 6)),
            x=ACTIVATIONS[i % len(ACTIVATIONS)],
            w=WEIGHTS[int(rng.integers(len(WEIGHTS)))],
            y=(*OUTPUTS, INT32)[int(rng.integers(len(OUTPUTS) + 1))],
            shared=bool(rng.random() < 0.3),
            seed=i,
        )
        for i in range(count)
    ]


def _check(found: list[Layer], **options: object) -> int:
    return check_variants([one.graph for one in found], [one.feeds for one in found], **options)  # type: ignore[arg-type]


def test_int8() -> None:
    assert _check(int8_layers(8, 1), in_turn=True) >= 32


def test_integers() -> None:
    assert _check(integer_layers(10, 1), in_turn=True) >= 40


def test_groups_of_a_few_live_weights() -> None:
    """1:4 and 2:8, whose last products are added behind their loop where two instructions issue at once."""
    rng = np.random.default_rng(4)
    found = [int8_dense(f"g{m}", n_of_m((5, 3 * m + 2), n, m, rng), 2, seed=m) for n, m in ((1, 4), (2, 8))]
    assert _check(found, part="groups") >= 2


def test_convolutions_of_one_tap_are_dense_layers() -> None:
    """Of every pixel; 1:4, 2:4 and 3:8, int8 and integer codes, odd widths; no other kernels are for groups."""
    rng = np.random.default_rng(6)
    found = [
        int8_pixels(f"p{m}_{n}", n_of_m((5, depth), n, m, rng), (3, 2), scales=n, seed=m)
        for n, m, depth in ((1, 4, 13), (2, 4, 34), (3, 8, 19))
    ]
    found += [
        integer_pixels(f"q{i}", n_of_m((33, 36), 2, 4, rng), (2, 3), x=x, w=w, y=y, seed=i)
        for i, (x, w, y) in enumerate(
            (
                (levels(4), levels(7), levels(4)),
                (affine(5), INT8, BINARY),
                (levels(4, True), INT8, INT32),
                (BINARY, INT8, levels(2)),
            )
        )
    ]
    assert _check(found, part="groups", cores=((M0PLUS, ("c99",)),)) == 7


def windows(seed: int) -> list[Layer]:
    """2:4 and 1:4 in windows: at borders of every kind, with strides, dilation, and no border."""
    rng = np.random.default_rng(seed)
    found = [
        int8_pixels("w1", n_of_m((5, 9 * 8), 2, 4, rng), (4, 5), kernel=(3, 3), seed=seed),
        int8_pixels("w2", n_of_m((3, 6 * 4), 1, 4, rng), (5, 6), kernel=(3, 2), stride=2, scales=2, seed=seed),
        int8_pixels("w3", n_of_m((2, 9 * 4), 2, 4, rng), (6, 7), kernel=(3, 3), dilation=2, seed=seed),
        int8_pixels("w4", n_of_m((4, 8), 1, 4, rng), (5, 5), stride=2, seed=seed),
        int8_pixels(
            "w5", n_of_m((3, 9 * 8), 3, 8, rng), (4, 4), kernel=(3, 3), padding=Padding.VALID, scales=2, seed=seed
        ),
    ]
    kinds = (
        (levels(4), levels(7), levels(4), True),
        (affine(5), INT8, BINARY, True),
        (TERNARY, INT8, INT32, True),
        (levels(4, True), INT8, INT32, False),
    )
    return found + [
        integer_pixels(
            f"v{i}", n_of_m((33, 9 * 4), 2, 4, rng), (4, 3), kernel=(3, 3), x=x, w=w, y=y, same=same, seed=seed + i
        )
        for i, (x, w, y, same) in enumerate(kinds)
    ]


def test_convolutions_are_dense_layers_of_windows() -> None:
    assert _check(windows(7), part="groups", cores=((M0PLUS, ("c99",)),)) == 9


@pytest.mark.long
@requires_tool("arm-none-eabi-gcc")
@pytest.mark.parametrize("compiler", ["zig", "gcc"])
def test_convolutions_by_both_compilers(compiler: str) -> None:
    assert _check(windows(8), part="groups", cores=ALL, compiler=compiler, host=compiler == "zig") == 9


def test_convolutions_without_groups() -> None:
    """In groups of channels; of packed bits in windows; where a border has no code of 0."""
    live = n_of_m((4, 9 * 4), 2, 4, np.random.default_rng(0))
    made = [
        integer_pixels("a", live, (4, 4), kernel=(3, 3), x=BINARY, w=INT8, y=INT32, same=False),
        integer_pixels("b", live, (4, 4), kernel=(3, 3), x=levels(4, True), w=INT8, y=INT32),
        integer_layer_conv("c", (4, 4, 8), 4, (3, 3), x=affine(5), w=INT8, y=INT32, groups=2, zeros=0.9),
    ]
    (kernel,) = (one for one in registered_kernels() if one.name == "conv_2d_sparse_groups")
    for layer in made:
        (node,) = layer.graph.nodes()
        assert not kernel.plan(node)
    several, _ = window((5, 5), 4, 8, (1, 1), stride=(2, 2), batch=2)
    (node,) = several.nodes()
    assert not kernel.plan(node)
    (node,) = int8_pixels("d", live, (4, 4), kernel=(3, 3)).graph.nodes()
    assert kernel.plan(node)


def test_long_rows_of_odd_levels() -> None:
    """Sums are half of the accumulators, and reach beyond 32 bits before the bias is added."""
    layers = []
    for depth in (33_000, 40_000):
        layer = dense(f"r{depth}", (depth,), 1, x=levels(8, True), w=INT8, y=INT32)
        weights = replace(layer.graph.tensors["w"], data=np.full((1, depth), 127, np.int8))
        (op,) = layer.graph.ops
        graph = replace(layer.graph, tensors={**layer.graph.tensors, "w": weights}, ops=(replace(op, epilogue=None),))
        graph.validate()
        layers.append(Layer(graph, [[np.full((1, depth), code, np.uint8)] for code in (0, 255)]))
    near, beyond = (next(layer.graph.nodes()) for layer in layers)
    assert len(variants.tuned(near)) > 1 == len(variants.tuned(beyond))
    _check(layers, cores=())


@pytest.mark.long
def test_without_simd() -> None:
    """The portable kernels on a core that faults on unaligned words."""
    found = [*int8_layers(3, 3), *integer_layers(4, 3)]
    _check(found, host=False, cores=((M0PLUS, DSP),))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 4))
def test_many(seed: int) -> None:
    _check([*int8_layers(6, seed), *integer_layers(8, seed)], cores=ALL)


def test_without_fpu() -> None:
    _check([*int8_layers(2, 20), *integer_layers(2, 20)], host=False, cores=((M4_SOFT, DSP),), level="-Os")


@pytest.mark.long
@requires_tool("arm-none-eabi-gcc")
def test_with_gcc() -> None:
    _check([*int8_layers(2, 21), *integer_layers(2, 21)], host=False, compiler="gcc")
