"""Layers whose sums come from tables of shifted additions, against the operators' meaning."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.differential.test_instruction_stream import ACTIVATIONS, CORES, POWERS, forced, worst
from tests.support import integer_layers as layers
from tests.support.board_batch import run_on_board
from tests.support.host_batch import run_on_host
from tests.support.integer_layers import BINARY, INT8, INT32, OUTPUTS, TERNARY, Layer, affine, codebook, levels
from tests.support.shares import one_in
from tests.targets.tools import requires_tool
from tinygen.bench.bare_models import BareModels
from tinygen.ir.encodings import Codebook
from tinygen.ir.interpreter import evaluate
from tinygen.lowering import lower as lowering
from tinygen.lowering.kernels.conv.shift_add import product
from tinygen.lowering.plan import registered_kernels
from tinygen.targets.bare_cores import bare_cores
from tinygen.targets.toolchain import find_toolchain

WEIGHTS = (BINARY, TERNARY, POWERS, levels(2, True), levels(3, True), levels(4, True), codebook(4), codebook(16))
CONV, DENSE = "conv_2d_tables", "fully_connected_tables"
SCALED = "conv_2d_kernel_scales"


def convolutions(count: int, seed: int) -> list[Layer]:
    rng = np.random.default_rng([seed, 1])
    found = []
    for i in range(count):
        kernel = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        found.append(
            layers.conv(
                f"t{seed}_{i}",
                (int(rng.integers(3, 7)), int(rng.integers(3, 7)), int(rng.choice([1, 3, 8, 33]))),
                int(rng.choice([1, 2, 5, 8, 34])),
                kernel,
                x=ACTIVATIONS[i % len(ACTIVATIONS)],
                w=WEIGHTS[i % len(WEIGHTS)],
                y=OUTPUTS[int(rng.integers(len(OUTPUTS)))],
                stride=(int(rng.integers(1, 3)), int(rng.integers(1, 3))),
                same=bool(rng.random() < 0.6),
                dilation=(1, 2) if i % 9 == 3 and kernel[1] < 3 else (1, 1),
                shared=bool(rng.random() < 0.2),
                seed=i,
            )
        )
    return found


def dense_layers(count: int, seed: int) -> list[Layer]:
    rng = np.random.default_rng([seed, 2])
    return [
        layers.dense(
            f"d{seed}_{i}",
            ((7,), (2, 3, 5), (300,), (2, 2, 64))[i % 4],
            int(rng.integers(1, 40)),
            x=ACTIVATIONS[i % len(ACTIVATIONS)],
            w=WEIGHTS[(3 * i) % len(WEIGHTS)],
            y=OUTPUTS[int(rng.integers(len(OUTPUTS)))],
            seed=i,
        )
        for i in range(count)
    ]


def matching(found: Sequence[Layer], name: str) -> list[Layer]:
    """Those that the kernel takes: not those with a word per pixel where two pixels must share one."""
    kernel = next(k for k in registered_kernels() if k.name == name)
    return [layer for layer in found if kernel.variants(layer.graph.node(layer.graph.ops[0]))]


def check(
    found: Sequence[Layer],
    name: str,
    cores: Sequence[str],
    *,
    host: bool = True,
    compiler: str = "zig",
    in_turn: bool = False,
) -> None:
    """On the host, and on each of the cores; in turn, each layer on one of them."""
    if in_turn:
        for number, suffix in enumerate(cores):
            check(found[number :: len(cores)], name, [suffix], host=host, compiler=compiler)
        return
    feeds = [layer.feeds for layer in found]
    results = []
    for suffix in cores:
        core, isa = CORES[suffix]
        programs = [forced(layer, name, 0, isa) for layer in found]
        with tempfile.TemporaryDirectory() as folder:
            results.append(run_on_board(programs, feeds, Path(folder), core, compiler=compiler))
    if host:
        with tempfile.TemporaryDirectory() as folder:
            results.append(run_on_host(programs, feeds, Path(folder)))
    for result in results:
        for layer, rows in zip(found, result, strict=True):
            for sample, got in zip(layer.feeds, rows, strict=True):
                want = evaluate(layer.graph, sample)[0]
                assert np.array_equal(want, got[0]), f"{name} {layer.graph.name}\n{layer.graph}"


@one_in(3)
def test_convolutions(every: int) -> None:
    found = convolutions(24, 1)
    assert len(matching(found, CONV)) == 24
    check(found[::every], CONV, ["", "_dual"], in_turn=every > 1)


def test_dense_layers() -> None:
    check(dense_layers(16, 1), DENSE, ["", "_dual"], in_turn=True)


def scaled_convolutions(count: int, seed: int) -> list[Layer]:
    """With a scale per kernel; chunks of channels, too."""
    rng = np.random.default_rng([seed, 3])
    return [
        layers.conv(
            f"k{seed}_{i}",
            (5, 6, int(rng.choice([1, 3, 8, 70]))),
            int(rng.choice([1, 5, 34])),
            ((3, 3), (1, 1), (5, 3), (2, 3))[i % 4],
            x=ACTIVATIONS[i % len(ACTIVATIONS)],
            w=(BINARY, TERNARY, levels(2, True))[i % 3],
            y=OUTPUTS[int(rng.integers(len(OUTPUTS)))],
            stride=(int(rng.integers(1, 3)), 1),
            same=bool(rng.random() < 0.6),
            scaled=True,
            seed=i,
        )
        for i in range(count)
    ]


@pytest.mark.long
def test_kernel_scales() -> None:
    found = scaled_convolutions(16, 1)
    taken = matching(found, SCALED)
    assert len(taken) >= 14
    check(taken, SCALED, ["", "_dual"])
    layer = layers.conv("k", (6, 6, 16), 16, (3, 3), x=affine(3), w=BINARY, y=affine(3), scaled=True)
    assert lowering.lower(layer.graph, isa=("c99",)).steps[0].kernel.name == SCALED
    assert not matching(convolutions(4, 1), SCALED) and not matching(found, CONV)


@pytest.mark.long
@requires_tool("arm-none-eabi-gcc")
def test_with_gcc() -> None:
    check(convolutions(8, 3), CONV, [""], host=False, compiler="gcc")
    check(matching(scaled_convolutions(8, 3), SCALED), SCALED, ["", "_dsp"], host=False, compiler="gcc")


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5, 8))
def test_many(seed: int) -> None:
    check(convolutions(40, seed), CONV, ["", "_dual"], in_turn=True)
    check(dense_layers(20, seed), DENSE, ["", "_dual"], in_turn=True)


def test_halves_at_their_ends() -> None:
    """All activations and weights at one end, two pixels in opposite directions."""
    found = [worst(w, taps, f"w{i}_{taps}") for taps in (250, 700) for i, w in enumerate((1, -1, -3, 127))]
    for value in (20, 21, 22, 40):
        # Two weights that differ: a word of indices may hold more taps than halves do.
        book = Codebook((1.0,), table=(-value, value))
        layer = layers.conv(f"v{value}", (2, 1, 40), 2, (1, 1), x=affine(0), w=book, y=INT32, seed=3)
        w = layer.graph.tensors["w"]
        assert w.data is not None
        w.data[0], w.data[1] = 0, 1
        ends = np.full((1, 2, 1, 40), -128, np.int8)
        found.append(Layer(layer.graph, [[ends], [-1 - ends]]))
    check(found, CONV, [""])


def test_few_values() -> None:
    """Weights of which none is negative, or that are all the same: the first of a table is 0, or all of it."""
    book = Codebook((1.0,), table=(-5, 0, 7, 9))
    rng = np.random.default_rng(0)
    convs, denses = [], []
    for i, present in enumerate(((0,), (3,), (0, 3), (0, 1, 3), (2, 3))):
        convs.append(layers.conv(f"c{i}", (4, 4, 9), 5, (3, 2), x=affine(0), w=book, y=INT32, seed=1))
        denses.append(layers.dense(f"d{i}", (37,), 5, x=affine(0), w=book, y=INT32, seed=1))
        for layer in (convs[-1], denses[-1]):
            w = layer.graph.tensors["w"]
            assert w.data is not None
            w.data[...] = rng.choice(present, w.data.shape)
    check(convs, CONV, ["", "_dual"])
    check(denses, DENSE, ["", "_dual"])


@pytest.mark.parametrize("w", [BINARY, TERNARY, levels(2, True)], ids=str)
def test_is_chosen_without_simd(w: layers.IntegerEncoding) -> None:
    """On Armv6-M, when code for weights is not wanted; weights then take their bits and a little more."""
    layer = layers.conv("c", (6, 6, 32), 16, (3, 3), x=affine(-128), w=w, y=affine(0))
    (step,) = lowering.lower(layer.graph, isa=("c99",), code_bytes=0).steps
    assert step.kernel.name == CONV
    bits = {BINARY: 1, TERNARY: 1.78, levels(2, True): 2}[w]
    assert step.plan.constants[0].data.nbytes <= 16 * 288 * bits / 8 * 1.2
    dense = layers.dense("d", (256,), 32, x=affine(-128), w=w, y=affine(0))
    (step,) = lowering.lower(dense.graph, isa=("c99",)).steps
    assert step.kernel.name == DENSE


def test_many_weights_do_not_match() -> None:
    layer = layers.conv("c", (6, 6, 32), 16, (3, 3), x=affine(-128), w=INT8, y=affine(0))
    assert not matching([layer], CONV)


@pytest.mark.parametrize("w", [BINARY, TERNARY, levels(2, True)], ids=str)
def test_packed_bits_are_not_read(w: layers.IntegerEncoding) -> None:
    """Nor do the kernels of weights as instructions; others do, which make bytes of bits first."""
    conv = layers.conv("c", (5, 6, 33), 9, (3, 3), x=BINARY, w=w, y=affine(0), same=False)
    scaled = layers.conv("s", (5, 6, 33), 9, (3, 3), x=BINARY, w=w, y=affine(0), same=False, scaled=True)
    dense = layers.dense("d", (64,), 9, x=BINARY, w=w, y=affine(0))
    for layer in (conv, scaled, dense):
        (step,) = lowering.lower(layer.graph, isa=("c99", "dsp", "dual-issue")).steps
        assert not any(word in step.kernel.name for word in ("tables", "stream")), step.kernel.name
        assert step.kernel.name != "conv_2d_kernel_scales"


def test_products() -> None:
    x = 0x89ABCDEF
    for factor in range(-130, 131):
        text = product("x", factor).replace("0U", "0")
        assert eval(text, {"x": x}) & 0xFFFFFFFF == factor * x & 0xFFFFFFFF, (factor, text)
        assert "*" not in text


@pytest.mark.long
@pytest.mark.parametrize("compiler", ["zig", pytest.param("gcc", marks=requires_tool("riscv64-unknown-elf-gcc"))])
def test_the_estimate_is_what_the_core_takes(compiler: str) -> None:
    """Of one pixel, as a wake word's network has in each step, where int8's kernel takes about as long."""
    two = levels(2)
    layer = layers.conv("step", (7, 1, 48), 48, (7, 1), x=two, w=levels(2, True), y=two, same=False)
    program = lowering.lower(layer.graph, family="compact", isa=("c99", "scalar"), prefer=None)
    board = bare_cores()["esp32c3-core"]
    (chosen,) = program.layers
    assert chosen.kernel.name == CONV
    took = BareModels([program], board, find_toolchain(compiler, board)).run(0, layer.feeds[0]).cycles
    assert chosen.plan.cycles == pytest.approx(took, rel=0.04)
