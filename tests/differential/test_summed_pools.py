"""Sums and averages of windows, four channels at a time: every encoding, borders, sums beyond 16 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support import integer_layers as layers
from tests.support.board_batch import M4
from tests.support.integer_layers import ACTIVATIONS, BINARY, INT32, OUTPUTS, Layer, affine, codebook, levels
from tests.support.shares import one_in
from tests.support.variants import check_variants
from tests.targets.tools import requires_tool
from tinygen.bench.layers import Window, average_pool_2d
from tinygen.frontends.load import load_model
from tinygen.ir.encodings import Affine
from tinygen.ir.ops.window import Padding
from tinygen.lowering.lower import lower
from tinygen.targets.bare_cores import bare_cores

HALF = Affine("int16", (1.0,), (0,))
CODES = [*(x for x in ACTIVATIONS if x != BINARY), HALF, codebook(16)]
ESP32C3, M0PLUS = (bare_cores()[name] for name in ("esp32c3-core", "cortex-m0plus"))
C99: dict[str, Any] = {"isa": ("c99",), "cores": [(M4, ("c99", "dsp")), (ESP32C3, ESP32C3.isa)]}
ARMV6M: dict[str, Any] = {"isa": ("armv6m",), "cores": [(M0PLUS, M0PLUS.isa)]}


def sums() -> list[Layer]:
    rng = np.random.default_rng(5)
    found = []
    for i, x in enumerate(CODES):
        image = (int(rng.integers(4, 8)), int(rng.integers(4, 8)), (3, 4, 8, 9, 14, 33)[i % 6])
        kernel, stride = (int(rng.integers(1, 5)), int(rng.integers(1, 5))), (1 + i % 3, 1 + i % 2)
        y = OUTPUTS[(3 * i) % len(OUTPUTS)]
        found.append(layers.sum_pool(f"s{i}", image, kernel, stride, x=x, y=y, same=i % 2 == 0, seed=i))
    large = [
        ((20, 17, 5), affine(9)),
        ((1, 300, 4), levels(8)),
        ((19, 15, 8), affine(-128)),
        ((18, 3, 4), levels(7, True)),
    ]
    for i, (image, x) in enumerate(large):
        y = (affine(0), INT32, levels(3), BINARY)[i]
        found.append(layers.sum_pool(f"l{i}", image, image[:2], (1, 1), x=x, y=y, seed=i))
    found.append(layers.sum_pool("border", (4, 7, 3), (5, 5), (1, 2), x=HALF, y=affine(0), same=True))
    return found


def averages() -> tuple[list[Any], list[list[list[np.ndarray]]]]:
    same, valid = Padding.SAME, Padding.VALID
    shapes = [
        ((5, 6, 5), Window((3, 3), (2, 1), same)),
        ((8, 9, 3), Window((2, 2), (2, 2), valid)),
        ((7, 5, 4), Window((7, 5), (1, 1), same)),
        ((4, 6, 8), Window((1, 2), (1, 1), same)),
        ((20, 20, 4), Window((20, 20), (1, 1), valid)),
        ((3, 4, 1), Window((3, 2), (1, 2), valid)),
    ]
    graphs = [load_model(average_pool_2d(f"a{i}", image, window)) for i, (image, window) in enumerate(shapes)]
    rng = np.random.default_rng(1)
    feeds = []
    for image, _ in shapes:
        ends = [np.full((1, *image), code, np.int8) for code in (-128, 127)]
        feeds.append([[x] for x in (*ends, *rng.integers(-128, 128, (2, 1, *image)).astype(np.int8))])
    return graphs, feeds


def _check(found: list[Layer], **how: Any) -> int:
    return check_variants([one.graph for one in found], [one.feeds for one in found], **how)


@one_in(6)
def test_sums(every: int) -> None:
    found = sums()
    for isa in (ESP32C3.isa, M0PLUS.isa, ("c99", "dsp")):
        kernels = [lower(layer.graph, isa=isa).layers[0].kernel.name for layer in found]
        assert sum(name.startswith("summed_pool_2d") for name in kernels) >= 0.8 * len(found)
    assert _check([*found[:-5:every], *found[-5:]], in_turn=True, **C99) >= 4
    assert _check(found[1::every], host=False, **ARMV6M) >= 4


def test_averages() -> None:
    graphs, feeds = averages()
    for isa, name in ((ESP32C3.isa, ""), (M0PLUS.isa, "_armv6m"), (("c99", "dsp"), "")):
        assert {lower(one, isa=isa).layers[0].kernel.name for one in graphs} == {f"summed_pool_2d{name}"}
    assert check_variants(graphs, feeds, in_turn=True, **C99) == len(graphs)
    assert check_variants(graphs, feeds, **ARMV6M) == len(graphs)


@pytest.mark.long
@requires_tool("arm-none-eabi-gcc")
@requires_tool("riscv64-unknown-elf-gcc")
def test_with_gcc() -> None:
    graphs, feeds = averages()
    for how in (C99, ARMV6M):
        _check(sums(), host=False, compiler="gcc", **how)
        check_variants(graphs, feeds, host=False, compiler="gcc", **how)
