"""Activations of 4 and 2 bits packed in RAM: the same codes, in a smaller arena."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from tests.support import integer_layers as layers
from tests.support.bare_batch import run_on_bare_core
from tests.support.board_batch import M7, run_on_board
from tests.support.chains import Chain
from tests.support.host_batch import run_on_host
from tests.support.integer_layers import Layer, affine, levels
from tests.support.shares import one_in
from tests.targets.tools import requires_tool
from tinygen.ir.encodings import Encoding, IntegerEncoding, Levels, pack_codes, unpack_codes
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.base import Node
from tinygen.lowering import lower as lowering
from tinygen.lowering import packed_activations
from tinygen.lowering.lower import lower
from tinygen.lowering.place import Draft, draft
from tinygen.lowering.program import Program
from tinygen.lowering.select import Choice
from tinygen.targets.bare_cores import bare_cores

DSP = ("c99", "dsp", "dual-issue")
RV32, ARMV6M = ("c99", "scalar", "rv32"), ("c99", "scalar", "armv6m")
GCC = pytest.param("gcc", marks=(requires_tool("arm-none-eabi-gcc"), requires_tool("riscv64-unknown-elf-gcc")))


def chain(seed: int, *, name: str = "") -> Layer:
    """A drawn network: convolutions of every kind that packs, pools and sums between them."""
    rng = np.random.default_rng(seed)
    bits = int(rng.choice([2, 4, 4, 3]))
    code = levels(bits, bool(rng.random() < 0.3))
    net = Chain(name or f"chain{seed}", (int(rng.integers(7, 12)), int(rng.integers(7, 13)), 3), affine(-128))
    wide = bool(rng.random() < 0.5)

    def conv(filters: int, y: Encoding = code, groups: int = 1) -> None:
        first = len(net.ops) == 0
        x = net.tensor.encoding
        assert isinstance(x, IntegerEncoding)
        net.put(
            layers.conv(
                "one",
                net.image,
                filters,
                (3, 3) if (rng.random() < 0.7 and min(net.image[:2]) > 4) or groups > 1 else (1, 1),
                x=x,
                w=affine(0) if first or rng.random() < 0.3 else levels(bits, True),
                y=y,
                same=groups > 1 or bool(rng.random() < 0.7),
                groups=groups,
                seed=seed,
            )
        )

    def channels() -> int:
        return int(rng.choice([16, 32, 48]) if wide else rng.integers(5, 40))

    conv(channels())
    conv(channels())
    if rng.random() < 0.6 and min(net.image[:2]) > 5:
        net.put(layers.max_pool("pool", net.image, (2, 2), (2, 2), x=code, sign=str(rng.choice(["rising", "mixed"]))))
    conv(channels())
    if rng.random() < 0.6:
        conv(net.image[2], groups=net.image[2])
        conv(channels())
    if rng.random() < 0.5:
        skip = net.last
        conv(net.image[2], groups=net.image[2])
        net.put(layers.add("sum", net.image, a=code, b=code, y=code, shared=bool(rng.random() < 0.5)), skip, net.last)
    if rng.random() < 0.3:
        net.put(layers.sum_pool("mean", net.image, (2, 2), (2, 2), x=code, y=code))
    conv(6, affine(3))
    return Layer(net.graph(), net.feeds(2, seed))


def everywhere(least: Draft, choose: Callable[[Node], Choice], _: object) -> Draft:
    """Stands for `pack_activations`: packs all that can be."""
    graph = least.program.graph
    begin = packing = packed_activations._Packing(graph, least.choices)
    for name, bits in packed_activations._packable(graph).items():
        packing = packed_activations._packed(packing, begin, name, bits, choose) or packing
    return draft(packing.graph, packing.choices, caller=least.caller)


def all_packed(graph: Graph, isa: Sequence[str], family: str = "compact") -> Program:
    with (
        patch.object(lowering, "pack_activations", everywhere),
        patch.object(packed_activations, "_SLOWER", 8.0),
    ):
        return lower(graph, isa=isa, family=family, prefer=None)


def packed(program: Program) -> list[str]:
    return [name for name, tensor in program.graph.tensors.items() if tensor.code_bits]


def check(
    found: Sequence[Layer], programs: Sequence[Program], run: Callable[..., list[list[list[np.ndarray]]]]
) -> None:
    """Asserts that programs give what the semantics say."""
    with tempfile.TemporaryDirectory() as folder:
        results = run(programs, [one.feeds for one in found], Path(folder))
    for layer, program, rows in zip(found, programs, results, strict=True):
        for feed, got in zip(layer.feeds, rows, strict=True):
            want = evaluate(layer.graph, feed)
            equal = all(np.array_equal(a, b) for a, b in zip(want, got, strict=True))
            assert equal, f"{layer.graph.name}, packed: {packed(program)}"


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("channels", [1, 3, 4, 7, 8, 16, 17, 33, 40])
def test_packing(bits: int, channels: int) -> None:
    """What is packed is what comes back, and takes whole words; four neighbours lie in the four bytes of a word."""
    codes = np.random.default_rng(channels).integers(0, 2**bits, (2, 3, channels)).astype(np.uint8)
    words = pack_codes(codes, bits)
    assert words.dtype == np.uint32 and words.shape == (2, 3, -(-channels * bits // 32))
    assert np.array_equal(unpack_codes(words, channels, bits), codes)
    if bits > 1 and channels >= 4:
        mask = 0x01010101 * (2**bits - 1)
        assert np.array_equal((words[..., 0] & mask)[..., None].astype("<u4").view(np.uint8), codes[..., :4])


@one_in(4)
def test_chains_on_the_host(every: int) -> None:
    found = [chain(seed) for seed in range(18)][::every]
    programs = [all_packed(one.graph, DSP) for one in found]
    assert sum(len(packed(program)) for program in programs) >= 2 * len(found)
    check(found, programs, run_on_host)


@one_in(4)
def test_chains_on_a_cortex_m7(every: int) -> None:
    found = [chain(seed) for seed in range(20, 32)][::every]
    check(found, [all_packed(one.graph, DSP) for one in found], lambda *a: run_on_board(*a, core=M7))


@pytest.mark.parametrize(("core", "isa"), [("esp32c3-core", RV32), ("cortex-m0plus", ARMV6M)])
@one_in(6)
def test_chains_without_simd(core: str, isa: Sequence[str], every: int) -> None:
    found = [chain(seed) for seed in range(40, 52)][::every]
    programs = [all_packed(one.graph, isa) for one in found]
    assert sum(len(packed(program)) for program in programs) >= 2 * len(found)
    check(found, programs, lambda *a: run_on_bare_core(*a, board=bare_cores()[core]))


def separable(bits: int, channels: int = 64) -> Layer:
    """Pairs of 1x1 and depthwise convolutions, all on codes of so many bits."""
    code, weights = levels(bits), levels(bits, True)
    net = Chain(f"separable{bits}_{channels}", (9, 7, channels), code)
    for kernel, groups in (((1, 1), 1), ((3, 3), channels)) * 2:
        net.put(layers.conv("one", net.image, channels, kernel, x=code, w=weights, y=code, groups=groups, seed=bits))
    net.put(layers.sum_pool("mean", net.image, (9, 7), (1, 1), x=code, y=affine(3)))
    return Layer(net.graph(), net.feeds(2, bits))


@pytest.mark.parametrize("core", ["", "esp32c3-core"])
def test_separable_layers_work_in_place(core: str) -> None:
    """Each layer's codes replace those that it reads: pixels in words, then bits within words."""
    found = [separable(bits) for bits in (2, 3, 4)]
    programs = [all_packed(one.graph, RV32 if core else DSP) for one in found]
    for program in programs:
        assert [program.offsets[f"t{i}"] for i in range(5)] == [program.offsets["t0"]] * 5
        assert packed(program) == ["t1", "t2", "t3", "t4"]
    check(found, programs, run_on_host)
    board = bare_cores()[core] if core else None
    run = (lambda *a: run_on_bare_core(*a, board=board)) if board else lambda *a: run_on_board(*a, core=M7)
    check(found, programs, run)


