"""Convolutions whose weights are instructions, against the operators' meaning: on the host and on emulated cores."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from tests.support import integer_layers as layers
from tests.support.bare_batch import run_on_bare_core
from tests.support.board_batch import M0PLUS, M4, M7, Core, run_on_board
from tests.support.host_batch import run_on_host
from tests.support.integer_layers import BINARY, INT8, INT32, OUTPUTS, TERNARY, Layer, affine, codebook, levels
from tests.targets.tools import requires_tool
from tinygen.ir.encodings import PowerOfTwo
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.base import Node
from tinygen.lowering import lower as lowering
from tinygen.lowering.plan import registered_kernels
from tinygen.lowering.program import Program
from tinygen.lowering.select import Choice
from tinygen.targets.bare_cores import bare_cores
from tinygen.targets.board import Board

POWERS = PowerOfTwo((1.0,), exponents=7)
ACTIVATIONS = (
    affine(-128),
    affine(0),
    affine(13),
    TERNARY,
    *(levels(b) for b in (2, 4, 7, 8)),
    *(levels(b, True) for b in (2, 4, 7)),
)
WEIGHTS = (TERNARY, POWERS, BINARY, levels(2, True), levels(3, True), codebook(8), INT8)
STREAM = "conv_2d_stream"
CORES: dict[str, tuple[Core | Board, tuple[str, ...]]] = {
    "": (M0PLUS, ("c99",)),
    "_dsp": (M4, ("c99", "dsp")),
    "_dual": (M7, ("c99", "dsp", "dual-issue")),
    "_rv32": (bare_cores()["esp32c3-core"], ("c99", "scalar", "rv32")),
}


def forced(layer: Layer, kernel: str, index: int, isa: Sequence[str]) -> Program:
    """The program with that kernel, in the plan of that index, counted modulo theirs."""

    def pick(node: Node, *_: object) -> Choice:
        plans = next(k for k in registered_kernels() if k.name == kernel).variants(node)
        assert plans, f"{kernel} does not match\n{node.describe()}"
        return Choice(next(k for k in registered_kernels() if k.name == kernel), (plans[index % len(plans)],))

    with patch.object(lowering, "choose", pick), patch.object(lowering, "coded_layers", return_value={"y"}):
        program = lowering.lower(layer.graph, isa=isa)
    assert [step.kernel.name for step in program.steps] == [kernel]
    return program


def convolutions(count: int, seed: int) -> list[Layer]:
    """Odd and even outputs, single rows and pixels, strides, dilation; encodings in turn."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        kernel = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        height = kernel[0] if i % 5 == 0 else int(rng.integers(5, 8))
        found.append(
            layers.conv(
                f"s{seed}_{i}",
                (height, int(rng.integers(5, 9)), int(rng.choice([1, 2, 3, 5, 8, 13]))),
                int(rng.choice([1, 2, 4, 7, 8, 9, 17])),
                kernel,
                x=ACTIVATIONS[i % len(ACTIVATIONS)],
                w=WEIGHTS[int(rng.integers(len(WEIGHTS)))],
                y=OUTPUTS[int(rng.integers(len(OUTPUTS)))],
                stride=(int(rng.integers(1, 3)), int(rng.integers(1, 3))),
                same=bool(i % 5 and rng.random() < 0.6),
                dilation=(1, 2) if i % 7 == 3 else (1, 1),
                shared=bool(rng.random() < 0.2),
                zeros=float(rng.choice([0, 0.5, 0.9])),
                seed=i,
            )
        )
    return found


def matching(found: Sequence[Layer]) -> list[Layer]:
    """Those that the kernels take: weights from -127 to 127."""
    kernel = next(k for k in registered_kernels() if k.name == STREAM)
    return [layer for layer in found if kernel.variants(layer.graph.node(layer.graph.ops[0]))]


def check(found: Sequence[Layer], suffix: str, *, host: bool, compiler: str = "zig", level: str = "") -> int:
    core, isa = CORES[suffix]
    programs = [forced(layer, STREAM + suffix, i, isa) for i, layer in enumerate(found)]
    feeds = [layer.feeds for layer in found]
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(core, Board):
            results = [run_on_bare_core(programs, feeds, Path(folder), core, compiler)]
        else:
            results = [run_on_board(programs, feeds, Path(folder), core, level, compiler)]
    if host:
        with tempfile.TemporaryDirectory() as folder:
            results.append(run_on_host(programs, feeds, Path(folder)))
    for result in results:
        for layer, rows in zip(found, result, strict=True):
            for sample, got in zip(layer.feeds, rows, strict=True):
                want = evaluate(layer.graph, sample)
                assert np.array_equal(want[0], got[0]), f"{layer.graph.name} {suffix}\n{layer.graph}"
    return len(found)


