"""Convolutions whose weights of 1, 2, 4 and 8 bits are read from 8-bit codes, those of a wider layer too."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest

from tests.differential.test_tuned import CORES, Case, check
from tests.support import integer_layers as layers
from tests.support import variants
from tests.support.integer_layers import OUTPUTS
from tests.targets.tools import requires_tool
from tinygen.ir.nesting import NESTED_BITS, derived_codes, odd_level_bits
from tinygen.lowering import lower as lowering
from tinygen.lowering.plan import Kernel, registered_kernels

X = (layers.affine(17), layers.levels(4), layers.levels(3, True), layers.levels(8), layers.TERNARY, layers.levels(2))
SHAPES = (
    ((5, 4, 8), 6, (3, 3)),
    ((4, 6, 4), 9, (1, 1)),
    ((3, 5, 3), 5, (2, 2)),
    ((4, 5, 12), 4, (3, 1)),
    ((2, 3, 16), 3, (2, 3)),
)


def weights(bits: int) -> layers.IntegerEncoding:
    return layers.BINARY if bits == 1 else layers.levels(bits, True)


def nested_layer(index: int, bits: int, more: tuple[int, int] = (0, 0), stride: int = 1) -> Case:
    """A layer whose weights are a corner of 8-bit codes, with `more` filters and channels than it has."""
    image, filters, kernel = SHAPES[index % len(SHAPES)]
    x = X[(index + bits) % len(X)]
    same = index % 2 == 0
    if x == layers.levels(3, True) and image[2] % 4:
        x = layers.levels(3)  # words are filled up with a code that is zero
    shape = (filters + more[0], *kernel, image[2] + more[1])
    parent = layers.random_codes(layers.levels(8), shape, np.random.default_rng([index, bits, *more]))
    codes = derived_codes(parent[:filters, ..., : image[2]], 8, bits)
    layer = layers.conv(
        f"n{index}_{bits}",
        image,
        filters,
        kernel,
        x=x,
        w=weights(bits),
        y=OUTPUTS[index * 5 % len(OUTPUTS)],
        same=same,
        stride=(stride, stride),
        seed=index,
        weights=codes,
    )
    tensor = replace(layer.graph.tensors["w"], nested_in=parent)
    return replace(layer.graph, tensors={**layer.graph.tensors, "w": tensor}), layer.feeds


def nested_kernels() -> list[Kernel]:
    return [kernel for kernel in registered_kernels() if "_nested_" in kernel.name]


def check_nested(cases: list[Case], **how: object) -> int:
    """Every variant of the kernels for nested codes, and of no others."""
    for graph, _ in cases:
        node = next(graph.nodes())
        assert any(kernel.variants(node) for kernel in nested_kernels()), graph
    with patch.object(variants, "registered_kernels", nested_kernels):
        return check(cases, **how)


def test_complement_is_negation() -> None:
    q = np.arange(256)
    for bits in NESTED_BITS:
        assert (derived_codes(255 - q, 8, bits) == 2**bits - 1 - derived_codes(q, 8, bits)).all()


def test_which_weights_nest() -> None:
    assert odd_level_bits(layers.BINARY) == 1 and odd_level_bits(layers.levels(4, True)) == 4
    assert odd_level_bits(layers.levels(4)) is None and odd_level_bits(layers.INT8) is None


def test_convolutions() -> None:
    """On codes of their own; strides, padding, odd channels, outputs that fall."""
    cases = [nested_layer(index, bits, stride=1 + index % 2) for bits in NESTED_BITS for index in range(5)]
    check_nested(cases, most=2, cores=[CORES["m7"]])


def test_corners_of_wider_layers() -> None:
    wider = [(0, (5, 4)), (1, (0, 8)), (3, (3, 4)), (2, (6, 0))]
    cases = [nested_layer(index, bits, more) for bits in NESTED_BITS for index, more in wider]
    check_nested(cases, most=2, cores=[CORES["m4"]])


def test_layers_share_arrays() -> None:
    """Two layers of other bits and widths have the same words."""
    image, filters, kernel = SHAPES[0]
    parent = layers.random_codes(layers.levels(8), (filters + 4, *kernel, image[2] + 4), np.random.default_rng(5))
    found = []
    for bits, extra in ((2, 0), (8, 4)):
        depth = image[2] + extra
        codes = derived_codes(parent[: filters + extra, ..., :depth], 8, bits)
        layer = layers.conv(
            "c",
            (*image[:2], depth),
            filters + extra,
            kernel,
            x=layers.levels(2),
            w=weights(bits),
            y=layers.INT32,
            weights=codes,
        )
        tensors = {**layer.graph.tensors, "w": replace(layer.graph.tensors["w"], nested_in=parent)}
        with patch.object(lowering, "choose", lambda node, *_: _nested(node)):
            (step,) = lowering.lower(replace(layer.graph, tensors=tensors), isa=("c99", "dsp")).steps
        found.append(step.plan.constants[0].data)
    assert np.array_equal(*found) and found[0].nbytes == parent.nbytes + parent.nbytes // len(parent) * 2


def _nested(node: object) -> object:
    from tinygen.lowering.select import Choice

    kernel = next(k for k in nested_kernels() if k.variants(node))  # type: ignore[arg-type]
    return Choice(kernel, kernel.variants(node))  # type: ignore[arg-type]


@requires_tool("arm-none-eabi-gcc")
def test_with_gcc() -> None:
    cases = [nested_layer(0, bits, (4, 4)) for bits in NESTED_BITS]
    check_nested(cases, most=1, cores=[CORES["m7"]], compiler="gcc", host=False)


@pytest.mark.long
@pytest.mark.parametrize("bits", NESTED_BITS)
def test_many(bits: int) -> None:
    """Every variant of all shapes, on one of the cores."""
    cases = [nested_layer(i, bits, (4 * (i // 5), 4 * (i // 5) * (i % 5 != 2)), 1 + i % 2) for i in range(15)]
    check_nested(cases, in_turn=True)
