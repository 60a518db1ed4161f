"""The plain kernels of layers on integer codes, in every encoding, against the operators' meaning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.support import integer_layers as layers
from tests.support.differential import compare_code
from tests.support.integer_layers import ACTIVATIONS, BINARY, INT32, OUTPUTS, WEIGHTS, Layer
from tests.support.shares import shares
from tinygen.ir.interpreter import evaluate


def _compare(found: Sequence[Layer], label: str, *, on_board: bool = True) -> None:
    graphs, feeds = [layer.graph for layer in found], [layer.feeds for layer in found]
    for graph in graphs:
        graph.validate()
    expected = [[evaluate(graph, x) for x in feed] for graph, feed in zip(graphs, feeds, strict=True)]
    compare_code(graphs, feeds, expected, [label] * len(graphs), on_board=on_board)


def _pick(options: Sequence, index: int, step: int):  # type: ignore[no-untyped-def]
    return options[index * step % len(options)]


@shares
def test_convolutions(every: int) -> None:
    """Each activation meets many weights and outputs; shapes, strides and groups change with them."""
    rng = np.random.default_rng(1)
    found = []
    for index in range(len(ACTIVATIONS) * 2):
        groups = int(rng.choice([1, 1, 1, 2]))
        channels, filters = (int(n) * groups for n in rng.integers(1, 40, 2))
        kernel = tuple(int(k) for k in rng.integers(1, 6, 2))
        x, w = ACTIVATIONS[index % len(ACTIVATIONS)], _pick(WEIGHTS, index, 1)
        found.append(
            layers.conv(
                f"m{index}",
                (int(rng.integers(5, 9)), int(rng.integers(5, 9)), channels),
                filters,
                kernel,
                x=x,
                w=w,
                y=_pick(OUTPUTS, index, 3),
                stride=tuple(int(s) for s in rng.integers(1, 3, 2)),
                same=bool(rng.random() < 0.6),
                groups=groups,
                scaled=rng.random() < 0.2,
                shared=bool(rng.random() < 0.2),
                seed=index,
            )
        )
    _compare(found[::every], "INTEGER_CONV_2D")


@shares
def test_dense_layers(every: int) -> None:
    rng = np.random.default_rng(2)
    found = []
    for index in range(len(ACTIVATIONS) * 3):
        source = ((33,), (2, 3, 5), (1, 1, 64), (2, 2, 32))[index % 4]
        found.append(
            layers.dense(
                f"m{index}",
                source,
                int(rng.integers(1, 40)),
                x=ACTIVATIONS[index % len(ACTIVATIONS)],
                w=_pick(WEIGHTS, index, 1),
                y=_pick(OUTPUTS, index, 2),
                scaled=rng.random() < 0.2,
                shared=bool(rng.random() < 0.2),
                seed=index,
            )
        )
    _compare(found[::every], "INTEGER_FULLY_CONNECTED")


@shares
def test_pools(every: int) -> None:
    found = []
    for index, x in enumerate(ACTIVATIONS):
        sign = ("mixed", "rising", "falling")[index % 3]
        image = (7, 6, (3, 32, 40)[index % 3])
        stride = ((2, 2), (1, 2), (2, 1))[index % 3]
        found.append(layers.max_pool(f"a{index}", image, (2, 3), stride, x=x, same=index % 2 == 0, sign=sign))
        found.append(layers.max_pool(f"b{index}", image, (2, 2), (2, 2), x=BINARY, sign=sign, seed=index))
        y = _pick(OUTPUTS, index, 3)
        found.append(layers.sum_pool(f"s{index}", image, (3, 2), stride, x=x, y=y, same=index % 2 == 1, seed=index))
    _compare(found[::every], "INTEGER_POOL_2D")


@shares
def test_requantization(every: int) -> None:
    found = [
        layers.requantize(f"m{i}_{j}", (3, 4, (5, 32, 35)[(i + j) % 3]), x=x, y=y, seed=i)
        for i, x in enumerate((*ACTIVATIONS, INT32))
        for j, y in enumerate(OUTPUTS)
        if (i + j) % 4 == 0
    ]
    _compare(found[::every], "REQUANTIZE")
