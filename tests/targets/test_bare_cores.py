"""Cortex-M0+ without a board: what it executes, what it refuses, and every generated kernel on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.support.board_batch import M0PLUS, run_on_board
from tests.support.networks import Network
from tests.support.random_networks import random_network
from tests.targets.tools import requires_tool
from tinygen.bench import layers
from tinygen.bench.bare import measure_bare
from tinygen.bench.case import case_of
from tinygen.bench.layers import Window
from tinygen.bench.run import BenchOptions, bench
from tinygen.demo import MODEL
from tinygen.errors import BoardError, TinygenError
from tinygen.frontends.load import load_model
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify
from tinygen.targets.bare_cores import bare_cores, board_or_core
from tinygen.targets.emulator import BareCore
from tinygen.targets.toolchain import HostCode, build_flat, find_toolchain

FAST, SLOW = "cortex-m0plus", "cortex-m0plus-slow-multiplier"
COMPILERS = ["zig", pytest.param("gcc", marks=[requires_tool("arm-none-eabi-gcc"), pytest.mark.long])]


def wide_network(dtype: str) -> Graph:
    """Convolutions, depthwise too, pools, sums and a dense end, of one type of activations."""
    net = Network(3, dtype)
    x = net.conv(net.input(9, 7, 3), 5, 3, 2)
    x = net.depthwise(x)
    x = net.add(net.conv(x, 5), x)
    x = net.pool(x, 2, 2)
    if dtype != "int16":
        x = net.pool(x, x.shape[1], 1, average=True, same=True)
    net.reshape(net.conv(x, 6, (2, 2), relu=False), (1, x.shape[1] * x.shape[2] * 6))
    return net.graph(f"wide_{dtype}")


def feeds_of(graph: Graph, rng: np.random.Generator) -> list[list[np.ndarray]]:
    def codes(name: str) -> np.ndarray:
        tensor = graph.tensors[name]
        if tensor.is_float:
            return rng.standard_normal(tensor.shape).astype(np.float32)
        info = np.iinfo(tensor.dtype)
        return rng.integers(info.min, info.max + 1, tensor.shape).astype(tensor.dtype)

    return [[codes(name) for name in graph.inputs] for _ in range(2)]


def same(want: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> bool:
    """Integers equal; floats within what another order of additions gives."""
    return all(
        np.allclose(a, b, rtol=1e-4, atol=1e-5) if a.dtype.kind == "f" else np.array_equal(a, b)
        for a, b in zip(want, got, strict=True)
    )


@pytest.mark.parametrize("compiler", COMPILERS)
def test_generated_code_on_armv6_m(tmp_path: Path, compiler: str) -> None:
    rng = np.random.default_rng(5)
    graphs = [simplify(load_model(MODEL, "digits")), *map(wide_network, ("int8", "int16", "float32"))]
    graphs += [simplify(read_tflite(random_network(rng, 6).model(), name=f"random{i}")) for i in range(6)]
    feeds = [feeds_of(graph, rng) for graph in graphs]
    programs = [lower(graph, isa=bare_cores()[FAST].isa) for graph in graphs]
    results = run_on_board(programs, feeds, tmp_path, M0PLUS, compiler=compiler)
    for graph, rows, got in zip(graphs, feeds, results, strict=True):
        for sample, outputs in zip(rows, got, strict=True):
            assert same(evaluate(graph, sample), outputs), graph.name


@pytest.mark.parametrize(
    ("name", "code"),
    [("movw", "40f23410"), ("add.w with a shift", "02ebc100"), ("udiv", "b0fbf1f0"), ("sxtb16", "2ffa80f0")],
)
def test_wide_thumb_is_refused(tmp_path: Path, name: str, code: str) -> None:
    core = flat(tmp_path, FAST)
    core.map("code", 0x30000000, 4096)
    core.write(0x30000000, bytes.fromhex(code + "7047"))
    with pytest.raises(BoardError):
        core.call(0x30000000)


def test_unaligned_access_is_refused(tmp_path: Path) -> None:
    core = flat(tmp_path, FAST)
    core.map("words", 0x30000000, 4096)
    core.write(0x30000000, (77).to_bytes(4, "little"))
    assert core.call("word", 0x30000000) == 77
    for address in (0x30000001, 0x30000002):
        with pytest.raises(BoardError):
            core.call("word", address)


def flat(folder: Path, core: str) -> BareCore:
    (folder / "x.c").write_text(
        "#include <stdint.h>\nuint32_t word(const uint32_t *p);\nuint32_t word(const uint32_t *p) { return *p; }\n"
    )
    toolchain = find_toolchain("zig", bare_cores()[core])
    return BareCore(build_flat(HostCode(folder, ("x.c",)), folder / "x.elf", toolchain, entries=["word"]), core)


def test_the_multiplier_makes_the_difference() -> None:
    case = case_of("s", "conv", layers.conv_2d("conv", (4, 4, 8), 6, Window((1, 1))))
    # Plain loops: a core that multiplies slowly has no kernels of its own, so tuned ones differ.
    fast, slow = (measure_bare(case, "reference", "zig", bare_cores()[core]) for core in (FAST, SLOW))
    assert fast["instructions"] == slow["instructions"] and fast["flash_bytes"] == slow["flash_bytes"]
    extra = slow["cycles_predicted"] - fast["cycles_predicted"]
    # One product per tap; requantization multiplies, too: 64 bits in 16 x 16 parts.
    assert extra % 31 == 0 and case.macs <= extra // 31 <= case.macs + 20 * 4 * 4 * 6
    assert fast["flash_bytes"] - fast["flash_without_weights_bytes"] >= 8 * 6


def test_bench_measures_on_a_core() -> None:
    report = bench([], ["int8-kernels"], BenchOptions(board=SLOW, only=("fc_64_12",), kernels=("tinygen",), jobs=1))
    (row,) = report.rows
    assert row["error"] is None and row["max_abs_diff"] == 0 and row["board"] == SLOW
    assert row["cycles_predicted"] > 32 * row["macs"] and row["arena_bytes"] == row["ram_bytes"] > 0
    with pytest.raises(TinygenError, match="CMSIS-NN is measured on boards only"):
        bench([], ["int8-kernels"], BenchOptions(board=SLOW, kernels=("cmsis-nn",)))


def test_names() -> None:
    assert board_or_core(FAST).core == FAST and board_or_core("f746zg").core == "cortex-m7"
    with pytest.raises(BoardError, match="cortex-m0plus-slow-multiplier"):
        board_or_core("cortex-m1")
