"""Kernels with weights of less than 8 bits, every variant on the shapes that are hard for them."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest

from tests.differential.test_tuned import BUILDS, CORES, Case, check, dense, window
from tests.support import integer_layers as layers
from tests.support import variants
from tests.support.integer_layers import OUTPUTS
from tinygen.ir.encodings import Affine, PowerOfTwo
from tinygen.lowering.plan import Kernel, registered_kernels

VALUES = {
    "w1": [-1, 1],
    "w1 step 37": [-20, 17],
    "w2 ternary": [-1, 0, 1],
    "w2 levels": [-3, -1, 1, 3],
    "w2 step 85": [-128, -43, 42, 127],
    "w3": list(range(-4, 4)),
    "w4": list(range(-8, 8)),
    "w4 levels": list(range(-15, 16, 2)),
    "w4 step 17": list(range(-128, 128, 17)),
    "w5": list(range(-16, 16)),
    "w5 step 8": list(range(-128, 128, 8)),
    "w6": list(range(-32, 32)),
    "w6 step 4": list(range(-127, 128, 4)),
    "w7": list(range(-64, 64)),
    "w7 step 2": list(range(-128, 128, 2)),
    "c2": [-101, -13, 14, 90],
    "c3": [-128, -77, -50, -3, 4, 19, 60],
    "c4": [0, *(sign << e for e in range(7) for sign in (1, -1))],
    "c4 no zero": [-128, -99, -70, -53, -31, -22, -9, -2, 3, 11, 17, 30, 44, 67, 90, 127],
}


def recoded(case: Case, name: str) -> Case:
    """The same layer with weights of few values, each of which occurs, and scales that keep its output's spread."""
    graph, feeds = case
    values = np.array(VALUES[name])
    weights = graph.tensors[graph.ops[0].inputs[1]]
    assert isinstance(weights.encoding, Affine) and weights.data is not None
    rng = np.random.default_rng([weights.size, len(values)])
    data = rng.choice(values, weights.size).astype(np.int8)
    data[: len(values)] = values[: weights.size]
    rng.shuffle(data)
    factor = 74 / max(float(values.std()), 0.5)
    encoding = replace(weights.encoding, scale=tuple(float(np.float32(s * factor)) for s in weights.encoding.scale))
    tensors = {**graph.tensors, weights.name: replace(weights, data=data.reshape(weights.shape), encoding=encoding)}
    return replace(graph, tensors=tensors), feeds


# Padding within four taps, odd groups of codes at the end of a block, odd rows, strides; what has few taps.
CONVOLUTIONS = [
    window((3, 5), 4, 5, (3, 3), stride=(2, 2)),
    window((3, 3), 7, 6, (2, 2)),
    window((4, 3), 12, 4, (1, 1)),
    window((5, 4), 3, 9, (3, 3), same=False),
    window((2, 5), 4, 2, (1, 9)),
]
DENSE = [dense(67, 6), dense(16, 4, 2), dense(3, 9), dense(40, 1)]


X = (layers.affine(17), layers.levels(4), layers.levels(3, True), layers.levels(8), layers.TERNARY)
X_SIGNED = (layers.affine(-128), layers.levels(5), layers.TERNARY)
W = (
    layers.BINARY,
    layers.TERNARY,
    *(layers.levels(bits, True) for bits in range(2, 8)),
    layers.levels(3),
    layers.codebook(4),
    layers.codebook(16),
    PowerOfTwo(layers.ONE, exponents=7),
)


def packed_kernels() -> list[Kernel]:
    return [kernel for kernel in registered_kernels() if "_packed_" in kernel.name]


def check_coded(cases: list[Case], **how: object) -> int:
    """Every variant of the kernels with packed weights, and of no others."""
    with patch.object(variants, "registered_kernels", packed_kernels):
        return check(cases, **how)


def test_convolutions() -> None:
    """Each code on one of the shapes."""
    cases = [recoded(CONVOLUTIONS[i % len(CONVOLUTIONS)], name) for i, name in enumerate(VALUES)]
    assert check_coded(cases, most=2, cores=[CORES["m7"]]) == 2 * len(cases)


def test_dense() -> None:
    cases = [recoded(DENSE[i % len(DENSE)], name) for i, name in enumerate(VALUES)]
    assert check_coded(cases, cores=[CORES["m7"]]) == len(cases)


def integer_layer(index: int, *, conv: bool) -> Case:
    """A layer on integer codes: encodings of activations, weights and outputs that meet in all ways, in time."""
    x, w, y = X[index % len(X)], W[index * 3 % len(W)], OUTPUTS[index * 5 % len(OUTPUTS)]
    if conv:
        image, kernel = [((5, 4, 8), (3, 3)), ((4, 6, 4), (1, 1)), ((3, 5, 3), (2, 2))][index % 3]
        same = index % 3 == 0
        layer = layers.conv("m", image, 5 + index % 4, kernel, x=x, w=w, y=y, same=same, seed=index)
    else:
        layer = layers.dense("m", (4, 11), 6 + index % 4, x=X_SIGNED[index % 3], w=w, y=y, seed=index)
    return layer.graph, layer.feeds


def takes_packed(case: Case) -> bool:
    node = next(iter(case[0].nodes()))
    return any(type(node.op) in kernel.ops and kernel.variants(node) for kernel in packed_kernels())


@pytest.mark.parametrize("conv", [True, False], ids=["conv", "dense"])
def test_integer_layers(conv: bool) -> None:
    """Weights of any encoding; those of 16 powers of two and more do not fit a byte."""
    cases = [case for index in range(12) if takes_packed(case := integer_layer(index, conv=conv))]
    assert len(cases) >= 8
    check_coded(cases, most=2, cores=[CORES["m7"]])


@pytest.mark.long
@pytest.mark.parametrize("name", VALUES)
def test_each_code(name: str) -> None:
    """Each code on all of the shapes, by every second variant; what one code leaves out, the next one takes."""
    cases = [recoded(case, name) for case in (*CONVOLUTIONS, *DENSE)]
    check_coded(cases, in_turn=True, turns=2, turn=list(VALUES).index(name))


@pytest.mark.long
@pytest.mark.parametrize(("compiler", "level", "core"), BUILDS)
def test_every_compiler(compiler: str, level: str, core: str) -> None:
    """What is in registers, and what the compiler may not move, is right however it optimises."""
    cases = [recoded(case, name) for name in ("w2 ternary", "w4", "w7", "c4") for case in (CONVOLUTIONS[0], DENSE[0])]
    cases.append(recoded(dense(64, 5), "w4"))
    check_coded(cases, cores=[CORES[core]], level=level, compiler=compiler, host=False, most=1)
