"""GRU in C against its meaning; against PyTorch and ONNX Runtime it is held in tests/frontends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.cases import Draw, draws
from tests.support.differential import assert_same, compare_code
from tests.support.host_batch import run_on_host
from tests.support.shares import one_in
from tests.support.variants import check_variants
from tinygen.errors import UnsupportedError
from tinygen.ir.encodings import Affine, Encoding, Float32
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import Stream, evaluate
from tinygen.ir.ops.gru import GATES, HIDDEN, STATE, Gru
from tinygen.ir.state import State
from tinygen.ir.tensor import Tensor
from tinygen.lowering.lower import lower
from tinygen.targets.bare_cores import bare_cores

DSP = ("c99", "dsp", "dual-issue")
SCALAR = {"esp32c3-core": ("c99", "scalar", "rv32"), "cortex-m0plus": ("c99", "scalar", "armv6m")}


def gru(draw: Draw, name: str, *, floats: bool = False) -> Graph:
    """A layer that keeps its state; sums from well within the gates' range to far beyond it."""
    rng = draw.rng
    steps, depth, units = draw.integer(1, 6), draw.integer(1, 40), draw.integer(1, 21)
    x_scale, y_scale = float(10 ** rng.uniform(-3, 0)), float(2.0 ** rng.uniform(-7.5, -6))
    x: Encoding = Float32() if floats else Affine("int8", (x_scale,), (draw.integer(-128, 127),))
    y: Encoding = Float32() if floats else Affine("int8", (y_scale,), (draw.integer(-20, 20),))
    state: Encoding = Float32() if floats else STATE
    tensors = [Tensor("x", (1, steps, depth), x), Tensor("h", (1, units), state)]

    def constant(label: str, shape: tuple[int, ...], scale: float, kind: str, most: int) -> Tensor:
        values = rng.normal(size=shape)
        if floats:
            return Tensor(label, shape, Float32(), values.astype(np.float32))
        codes = np.clip(np.round(values * most / 2), -most, most).astype(kind)
        return Tensor(label, shape, Affine(kind, (scale,), (0,)), codes)

    scales = [float(10 ** rng.uniform(-3.5, -1)) for _ in range(2 * GATES)]
    for index, scale in enumerate(scales):
        columns = depth if index < GATES else units
        tensors.append(constant(f"w{index}", (units, columns), scale, "int8", 127))
    biased = draw.yes()
    for index, scale in enumerate(scales if biased else ()):
        given = x_scale if index < GATES else y_scale
        tensors.append(constant(f"b{index}", (units,), scale * given, "int32", 6000))
    inputs = tuple(tensor.name for tensor in tensors) + ("",) * (0 if biased else 2 * GATES)
    tensors += [Tensor("y", (1, steps, units), y), Tensor("after", (1, units), state)]
    op = Gru(name="gru", inputs=inputs, outputs=("y", "after"))
    begin = np.zeros((1, units), np.float32 if floats else np.int16)
    graph = Graph(name, {t.name: t for t in tensors}, (op,), ("x",), ("y",), states=(State("h", "after", begin),))
    graph.validate()
    return graph


def drawn(count: int, *, floats: bool = False) -> list[Graph]:
    label = "gru floats" if floats else "gru"
    return [gru(draw, f"g{index}", floats=floats) for index, draw in enumerate(draws(label, count))]


def feeds(graph: Graph, count: int) -> list[list[np.ndarray]]:
    rng, x = np.random.default_rng(len(graph.name)), graph.tensors["x"]
    if x.is_float:
        return [[rng.normal(size=x.shape).astype(np.float32)] for _ in range(count)]
    return [[rng.integers(-128, 128, x.shape).astype(np.int8)] for _ in range(count)]


@pytest.mark.parametrize("floats", [False, True], ids=["int8", "float32"])
@one_in(4)
def test_c(every: int, floats: bool) -> None:
    graphs = drawn(60, floats=floats)[::every]
    inputs = [feeds(graph, 2) for graph in graphs]
    expected = [[evaluate(graph, sample) for sample in feed] for graph, feed in zip(graphs, inputs, strict=True)]
    assert floats or sum(len(np.unique(rows[0][0])) > 1 for rows in expected) > len(graphs) // 2
    compare_code(graphs, inputs, expected, ["GRU"] * len(graphs), on_board=True)


def test_states_are_kept_in_c(tmp_path: Path) -> None:
    graphs = drawn(60)[::8]
    programs, inputs = [lower(graph, isa=DSP) for graph in graphs], [feeds(graph, 4) for graph in graphs]
    assert any(step.kernel.name == "gru_s8_dsp" for program in programs for step in program.steps)
    for graph, feed, rows in zip(graphs, inputs, run_on_host(programs, inputs, tmp_path, keep=True), strict=True):
        stream = Stream(graph)
        for sample, got in zip(feed, rows, strict=True):
            assert_same(stream.step(sample), got, graph, "C")


def test_every_variant() -> None:
    """Outputs and scratch end where the arena does, by turns: nothing is written beyond them."""
    graphs = drawn(60)[2::15]
    check_variants(graphs, [feeds(graph, 2) for graph in graphs])


@pytest.mark.parametrize("core", SCALAR)
def test_cores_without_simd(core: str) -> None:
    graphs = drawn(60)[1::12]
    cores = ((bare_cores()[core], SCALAR[core]),)
    check_variants(graphs, [feeds(graph, 2) for graph in graphs], isa=SCALAR[core], cores=cores, host=False)


def test_the_integer_state_has_one_scale() -> None:
    graph = drawn(1)[0]
    other = Affine("int16", (2.0**-14,), (0,))
    names = (graph.ops[0].inputs[HIDDEN], graph.ops[0].outputs[1])
    changed = {name: replace(graph.tensors[name], encoding=other) for name in names}
    with pytest.raises(UnsupportedError, match="int16 of scale"):
        replace(graph, tensors={**graph.tensors, **changed}).validate()
