"""Convolutions on integer codes whose window is the whole input, by the kernels of dense layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.differential.test_integer_tuned import WEIGHTS
from tests.differential.test_scalar import BUILDS, ESP32C3, ISA, M0PLUS
from tests.differential.test_tuned import window
from tests.differential.test_widened import ACTIVATIONS
from tests.support import integer_layers as layers
from tests.support.board_batch import M4, M7
from tests.support.integer_layers import BINARY, INT8, OUTPUTS, Layer, affine, levels
from tests.support.shares import one_in
from tests.support.variants import DSP, check_variants
from tests.targets.tools import requires_tool
from tinygen.ir.epilogue import Tflite
from tinygen.lowering.kernels.dense.conv_2d_whole import dense_node
from tinygen.lowering.select import choose
from tinygen.targets.board import Board

PART = "whole"
INPUTS = (affine(-128), affine(5), levels(2), levels(4), *ACTIVATIONS)
SHAPES = ((3, 1, 17), (5, 1, 8), (2, 2, 5), (1, 1, 33), (7, 1, 4), (1, 3, 1))


def drawn(count: int, seed: int) -> list[Layer]:
    """Whole and broken words, one output and many; encodings in turn."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        image = SHAPES[i % len(SHAPES)]
        filters = int(rng.choice([1, 2, 3, 4, 9, 34]))
        x, y = INPUTS[(i + seed) % len(INPUTS)], OUTPUTS[int(rng.integers(len(OUTPUTS)))]
        w = WEIGHTS[int(rng.integers(len(WEIGHTS)))]
        name, stride = f"w{seed}_{i}", (1 + i % 3, 1)
        shared = i % 4 == 0
        found.append(
            layers.conv(
                name, image, filters, image[:2], x=x, w=w, y=y, stride=stride, same=False, shared=shared, seed=i
            )
        )
    return found


def _check(found: list[Layer], **options: object) -> int:
    return check_variants([one.graph for one in found], [one.feeds for one in found], part=PART, **options)  # type: ignore[arg-type]


@one_in(3)
def test_with_simd(every: int) -> None:
    # The last: a grid of weights that does not begin at 0, with thresholds along a line.
    found = [*drawn(24, 1)[::every], drawn(27, 5)[26]]
    assert _check(found, in_turn=True) >= len(found)


@one_in(3)
def test_without(every: int) -> None:
    cores = [(core, core.isa) for core in (ESP32C3, M0PLUS)]
    assert _check(drawn(24, 2)[::every], isa=ISA, cores=cores, in_turn=True) >= 24 // every


@pytest.mark.long
@requires_tool("arm-none-eabi-gcc")
@pytest.mark.parametrize("seed", range(3, 6))
def test_many(seed: int) -> None:
    _check(drawn(60, seed), in_turn=True, turns=2)
    cores = ((M7, (*DSP, "dual-issue")), (M4, DSP))
    _check(drawn(20, 10 + seed), host=False, compiler="gcc", cores=cores, in_turn=True)


@pytest.mark.long
@pytest.mark.parametrize(("compiler", "board"), BUILDS)
def test_many_without(compiler: str, board: Board) -> None:
    """Every layer on both cores and by both compilers, but not on each core by each compiler."""
    found = drawn(40, 20)[(compiler == "gcc") ^ (board is M0PLUS) :: 2]
    _check(found, host=False, isa=ISA, cores=[(board, board.isa)], compiler=compiler)


def one_output(image: tuple[int, int, int], kernel: tuple[int, int], **how: object) -> Layer:
    how = {"same": False, **how}
    return layers.conv("one", image, 2 if "groups" in how else 1, kernel, x=affine(-128), w=INT8, y=affine(3), **how)  # type: ignore[arg-type]


def test_chosen() -> None:
    """The last layer of a wake word's network; and what is not the whole input."""
    last = one_output((30, 1, 48), (30, 1)).graph
    found = choose(last.node(last.ops[0]), "compact", DSP)
    assert found.kernel.name == "conv_2d_whole_few_dsp" and found.fastest.scratch_bytes == 0
    assert found.fastest.weight_bytes < 30 * 48 + 32
    assert choose(last.node(last.ops[0]), "compact", ISA).kernel.name == "conv_2d_whole_lines"
    bits = layers.conv("bits", (5, 1, 48), 48, (5, 1), x=levels(2), w=BINARY, y=levels(2), same=False).graph
    assert choose(bits.node(bits.ops[0]), "compact", DSP).kernel.name == "conv_2d_whole_packed_bytes"
    others = [
        one_output((30, 1, 48), (29, 1)),
        one_output((4, 4, 3), (2, 2), dilation=(3, 3)),
        one_output((1, 1, 8), (3, 3), same=True),
        one_output((5, 1, 8), (5, 1), groups=2),
        one_output((5, 1, 8), (5, 1), scaled=True),
        one_output((5, 1, 8), (4, 1), stride=(2, 1)),
    ]
    assert all(dense_node(one.graph.node(one.graph.ops[0])) is None for one in others)


def test_they_round_as_convolutions_do() -> None:
    """LiteRT rounds sums of convolutions twice, and those of dense layers in double precision."""
    rng = np.random.default_rng(0)
    graph, _ = window((1, 1), 64, 64, (1, 1), same=False, seed=3)
    (node,) = graph.nodes()
    dense = dense_node(node)
    assert dense is not None
    constants = [tensor.data for tensor in node.inputs[1:] if tensor is not None and tensor.data is not None]
    flat = [constants[0].reshape(64, 64), *constants[1:]]
    apart = 0
    for _ in range(400):
        x = rng.integers(-128, 128, (1, 1, 1, 64)).astype(np.int8)
        (wanted,), (found,) = node.op.evaluate(node, [x, *constants]), dense.op.evaluate(dense, [x, *flat])
        assert np.array_equal(wanted.reshape(found.shape), found)
        plain = replace(dense.op, epilogue=Tflite())  # type: ignore[call-arg]
        apart += int(np.count_nonzero(plain.evaluate(dense, [x, *flat])[0] != found))
    assert apart, "inputs for which the two differ"
