"""Every pass gives a graph that means the same, on random networks with many constant and unread channels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.support.cases import draws
from tests.support.differential import compare_models
from tests.support.random_networks import random_network
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate, evaluate_all
from tinygen.passes.fold_ranges import fold_ranges
from tinygen.passes.pipeline import simplify
from tinygen.passes.ranges import channel_ranges
from tinygen.passes.remove_channels import remove_channels


def feeds(graph: Graph, rng: np.random.Generator, count: int = 4) -> list[list[np.ndarray]]:
    """Random codes; in one sample all are the least, in one the largest."""
    rows = []
    for index in range(count):
        row = []
        for name in graph.inputs:
            tensor = graph.tensors[name]
            info = np.iinfo(tensor.dtype)
            low, high = {0: (info.min, info.min), 1: (info.max, info.max)}.get(index, (info.min, info.max))
            row.append(rng.integers(low, high + 1, tensor.shape).astype(tensor.dtype))
        rows.append(row)
    return rows


def assert_same_meaning(before: Graph, after: Graph, rng: np.random.Generator) -> None:
    after.validate()
    assert (before.inputs, before.outputs) == (after.inputs, after.outputs)
    for sample in feeds(before, rng):
        for want, got in zip(evaluate(before, sample), evaluate(after, sample), strict=True):
            assert want.dtype == got.dtype
            assert np.array_equal(want, got)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("change", [simplify, fold_ranges, remove_channels])
def test_means_the_same(change: Callable[[Graph], Graph], dtype: str) -> None:
    for draw in draws(f"{dtype} networks", 40):
        graph = read_tflite(random_network(draw.rng, draw.integer(1, 8), dtype).model())
        assert_same_meaning(graph, change(graph), draw.rng)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_no_code_leaves_its_range(dtype: str) -> None:
    for draw in draws(f"{dtype} ranges", 40):
        graph = read_tflite(random_network(draw.rng, draw.integer(1, 8), dtype).model())
        ranges = channel_ranges(graph)
        for sample in feeds(graph, draw.rng):
            values = evaluate_all(graph, sample)
            for name, known in ranges.items():
                assert (values[name] >= known.low).all() and (values[name] <= known.high).all(), name


@pytest.mark.parametrize("count", [8, pytest.param(48, marks=pytest.mark.long)])
def test_the_c_as_well(count: int) -> None:
    models, samples = [], []
    for draw in draws(f"{count} in C", count):
        models.append(random_network(draw.rng, draw.integer(2, 7)).model())
        samples.append(feeds(read_tflite(models[-1]), draw.rng, 3))
    compare_models(models, samples, ["simplified networks"] * len(models))
