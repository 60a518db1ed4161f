"""Which kernel sparse dense layers get, by family and pattern."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.integer_layers import affine, levels
from tests.support.sparse_layers import blocked, int8_dense, int8_pixels, integer_dense, n_of_m, single
from tests.support.variants import DSP
from tinygen.ir.graph import Graph
from tinygen.lowering.plan import KernelPlan
from tinygen.lowering.select import choose

SHAPE = (64, 256)
M7 = (*DSP, "dual-issue")


def _chosen(graph: Graph, family: str = "tinygen", isa: tuple[str, ...] = M7) -> tuple[str, KernelPlan]:
    choice = choose(next(iter(graph.nodes())), family, isa)
    return choice.kernel.name, choice.fastest


def _layers(live: np.ndarray) -> list[Graph]:
    """The same mask in both operators."""
    return [
        int8_dense("a", live).graph,
        integer_dense("b", live, x=affine(-128), w=levels(7), y=affine(3)).graph,
    ]


@pytest.mark.parametrize(
    ("live", "ending"),
    [
        (single(SHAPE, 0.95, np.random.default_rng(0)), ("_dsp_4", "_dsp")),
        (single(SHAPE, 0.5, np.random.default_rng(0)), ("_dsp_4", "_dsp")),
        (single(SHAPE, 0.1, np.random.default_rng(0)), ("_sparse_dsp",)),
        (blocked(SHAPE, 0.2, np.random.default_rng(0), 1, 2), ("_sparse_1x2_dsp",)),
        (blocked(SHAPE, 0.2, np.random.default_rng(0), 1, 4), ("_sparse_1x4_dsp",)),
        (blocked(SHAPE, 0.2, np.random.default_rng(0), 2, 2), ("_sparse_2x2_dsp",)),
        (blocked(SHAPE, 0.5, np.random.default_rng(0), 4, 4), ("_sparse_4x4_dsp",)),
        (n_of_m(SHAPE, 1, 4, np.random.default_rng(0)), ("_sparse_groups_dsp",)),
        (n_of_m(SHAPE, 2, 4, np.random.default_rng(0)), ("_dsp_4", "_dsp")),
    ],
)
def test_by_pattern(live: np.ndarray, ending: tuple[str, ...]) -> None:
    for graph in _layers(live):
        name, _ = _chosen(graph)
        sparse = "_sparse" in ending[0]
        assert name.endswith(ending) and ("_sparse" in name) == sparse


def test_compact_gives_time_for_flash() -> None:
    """2:4 is slower than dense in 5/8 of its flash: "compact" takes it, "tinygen" does not."""
    for graph in _layers(n_of_m(SHAPE, 2, 4, np.random.default_rng(0))):
        name, plan = _chosen(graph)
        small_name, small = _chosen(graph, "compact")
        assert "_sparse" not in name and small_name.endswith("_sparse_pairs_dsp")
        assert small.weight_bytes <= 0.7 * plan.weight_bytes and plan.cycles < small.cycles <= 1.5 * plan.cycles


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3)])
def test_convolutions_of_a_pattern(kernel: tuple[int, int]) -> None:
    """Without SIMD 2:4 takes 5/8 of the flash and about half the time of the dense kernel; with it that is faster."""
    live = n_of_m((64, 64 * kernel[0] * kernel[1]), 2, 4, np.random.default_rng(0))
    graph = int8_pixels("c", live, (8, 8), kernel=kernel).graph
    name, plan = _chosen(graph, isa=("c99",))
    dense_name, dense = _chosen(graph, "dense", isa=("c99",))
    assert name == "conv_2d_sparse_groups" and "_sparse" not in dense_name
    assert plan.weight_bytes <= 0.7 * dense.weight_bytes and plan.cycles < 0.7 * dense.cycles
    for family in ("tinygen", "compact"):
        assert "_sparse" not in _chosen(graph, family)[0]


def test_compact_does_not_crawl() -> None:
    """4:8 would take three quarters of the flash, and nearly twice the time."""
    for graph in _layers(n_of_m(SHAPE, 4, 8, np.random.default_rng(0))):
        assert _chosen(graph, "compact")[0] == _chosen(graph)[0]


def test_cores_without_simd() -> None:
    """Break-even comes sooner: the dense kernel there has no SIMD either."""
    for density, sparse in ((0.9, False), (0.4, True)):
        for graph in _layers(single(SHAPE, density, np.random.default_rng(0))):
            assert ("_sparse" in _chosen(graph, isa=("c99",))[0]) == sparse


def test_reference_is_dense() -> None:
    for graph in _layers(single(SHAPE, 0.05, np.random.default_rng(0))):
        assert "_sparse" not in _chosen(graph, "reference")[0]


def test_dead_layer() -> None:
    """Without live weights there is next to nothing in flash, and next to nothing to do."""
    for graph in _layers(np.zeros(SHAPE, bool)):
        name, plan = _chosen(graph)
        assert "_sparse" in name
        weights = next(constant for constant in plan.constants if constant.name == "weights")
        assert weights.data.nbytes <= 16
