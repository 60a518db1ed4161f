"""Every variant of the kernel-sparse convolutions against the operators' meaning: shapes, densities, encodings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.differential.test_tuned import GCC, LEVELS, Case, network, random_window, window
from tests.support import integer_layers as layers
from tests.support.board_batch import M0PLUS, M4, M7
from tests.support.integer_layers import INT8, OUTPUTS, TERNARY, affine, levels
from tests.support.networks import Network
from tests.support.pruned import DENSITIES, pruned
from tests.support.shares import one_in
from tests.support.variants import DSP, check_variants
from tests.targets.tools import requires_tool

ACTIVATIONS = (affine(-128), affine(5), TERNARY, levels(2), levels(7), levels(8), levels(2, True), levels(8, True))
HARD = [
    window((3, 5), 4, 5, (3, 3)),
    window((6, 5), 6, 4, (3, 3), stride=(2, 2)),
    window((1, 1), 4, 3, (3, 3)),
    window((2, 3), 3, 7, (5, 5)),
    window((7, 6), 5, 3, (4, 4), stride=(2, 3), same=False),
    window((5, 7), 2, 3, (1, 5), same=False),
    window((8, 1), 7, 4, (5, 1), batch=2),
    window((6, 7), 4, 4, (3, 2), dilation=(2, 1)),
    window((5, 6), 4, 2, (2, 2), dilation=(1, 2), stride=(1, 2)),
    window((9, 8), 3, 4, (3, 3), dilation=(2, 2), same=False),
    window((7, 3), 5, 6, (1, 1)),
    window((3, 4), 8, 5, (1, 1), batch=2),
    window((5, 7), 6, 8, (1, 1), stride=(2, 3)),
    window((1, 1), 9, 4, (1, 1)),
    window((2, 2), 300, 3, (1, 1)),
]


def check(cases: list[Case], **how: object) -> int:
    graphs = [replace(graph, name=f"m{i}") for i, (graph, _) in enumerate(cases)]
    return check_variants(graphs, [feeds for _, feeds in cases], **{"part": "sparse", **how})  # type: ignore[arg-type]


def sparse(cases: list[Case], by: str = "kernels", shift: int = 0) -> list[Case]:
    """The cases with densities in turn."""
    return [
        (pruned(graph, DENSITIES[(i + shift) % len(DENSITIES)], by=by, seed=i), feeds)
        for i, (graph, feeds) in enumerate(cases)
    ]


def integer_convolutions(count: int, seed: int) -> list[Case]:
    """Random shapes, encodings and epilogues."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        kernel = tuple(int(n) for n in rng.integers(1, 6, 2)) if i % 3 else (1, 1)
        layer = layers.conv(
            f"i{seed}_{i}",
            (int(rng.integers(5, 9)), int(rng.integers(5, 10)), int(rng.choice([1, 3, 4, 7, 8, 12]))),
            int(rng.choice([1, 3, 5, 33])),
            kernel,
            x=ACTIVATIONS[i % len(ACTIVATIONS)],  # type: ignore[arg-type]
            w=(INT8, TERNARY)[i % 2],
            y=OUTPUTS[int(rng.integers(len(OUTPUTS)))],
            stride=(int(rng.integers(1, 3)), int(rng.integers(1, 3))),
            same=bool(rng.random() < 0.6),
            dilation=(int(rng.integers(1, 3)), 1) if rng.random() < 0.2 else (1, 1),
            seed=i,
        )
        found.append((layer.graph, layer.feeds))
    return found


@one_in(3)
def test_hard_shapes(every: int) -> None:
    assert check(sparse(HARD[::every]), most=3, in_turn=every > 1) >= 2 * len(HARD[::every])


@pytest.mark.parametrize("by", [pytest.param("groups", marks=pytest.mark.long), "weights"])
def test_other_zeros(by: str) -> None:
    """Blocks of channels, and weights here and there: what 1x1 windows have."""
    check(sparse([HARD[0], *HARD[-5:]], by, 3), most=3, in_turn=True)


@pytest.mark.parametrize("density", [0.0, pytest.param(0.3, marks=pytest.mark.long), 1.0])
def test_densities(density: float) -> None:
    """Layers that are zero as a whole, and such without a zero."""
    shapes = (window((5, 6), 5, 6, (3, 3)), window((4, 5), 8, 7, (1, 1)), window((5, 5), 4, 3, (2, 3), same=False))
    check([(pruned(graph, density), feeds) for graph, feeds in shapes], most=3, in_turn=True)


@one_in(3)
def test_integer_convolutions(every: int) -> None:
    assert check(sparse(integer_convolutions(16, 1)[::every]), most=2, in_turn=every > 1) >= 24 // every


def residual() -> Network:
    net = Network(6)
    x = net.conv(net.input(7, 5, 4), 8, 3, 2)
    y = net.add(net.conv(x, 8, 3, relu=False), x)
    y = net.add(y, net.conv(y, 8, 1, relu=False))
    net.conv(y, 5, 1)
    return net


def test_sums_and_places() -> None:
    """Convolutions joined with additions, and outputs that lie where inputs were."""
    graph, feeds = network(residual())
    kept = {}
    for name, tensor in graph.tensors.items():
        if tensor.data is not None and tensor.dtype == np.int8 and len(tensor.shape) == 4:
            mask = np.random.default_rng(len(name)).random((tensor.shape[0], 1, 1, tensor.shape[3])) < 0.4
            tensor = replace(tensor, data=tensor.data * mask.astype(np.int8))
        kept[name] = tensor
    check([(replace(graph, tensors=kept), feeds)], most=4, in_turn=True)


def test_any_core() -> None:
    """Plain C on a core without SIMD and without unaligned loads."""
    cases = sparse([*HARD, *integer_convolutions(8, 2)], shift=1)
    assert check(cases, cores=[(M0PLUS, ("c99",))], part="sparse_c99") == len(cases)


@pytest.mark.long
@requires_tool("arm-none-eabi-gcc")
def test_with_gcc() -> None:
    cases = sparse([*HARD[:8], *integer_convolutions(6, 3)], shift=2)
    check(cases, host=False, compiler="gcc", most=2, cores=((M7, (*DSP, "dual-issue")), (M4, DSP)))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_many_shapes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    windows = [random_window(rng, seed) for _ in range(16)]
    plain = [(g, f) for g, f in windows if g.ops[0].KIND == "conv_2d"]
    cases = sparse([*plain, *integer_convolutions(12, seed + 10)], ("kernels", "weights")[seed % 2], seed)
    check(cases, most=3, in_turn=True)


@pytest.mark.long
@pytest.mark.parametrize(
    ("compiler", "level"), [pytest.param(*one, marks=GCC if one[0] == "gcc" else ()) for one in LEVELS]
)
def test_every_level(compiler: str, level: str) -> None:
    check(sparse(HARD, shift=3), level=level, compiler=compiler, host=False, most=2)
