"""Every kernel of sparse dense layers, on shapes and patterns that are hard for it, against the operators' meaning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support import variants
from tests.support.board_batch import M0PLUS, M4, M4_SOFT, M7
from tests.support.integer_layers import BINARY, INT8, INT32, ONE, OUTPUTS, TERNARY, Layer, affine, dense, levels
from tests.support.sparse_layers import blocked, ends, int8_dense, integer_dense, n_of_m, single
from tests.support.variants import DSP, check_variants
from tests.targets.tools import requires_tool
from tinygen.ir.encodings import PowerOfTwo
from tinygen.ir.fixed_point import Activation
from tinygen.lowering.plan import registered_kernels

ACTIVATIONS = (
    affine(-128), affine(5), BINARY, TERNARY, *(levels(b) for b in (2, 4, 7, 8)), *(levels(b, True) for b in (2, 4, 8)),
)  # fmt: skip
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
            f"m{seed}_{i}", _pattern(_shape(rng), rng), int(rng.integers(1, 6)), zero=int(rng.integers(-128, 128)),
            scales=int(rng.integers(1, 3)), activation=list(Activation)[i % len(Activation)],
            y_scale=float(rng.choice([1.0, 1.0, 0.01, 3000.0])), bias=int(rng.choice([0, 3000, 2**22])),
            extreme=bool(rng.random() < 0.2), seed=i,
        )
        for i in range(count)
    ]  # fmt: skip


def integer_layers(count: int, seed: int) -> list[Layer]:
    rng = np.random.default_rng(seed)
    return [
        integer_dense(
            f"i{seed}_{i}", _pattern(_shape(rng), rng), int(rng.integers(1, 6)),
            x=ACTIVATIONS[i % len(ACTIVATIONS)], w=WEIGHTS[int(rng.integers(len(WEIGHTS)))],
            y=(*OUTPUTS, INT32)[int(rng.integers(len(OUTPUTS) + 1))], shared=bool(rng.random() < 0.3), seed=i,
        )
        for i in range(count)
    ]  # fmt: skip


def _check(found: list[Layer], **options: object) -> int:
    return check_variants([one.graph for one in found], [one.feeds for one in found], **options)  # type: ignore[arg-type]


def test_int8() -> None:
    assert _check(int8_layers(4, 1)) >= 16


def test_integers() -> None:
    assert _check(integer_layers(5, 1)) >= 20


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
