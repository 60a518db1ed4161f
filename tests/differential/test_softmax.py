"""SOFTMAX of codes: the tuned kernel and plain loops, on rows where all powers are equal, or one outweighs all."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.support.board_batch import M4
from tests.support.host_batch import run_on_host
from tests.support.variants import DSP, check_variants
from tests.targets.tools import requires_tool
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.softmax import Softmax
from tinygen.ir.tensor import Tensor
from tinygen.lowering.lower import lower
from tinygen.targets.bare_cores import bare_cores

SHAPES = [((3, 7), 0.05), ((1, 12), 0.2), ((5, 1), 0.1), ((2, 300), 0.02), ((1, 512), 0.11), ((1, 1400), 0.04)]


def graph(name: str, shape: tuple[int, int], scale: float) -> Graph:
    tensors = [
        Tensor("x", shape, Affine("int8", (scale,), (5,))),
        Tensor("y", shape, Affine("int8", (1 / 256,), (-128,))),
    ]
    op = Softmax(name="softmax", inputs=("x",), outputs=("y",), beta=1.5)
    found = Graph(name, {tensor.name: tensor for tensor in tensors}, (op,), ("x",), ("y",))
    found.validate()
    return found


def feeds(shape: tuple[int, int]) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(shape)
    one = np.full(shape, -128, np.int8)
    one[:, -1] = 127
    near = (20 - rng.integers(0, 3, shape)).astype(np.int8)
    anything = rng.integers(-128, 128, (3, *shape)).astype(np.int8)
    return [[np.full(shape, -128, np.int8)], [np.full(shape, 127, np.int8)], [one], [near], *([x] for x in anything)]


GRAPHS = [graph(f"s{i}", shape, scale) for i, (shape, scale) in enumerate(SHAPES)]
FEEDS = [feeds(shape) for shape, _ in SHAPES]


def test_shares() -> None:
    """Rows of more than 512 equal codes: every share rounds to 0."""
    cores = bare_cores()
    assert {lower(one, isa=DSP).layers[0].kernel.name for one in GRAPHS} == {"softmax_s8_shares"}
    targets = [(M4, DSP), *((cores[name], cores[name].isa) for name in ("esp32c3-core", "cortex-m0plus"))]
    assert check_variants(GRAPHS, FEEDS, cores=targets) == len(GRAPHS)


@pytest.mark.long
@requires_tool("arm-none-eabi-gcc")
@requires_tool("riscv64-unknown-elf-gcc")
def test_with_gcc() -> None:
    cores = bare_cores()
    targets = [(cores[name], cores[name].isa) for name in ("esp32c3-core", "cortex-m0plus")]
    check_variants(GRAPHS, FEEDS, cores=targets, compiler="gcc", host=False)


def test_plain_loops() -> None:
    programs = [lower(one, family="reference") for one in GRAPHS]
    with tempfile.TemporaryDirectory() as folder:
        results = run_on_host(programs, FEEDS, Path(folder))
    for one, rows, got in zip(GRAPHS, FEEDS, results, strict=True):
        for row, codes in zip(rows, got, strict=True):
            assert np.array_equal(evaluate(one, row)[0], codes[0]), one.name
