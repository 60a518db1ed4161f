"""Convolutions that mix experts' weights four filters at a time: the codes of mixing them first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.differential.test_gated import random_gate
from tests.support.board_batch import M4, M7
from tests.support.gated import feeds_of, gated_conv
from tests.support.variants import DSP, check_variants
from tests.targets.tools import requires_tool
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.mix_weights import MixWeights
from tinygen.ir.ops.mixed_conv_2d import MixedConv2D
from tinygen.lowering.fuse_mixing import fuse_mixing, mixing_layers
from tinygen.targets.bare_cores import bare_cores

SCALAR = ("c99", "scalar")
ESP32C3, M0PLUS = (bare_cores()[name] for name in ("esp32c3-core", "cortex-m0plus"))


def random_mixture(i: int) -> Graph:
    """1 to 5 experts; any number of channels, live or not; any encodings and endings, also of mixed weights."""
    spec = replace(random_gate(3 * i + 1, seed=5), experts=1 + i % 5)
    graph = gated_conv(spec)
    low, high = (-100, 90) if i % 3 == 2 else (-127, 127)
    ops = (
        replace(op, epilogue=replace(op.epilogue, low=low, high=high)) if isinstance(op, MixWeights) else op
        for op in graph.ops
    )
    return replace(graph, name=f"e{i}", ops=tuple(ops))


def fused(graph: Graph) -> Graph:
    """Its convolution mixes its own weights."""
    found = fuse_mixing(graph, mixing_layers(graph, "tinygen", DSP))
    found.validate()
    assert any(isinstance(op, MixedConv2D) for op in found.ops)
    assert not any(isinstance(op, MixWeights) for op in found.ops)
    return found


def _feeds(graphs: Sequence[Graph]) -> list[list[list[np.ndarray]]]:
    return [feeds_of(graph, np.random.default_rng(i)) for i, graph in enumerate(graphs)]


def test_it_means_the_same() -> None:
    graphs = [random_mixture(i) for i in range(10)]
    for graph, feeds in zip(graphs, _feeds(graphs), strict=True):
        joined = fused(graph)
        assert sum(node.op.macs(node) for node in joined.nodes()) == sum(node.op.macs(node) for node in graph.nodes())
        for x in feeds:
            for ours, wanted in zip(evaluate(joined, x), evaluate(graph, x), strict=True):
                assert np.array_equal(ours, wanted)


def _check(numbers: Sequence[int], part: str = "mixed", **how: object) -> None:
    graphs = [fused(random_mixture(i)) if part else random_mixture(i) for i in numbers]
    check_variants(graphs, _feeds(graphs), part=part, **how)  # type: ignore[arg-type]


SIMD = {"cores": [(M7, (*DSP, "dual-issue")), (M4, DSP)], "in_turn": True}
NO_SIMD = {"isa": SCALAR, "cores": [(ESP32C3, ESP32C3.isa), (M0PLUS, M0PLUS.isa)], "in_turn": True}


def test_with_simd() -> None:
    _check(range(5), most=1, **SIMD)


def test_without_simd() -> None:
    _check(range(5, 10), most=1, **NO_SIMD)


def test_mixed_as_a_whole() -> None:
    """The kernels of a layer whose weights are mixed first."""
    _check(range(2), part="", most=1, **SIMD)
    _check(range(2, 4), part="", most=1, **NO_SIMD)


@pytest.mark.long
@pytest.mark.parametrize("compiler", ["zig", pytest.param("gcc", marks=requires_tool("arm-none-eabi-gcc"))])
def test_many(compiler: str) -> None:
    _check(range(11, 21), most=4, compiler=compiler, **SIMD)
    _check(range(21, 29), most=4, compiler=compiler, **NO_SIMD)
    for how in (SIMD, NO_SIMD):
        _check(range(29, 33), part="", compiler=compiler, most=2, **how)
