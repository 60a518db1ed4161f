"""Break-even sparsities, and which kernels are chosen on both sides of them."""

from __future__ import annotations

import pytest

from tests.support import integer_layers
from tests.support.integer_layers import affine, levels
from tinygen.bench import layers, lowbit
from tinygen.bench.layers import Window
from tinygen.bench.sparse import without_kernels
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.ops.base import Node
from tinygen.lowering.break_even import break_even
from tinygen.lowering.select import DENSE, SPARSE, choose, choose_without_code

CORES = {"m7": ("c99", "dsp", "dual-issue"), "m4": ("c99", "dsp"), "m0plus": ("c99",)}
TERNARY = next(coding for coding in lowbit.CODINGS if coding.label == "ternary")
MODELS = {
    "3x3": layers.conv_2d("a", (12, 12, 32), 32, Window((3, 3))),
    "1x1": layers.conv_2d("b", (8, 8, 64), 64, Window((1, 1))),
    "5x5": layers.conv_2d("c", (14, 14, 16), 24, Window((5, 5), (2, 2))),
    "ternary": lowbit.integer_conv_2d("d", (8, 8, 32), 32, Window((3, 3)), TERNARY),
}


def node_of(model: MemoryModel, sparsity: float) -> Node:
    graph = without_kernels(model, sparsity).graph
    return graph.node(graph.ops[0])


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("name", MODELS)
def test_choice_on_both_sides(name: str, core: str) -> None:
    model, isa = MODELS[name], CORES[core]
    point = break_even(node_of(model, 0.0), isa)
    assert point is not None and 0.05 < point < 0.9
    for sparsity in (0.0, max(point - 0.08, 0.0)):
        assert not choose_without_code(node_of(model, sparsity), "tinygen", isa).kernel.is_sparse
    for sparsity in (point + 0.08, 0.97):
        assert choose_without_code(node_of(model, sparsity), "tinygen", isa).kernel.is_sparse


def test_families() -> None:
    """One leaves sparse kernels out whatever the weights, the other takes them whatever they are."""
    isa = CORES["m7"]
    assert not choose(node_of(MODELS["3x3"], 0.95), DENSE, isa).kernel.is_sparse
    assert choose(node_of(MODELS["3x3"], 0.0), SPARSE, isa).kernel.is_sparse


def test_one_form_per_core() -> None:
    """What is scheduled for cores that issue one instruction at a time is not for those that issue two."""
    names = {core: choose(node_of(MODELS["3x3"], 0.9), "tinygen", isa).kernel.name for core, isa in CORES.items()}
    assert names == {"m7": "conv_2d_sparse_dual", "m4": "conv_2d_sparse_dsp", "m0plus": "conv_2d_sparse_c99"}


def test_weights_without_zero() -> None:
    layer = integer_layers.conv("w", (6, 6, 8), 8, (3, 3), x=affine(0), w=levels(4, True), y=affine(3))
    assert break_even(layer.graph.node(layer.graph.ops[0]), CORES["m7"]) is None
