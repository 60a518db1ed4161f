"""Transposed convolutions by phases: filters smaller than the stride, odd channels, cropped borders, extreme codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.support.board_batch import M4, M7
from tests.support.variants import DSP, check_variants
from tests.targets.tools import requires_tool
from tinygen.ir.encodings import Affine
from tinygen.ir.epilogue import Tflite
from tinygen.ir.fixed_point import Activation
from tinygen.ir.graph import Graph
from tinygen.ir.ops.transpose_conv import TransposeConv
from tinygen.ir.ops.window import Padding
from tinygen.ir.tensor import Shape, Tensor
from tinygen.lowering.lower import lower
from tinygen.targets.bare_cores import bare_cores

ESP32C3, M0PLUS = (bare_cores()[name] for name in ("esp32c3-core", "cortex-m0plus"))
SIMD: dict[str, Any] = {"cores": [(M7, (*DSP, "dual-issue")), (M4, DSP)], "in_turn": True}
SCALAR: dict[str, Any] = {
    "isa": ("scalar",),
    "cores": [(core, core.isa) for core in (ESP32C3, M0PLUS)],
    "in_turn": True,
}


@dataclass(frozen=True)
class Shapes:
    """[batch, H, W, I] to O filters; (before, after) of rows and columns that are cropped, or None for a rule."""

    image: Shape
    filters: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    same: bool = True
    cropped: tuple[tuple[int, int], tuple[int, int]] | None = None


SHAPES = [
    Shapes((1, 4, 5, 8), 8, (2, 2), (2, 2)),
    Shapes((1, 5, 4, 3), 5, (3, 3), (2, 2)),
    Shapes((2, 3, 4, 7), 2, (4, 4), (2, 2)),
    Shapes((1, 4, 3, 5), 9, (5, 3), (3, 2), same=False),
    Shapes((1, 3, 4, 6), 4, (1, 2), (2, 3), same=False),
    Shapes((1, 5, 5, 4), 3, (4, 3), (2, 1), cropped=((1, 1), (2, 0))),
    Shapes((1, 2, 7, 1), 1, (3, 5), (1, 1)),
    Shapes((1, 1, 1, 20), 6, (7, 7), (4, 4), same=False),
]


def graph(number: int, of: Shapes, *, wide: bool = False) -> Graph:
    """Of int8 activations, or `wide`: of int16, without zero points."""
    rng = np.random.default_rng(number)
    (batch, height, width, depth), (rows, columns), (down, across) = of.image, of.kernel, of.stride
    size = (height * down, width * across) if of.same else ((height - 1) * down + rows, (width - 1) * across + columns)
    if of.cropped:
        size = (size[0] - sum(of.cropped[0]) + rows - down, size[1] - sum(of.cropped[1]) + columns - across)
    weights = rng.integers(-127, 128, (of.filters, rows, columns, depth)).astype(np.int8)
    weights[0] = 127
    count = of.filters if number % 2 else 1
    scales = tuple(float(s) for s in rng.uniform(0.003, 0.008, count).astype(np.float32))
    per_channel = 0 if count > 1 else None
    kind, bound = "int16" if wide else "int8", 4000 * depth * (256 if wide else 1)
    x = Affine(kind, (0.05,), (0 if wide else int(rng.integers(-128, 128)),))
    bias = rng.integers(-bound, bound, of.filters).astype(np.int64 if wide else np.int32)
    products = Affine(bias.dtype.name, tuple(0.05 * s for s in scales), (0,) * count, per_channel)
    tensors = [
        Tensor("x", of.image, x),
        Tensor("weights", weights.shape, Affine("int8", scales, (0,) * count, per_channel), weights),
        Tensor("bias", bias.shape, products, bias),
        Tensor("y", (batch, *size, of.filters), Affine(kind, (0.02 * depth,), (0 if wide else 3,))),
    ]
    op = TransposeConv(
        name="layer",
        inputs=("x", "weights", "bias") if number % 3 else ("x", "weights"),
        outputs=("y",),
        size=size,
        stride=of.stride,
        padding=Padding.SAME if of.same else Padding.VALID,
        epilogue=Tflite(Activation.RELU if number % 4 == 3 else Activation.NONE),
        row_padding=of.cropped[0] if of.cropped else None,
        column_padding=of.cropped[1] if of.cropped else None,
    )
    named = {tensor.name: tensor for tensor in tensors if tensor.name in (*op.inputs, *op.outputs)}
    found = Graph(f"{'w' if wide else 't'}{number}", named, (op,), ("x",), ("y",))
    found.validate()
    return found


GRAPHS = [graph(i, of) for i, of in enumerate(SHAPES)]
FEEDS = [
    [[np.full(of.image, code, np.int8)] for code in (-128, 127)]
    + [[np.random.default_rng(i).integers(-128, 128, of.image).astype(np.int8)]]
    for i, of in enumerate(SHAPES)
]
WIDE = [graph(i, of, wide=True) for i, of in enumerate(SHAPES)]
WIDE_FEEDS = [
    [[np.full(of.image, code, np.int16)] for code in (-(2**15), 2**15 - 1)]
    + [[np.random.default_rng(i).integers(-(2**15), 2**15, of.image).astype(np.int16)]]
    for i, of in enumerate(SHAPES)
]


HOW = [pytest.param(DSP, "dsp", SIMD, id="dsp"), pytest.param(ESP32C3.isa, "scalar", SCALAR, id="scalar")]


@pytest.mark.parametrize(("isa", "name", "how"), HOW)
def test_phases(isa: tuple[str, ...], name: str, how: dict[str, Any]) -> None:
    chosen = [lower(one, isa=isa).layers[0].kernel.name for one in GRAPHS]
    assert chosen.count(f"transpose_conv_s8_{name}") >= len(GRAPHS) - 2  # few filters are computed one by one
    assert check_variants(GRAPHS, FEEDS, most=1, **how) >= len(GRAPHS)


@pytest.mark.parametrize(("isa", "name", "how"), HOW)
def test_of_16_bits(isa: tuple[str, ...], name: str, how: dict[str, Any]) -> None:
    chosen = [lower(one, isa=isa).layers[0].kernel.name for one in WIDE]
    assert chosen.count(f"transpose_conv_16x8_{name}") >= len(WIDE) - 2
    assert check_variants(WIDE[1::3], WIDE_FEEDS[1::3], most=1, **how) >= len(WIDE[1::3])


@pytest.mark.long
@requires_tool("arm-none-eabi-gcc")
@requires_tool("riscv64-unknown-elf-gcc")
def test_with_gcc() -> None:
    for how in (SIMD, SCALAR):
        every = GRAPHS + WIDE, FEEDS + WIDE_FEEDS
        check_variants(*every, **{**how, "in_turn": False}, host=False, compiler="gcc")
