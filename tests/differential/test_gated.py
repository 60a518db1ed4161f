"""Gated channels in C against the operators' meaning: under sanitizers, in emulated cores, in every family."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.support.bare_batch import run_on_bare_core
from tests.support.board_batch import M4, run_on_board
from tests.support.differential import compare_code
from tests.support.gated import Gated, Masked, feeds_of, gated_conv, gated_depthwise, masked_conv, statistic
from tests.support.integer_layers import INT8, TERNARY, affine, codebook, levels, random_codes
from tinygen.bench.gated_networks import ConvLayer, Method, gated_network
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.channel_statistic import Statistic
from tinygen.ir.ops.window import Padding
from tinygen.lowering.gate_rewriting import can_be_dense, dense_graph, gated_nodes
from tinygen.lowering.lower import lower
from tinygen.targets.bare_cores import bare_cores

Feeds = Sequence[Sequence[np.ndarray]]
_ACTIVATIONS = (INT8, affine(17), levels(4), levels(2, True), TERNARY, affine(-128), codebook(16))
_WEIGHTS = (INT8, INT8, levels(2, True), TERNARY, codebook(4))
_OUTPUTS = (INT8, levels(4), affine(-128), levels(8), TERNARY)


def _compare(graphs: Sequence[Graph], on_board: bool = True) -> None:
    feeds = [feeds_of(graph, np.random.default_rng(i)) for i, graph in enumerate(graphs)]
    expected = [[evaluate(graph, x) for x in feed] for graph, feed in zip(graphs, feeds, strict=True)]
    compare_code(graphs, feeds, expected, ["gated channels"] * len(graphs), on_board=on_board)


def random_gate(i: int, seed: int = 0) -> Gated:
    """One of many: any encodings, all, some or one channel live, experts or none."""
    rng = np.random.default_rng([seed, i])
    channels, filters = (int(n) for n in rng.integers(1, 19, 2))
    kernel = ((1, 1), (3, 3), (3, 2))[i % 3]
    image = (int(rng.integers(3, 7)), int(rng.integers(3, 7)), channels)
    live = (int(rng.integers(0, channels + 1)), int(rng.integers(0, filters + 1)))
    return Gated(
        name=f"g{seed}_{i}",
        image=image,
        filters=filters,
        kernel=kernel,
        stride=(int(rng.integers(1, 3)), int(rng.integers(1, 3))),
        dilation=(1 + (i % 11 == 3), 1),
        same=bool(rng.random() < 0.7) or i % 11 == 3,
        live=live,
        gamma=bool(rng.random() < 0.6),
        experts=int(rng.integers(1, 5)) if i % 3 == 1 else 0,
        biased=bool(rng.random() < 0.7),
        x=_ACTIVATIONS[i % len(_ACTIVATIONS)],
        w=_WEIGHTS[(i // 2) % len(_WEIGHTS)],
        y=_OUTPUTS[(i // 3) % len(_OUTPUTS)],
        seed=i,
    )


def all_computed(graph: Graph) -> Graph:
    """The same with all channels computed, dead ones set to zero, where there is a code of zero."""
    gates = [node.op.name for node in gated_nodes(graph)]
    changed = dense_graph(graph, [name for name in gates if can_be_dense(graph, name)])
    return replace(changed, name=f"{graph.name}_all")


def whole_gate(i: int, seed: int = 0) -> Graph:
    """One of many gated convolutions with constant weights that computes all channels."""
    spec = replace(random_gate(i, seed=seed), experts=0)
    return all_computed(gated_conv(replace(spec, gamma=i % 4 < 3, live=(spec.live[0], max(1, spec.live[1])))))


def test_gated_convolutions() -> None:
    _compare([gated_conv(random_gate(i)) for i in range(10)] + [whole_gate(i) for i in range(4)])


@pytest.mark.long
def test_many_gated_convolutions() -> None:
    _compare([gated_conv(random_gate(i, seed=1)) for i in range(40)])
    _compare([whole_gate(i, seed=1) for i in range(40)])


def random_mask(i: int, seed: int = 0) -> Masked:
    """One of many: any encodings with a code of 0 in the outputs."""
    rng = np.random.default_rng([seed, i])
    channels, filters = (int(n) for n in rng.integers(1, 15, 2))
    return Masked(
        name=f"d{seed}_{i}",
        image=(int(rng.integers(3, 7)), int(rng.integers(3, 7)), channels),
        filters=filters,
        kernel=((3, 3), (1, 1), (2, 3))[i % 3],
        stride=(1 + i % 2, 1),
        same=i % 4 > 0,
        listed=((True, True), (True, False), (False, True))[i % 3],
        x=(INT8, levels(4), affine(-128), TERNARY)[i % 4],
        w=_WEIGHTS[i % len(_WEIGHTS)],
        y=_OUTPUTS[i % len(_OUTPUTS)],
        seed=i,
    )


def random_depthwise(i: int) -> Gated:
    spec = random_gate(i, seed=3)
    return replace(spec, name=f"w{i}", live=(max(1, spec.live[0]), 0), experts=0)


def test_masked_convolutions() -> None:
    """And depthwise ones."""
    masks = [masked_conv(random_mask(i)) for i in range(6)]
    masks += [all_computed(masks[i]) for i in (0, 1)]
    _compare(masks + [gated_depthwise(random_depthwise(i)) for i in range(4)])


@pytest.mark.long
def test_many_masked_convolutions() -> None:
    masks = [masked_conv(random_mask(i, seed=1)) for i in range(30)]
    _compare(masks + [all_computed(one) for one in masks])
    _compare([gated_depthwise(random_depthwise(i)) for i in range(4, 24)])


def random_network(i: int) -> Graph:
    """Two to four layers, gated by any method or not at all."""
    rng = np.random.default_rng([9, i])
    layers = [
        ConvLayer(int(rng.integers(2, 21)), int(rng.integers(1, 3)), Padding.SAME if n or i % 3 else Padding.VALID)
        for n in range(2 + i % 3)
    ]
    density = (None, Fraction(1, 2), Fraction(1, 4), Fraction(9, 10), Fraction(1))[i % 5]
    predictor = i % 4 == 1
    method = Method(density, 0 if predictor else int(rng.choice([0, 0, 2, 4])), predictor)
    image = (int(rng.integers(5, 11)), int(rng.integers(5, 11)), int(rng.integers(1, 9)))
    return gated_network(f"n{i}", layers, image, method, seed=i)


def _compare_networks(numbers: Iterable[int], on_board: bool) -> None:
    graphs = [random_network(i) for i in numbers]
    graphs += [all_computed(graph) for graph in graphs if any(gated_nodes(graph))]
    images = [graph.tensors["image"] for graph in graphs]
    feeds = [[[random_codes(x.encoding, x.shape, np.random.default_rng(n))] for n in range(3)] for x in images]
    expected = [[evaluate(graph, x) for x in feed] for graph, feed in zip(graphs, feeds, strict=True)]
    compare_code(graphs, feeds, expected, ["gated networks"] * len(graphs), on_board=on_board)


def test_networks() -> None:
    _compare_networks(range(4), on_board=False)


@pytest.mark.long
def test_many_networks() -> None:
    _compare_networks(range(5, 25), on_board=True)


def test_statistics() -> None:
    kinds = (INT8, affine(9), levels(4))
    _compare(
        [
            statistic(f"s{i}{live}", (3, 4, 7), live, kind, kinds[(i + live) % 3])
            for i, kind in enumerate(Statistic)
            for live in (0, 3)
        ]
    )


def _check(outputs: Sequence[list[list[np.ndarray]]], graphs: Sequence[Graph], feeds: Sequence[Feeds]) -> None:
    for rows, graph, feed in zip(outputs, graphs, feeds, strict=True):
        for got, x in zip(rows, feed, strict=True):
            for one, wanted in zip(got, evaluate(graph, x), strict=True):
                assert np.array_equal(one, wanted)


def test_other_cores(tmp_path: Path) -> None:
    """Without a second pipeline, and RV32."""
    graphs = [gated_conv(random_gate(i, seed=2)) for i in (1, 2, 4, 6)] + [masked_conv(random_mask(i)) for i in (0, 2)]
    graphs += [whole_gate(i, seed=2) for i in (1, 2)] + [all_computed(graphs[-1])]
    feeds = [feeds_of(graph, np.random.default_rng(7)) for graph in graphs]
    riscv = bare_cores()["esp32c3-core"]
    programs = [lower(graph, isa=riscv.isa) for graph in graphs]
    _check(run_on_bare_core(programs, feeds, tmp_path, riscv), graphs, feeds)
    programs = [lower(graph, isa=("c99", "dsp")) for graph in graphs]
    _check(run_on_board(programs, feeds, tmp_path, core=M4), graphs, feeds)