@pytest.mark.parametrize("isa", [DSP, RV32])
def test_words_with_other_bits_are_not_written_in_place(isa: Sequence[str]) -> None:
    """Of channels that there are not, which words of the output have as zeros."""
    program = all_packed(separable(4, 12).graph, isa)
    assert {"t1", "t2"} <= set(packed(program))
    assert program.offsets["t1"] != program.offsets["t2"]


def grouped_chain(bits: int, filters: int) -> Layer:
    """A grouped convolution between two others; a group has so many filters."""
    code, weights = levels(bits), levels(bits, True)
    net = Chain(f"groups{bits}_{filters}", (6, 5, 3), affine(-128))
    for outputs, groups, x, y in ((12, 1, affine(-128), code), (3 * filters, 3, code, code), (6, 1, code, affine(3))):
        net.put(layers.conv("one", net.image, outputs, (2, 2), x=x, w=weights, y=y, groups=groups, seed=bits))
    return Layer(net.graph(), net.feeds(2, bits))


def test_groups_without_simd() -> None:
    """Fours of a group's filters that fill the bytes of a word, or lie in two words."""
    found = [grouped_chain(bits, filters) for bits, filters in ((4, 3), (2, 7), (4, 8), (2, 4))]
    programs = [all_packed(one.graph, RV32) for one in found]
    for program in programs:
        step = program.layers[1]
        assert step.kernel.name.endswith("_scalar") and step.node.output.name in packed(program)
    check(found, programs, lambda *a: run_on_bare_core(*a, board=bare_cores()["esp32c3-core"]))