@pytest.mark.parametrize("suffix", CORES)
def test_convolutions(suffix: str) -> None:
    assert check(matching(convolutions(14, 1)), suffix, host=True) >= 11


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 5))
@pytest.mark.parametrize("suffix", CORES)
def test_many_convolutions(suffix: str, seed: int) -> None:
    """Each layer by the kernels of two of the cores."""
    first = (list(CORES).index(suffix) + seed) % 2
    check(matching(convolutions(30, seed))[first::2], suffix, host=True)


@requires_tool("riscv64-unknown-elf-gcc")
def test_on_risc_v_with_gcc() -> None:
    check(matching(convolutions(5, 8)), "_rv32", host=False, compiler="gcc")


@requires_tool("arm-none-eabi-gcc")
@pytest.mark.parametrize("suffix", ["", "_dsp", "_dual"])
@pytest.mark.parametrize("level", ["-O3", pytest.param("-Os", marks=pytest.mark.long)])
def test_with_gcc(suffix: str, level: str) -> None:
    check(matching(convolutions(5, 8)), suffix, host=False, compiler="gcc", level=level)


def worst(weights: int, taps: int, name: str) -> Layer:
    """All weights alike and all activations at one end: the largest sums there can be."""
    layer = layers.conv(name, (2, 1, taps), 2, (1, 1), x=affine(0), w=INT8, y=INT32, seed=3)
    w = layer.graph.tensors["w"]
    assert w.data is not None
    w.data[...] = weights
    ends = [np.full((1, 2, 1, taps), end, np.int8) for end in (-128, 127)]
    mixed = ends[0].copy()
    mixed[:, 1] = 127
    return Layer(layer.graph, [[ends[0]], [ends[1]], [mixed]])


def test_halves_at_their_ends() -> None:
    """Sums that fill both halves, in opposite directions too: nothing carries from one into the other."""
    found = [worst(w, taps, f"w{i}_{taps}") for taps in (256, 300) for i, w in enumerate((1, -127))]
    for suffix in CORES:
        check(found, suffix, host=suffix == "")


@pytest.mark.parametrize(("suffix", "dense"), [("_dual", False), ("_dsp", False), ("", True)])
def test_is_chosen_when_it_pays(suffix: str, dense: bool) -> None:
    """From 70 % of zeros on; not for dense powers of two in a core that multiplies two pairs at a time."""
    for zeros, wanted in ((0.0, dense), (0.7, True), (0.9, True)):
        layer = layers.conv("z", (8, 8, 32), 32, (3, 3), x=affine(-128), w=POWERS, y=affine(3), zeros=zeros)
        (step,) = lowering.lower(layer.graph, isa=CORES[suffix][1]).steps
        assert (step.kernel.name == STREAM + suffix) is wanted, (zeros, step.kernel.name)


def test_code_from_slow_flash_is_charged() -> None:
    """Where each instruction serves few pixels before it must come again, weights stay data."""
    for size, wanted in ((16, True), (4, False)):
        layer = layers.conv("slow", (size, size, 32), 32, (3, 3), x=levels(4), w=TERNARY, y=levels(4), zeros=0.5)
        (step,) = lowering.lower(layer.graph, isa=CORES["_rv32"][1]).steps
        assert (step.kernel.name == STREAM + "_rv32") is wanted, (size, step.kernel.name)


def test_code_is_limited() -> None:
    layer = layers.conv("z", (8, 8, 64), 64, (1, 1), x=affine(-128), w=TERNARY, y=affine(3), zeros=0.8)
    isa = CORES["_dual"][1]
    plan = lowering.lower(layer.graph, isa=isa).steps[0].plan
    assert plan.code_bytes > 1000
    assert lowering.lower(layer.graph, isa=isa, code_bytes=plan.code_bytes).steps[0].plan.code_bytes
    assert not lowering.lower(layer.graph, isa=isa, code_bytes=plan.code_bytes - 1).steps[0].plan.code_bytes


def test_two_layers_in_several_pieces() -> None:
    """The second function's name is the first's with a number, as the names of the first one's pieces once were."""
    first, second = (
        layers.conv("two", (6, 6, 32), 16 * seed, (3, 3), x=affine(3), w=TERNARY, y=affine(3), zeros=0.8, seed=seed)
        for seed in (2, 1)
    )
    renamed = {f"second_{n}": replace(t, name=f"second_{n}") for n, t in second.graph.tensors.items() if n != "x"}
    (op,) = second.graph.ops
    ends = tuple("y" if name == "x" else f"second_{name}" for name in op.inputs)
    last = replace(op, name="last", inputs=ends, outputs=("second_y",))
    graph = Graph("two", {**first.graph.tensors, **renamed}, (*first.graph.ops, last), ("x",), ("second_y",))
    graph.validate()
    program = lowering.lower(graph, isa=CORES["_dual"][1])
    assert [step.kernel.name for step in program.steps] == [f"{STREAM}_dual"] * 2
    with tempfile.TemporaryDirectory() as folder:
        (rows,) = run_on_board([program], [first.feeds], Path(folder), M7)
    for sample, got in zip(first.feeds, rows, strict=True):
        assert np.array_equal(evaluate(graph, sample)[0], got[0])
