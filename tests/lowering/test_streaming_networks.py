"""What `to_streaming` makes, as C: on the host under sanitizers, and on an emulated board."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.passes.test_to_streaming import assert_streams, stride_of
from tests.support.host_batch import run_on_host
from tests.support.integer_layers import random_codes
from tests.support.windows import random_window_network
from tinygen import save, to_streaming
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import Stream
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify
from tinygen.verbs.build import BuildOptions
from tinygen.verbs.verify import verify


def streaming(seed: int, *, lowbit: bool) -> Graph:
    window = random_window_network(seed, lowbit=lowbit)
    graph = to_streaming(window, hop=stride_of(window)).first
    return replace(graph, name=f"{'lowbit' if lowbit else 'int8'}_{seed}")


def samples(graph: Graph, count: int) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(1)
    tensors = [graph.tensors[name] for name in graph.inputs]
    return [[random_codes(t.encoding, t.shape, rng) for t in tensors] for _ in range(count)]


def assert_on_host(graphs: list[Graph], folder: Path) -> None:
    programs = [lower(simplify(graph), isa=("c99", "dsp")) for graph in graphs]
    inputs = [samples(graph, 40) for graph in graphs]
    found = run_on_host(programs, inputs, folder, keep=True)
    for graph, feeds, rows in zip(graphs, inputs, found, strict=True):
        stream = Stream(graph)
        for sample, outputs in zip(feeds, rows, strict=True):
            for ours, theirs in zip(outputs, stream.step(sample), strict=True):
                np.testing.assert_array_equal(ours, theirs, err_msg=graph.name)


def test_on_the_host(tmp_path: Path) -> None:
    assert_on_host([streaming(seed, lowbit=lowbit) for seed in range(3) for lowbit in (False, True)], tmp_path)


@pytest.mark.long
def test_many_on_the_host(tmp_path: Path) -> None:
    for first in (100, 120, 140):
        graphs = [streaming(seed, lowbit=lowbit) for seed in range(first, first + 20) for lowbit in (False, True)]
        assert_on_host(graphs, tmp_path / str(first))


@pytest.mark.long
def test_many_in_the_semantics() -> None:
    for seed in range(10_000, 10_400):
        for lowbit in (False, True):
            graph = random_window_network(seed, lowbit=lowbit)
            assert_streams(graph, stride_of(graph), seed, steps=6)


@pytest.mark.long
@pytest.mark.parametrize("lowbit", [False, True], ids=["int8", "lowbit"])
@pytest.mark.parametrize("board", ["f746zg", "esp32c3"])
def test_on_boards(board: str, lowbit: bool, tmp_path: Path) -> None:
    graph = streaming(8, lowbit=lowbit)
    save(graph, tmp_path / "net.tg")
    np.savez(tmp_path / "x.npz", x=np.stack([sample[0] for sample in samples(graph, 60)]))
    report = verify(tmp_path / "net.tg", tmp_path / "x.npz", BuildOptions(board=board))
    assert report.identical, [comparison.as_json() for comparison in report.comparisons]