def pooled_chain(bits: int, channels: int, sign: str) -> Layer:
    """A largest or smallest code of bytes, packed, and a sum of packed codes."""
    code, weights = levels(bits), levels(2, True)
    net = Chain(f"pools{bits}_{channels}_{sign}", (7, 9, 3), affine(-128))
    net.put(layers.conv("one", net.image, channels, (1, 1), x=affine(-128), w=weights, y=code, seed=bits))
    net.put(layers.max_pool("pool", net.image, (2, 3), (1, 2), x=code, sign=sign, same=bits == 2, seed=channels))
    net.put(layers.sum_pool("mean", net.image, (3, 2), (2, 1), x=code, y=code, same=channels % 2 == 0))
    net.put(layers.conv("one", net.image, 6, (1, 1), x=code, w=weights, y=affine(3), seed=bits))
    return Layer(net.graph(), net.feeds(2, bits))


@pytest.mark.parametrize(
    ("core", "isa"), [("esp32c3-core", RV32), pytest.param("cortex-m0plus", ARMV6M, marks=pytest.mark.long), ("", DSP)]
)
def test_pools_that_pack(core: str, isa: Sequence[str]) -> None:
    """Pools that read bytes and write words: whole words of channels, whole fours, and others."""
    found = [pooled_chain(*how) for how in ((4, 16, "mixed"), (2, 23, "falling"), (4, 12, "rising"), (2, 5, "mixed"))]
    with patch.object(packed_activations, "_packable", lambda graph: dict.fromkeys(("t2", "t3"), _bits(graph))):
        programs = [all_packed(one.graph, isa) for one in found]
    for program in programs:
        assert program.layers[1].kernel.name == "packed_max_pool_2d" and packed(program) == ["t2", "t3"]
        assert program.layers[2].kernel.name.startswith("summed_pool_2d")
    board = bare_cores()[core] if core else None
    check(found, programs, (lambda *a: run_on_bare_core(*a, board=board)) if board else run_on_host)


def _bits(graph: Graph) -> int:
    encoding = graph.tensors["t2"].encoding
    assert isinstance(encoding, Levels)
    return encoding.bits


@pytest.mark.long
@pytest.mark.parametrize("compiler", ["zig", GCC])
def test_many_chains(compiler: str) -> None:
    """Every network on both cores and by both compilers, but not on each core by each compiler."""
    chains = [chain(seed) for seed in range(100, 124)]
    found = chains[compiler == "gcc" :: 2]
    check(found, [all_packed(one.graph, DSP) for one in found], lambda *a: run_on_board(*a, compiler=compiler))
    board, found = bare_cores()["esp32c3-core"], chains[compiler == "zig" :: 2]
    programs = [all_packed(one.graph, RV32) for one in found]
    check(found, programs, lambda *a: run_on_bare_core(*a, board=board, compiler=compiler))
