"""Kernels with weights of less than 8 bits, every variant on the shapes that are hard for them."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest

from tests.differential.test_tuned import CORES, Case, check, dense, window
from tests.support import variants
from tinygen.ir.encodings import Affine
from tinygen.lowering.plan import registered_kernels

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
}  # fmt: skip


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


def check_coded(cases: list[Case], **how: object) -> int:
    """Every variant of the kernels with packed weights, and of no others."""
    coded = [kernel for kernel in registered_kernels() if "_packed_" in kernel.name]
    with patch.object(variants, "registered_kernels", lambda: coded):
        return check(cases, **how)


def test_convolutions() -> None:
    """Each code on one of the shapes."""
    cases = [recoded(CONVOLUTIONS[i % len(CONVOLUTIONS)], name) for i, name in enumerate(VALUES)]
    assert check_coded(cases, most=2, cores=[CORES["m7"]]) == 2 * len(cases)


def test_dense() -> None:
    cases = [recoded(DENSE[i % len(DENSE)], name) for i, name in enumerate(VALUES)]
    assert check_coded(cases, cores=[CORES["m7"]]) == len(cases)


@pytest.mark.long
@pytest.mark.parametrize("name", VALUES)
def test_each_code(name: str) -> None:
    """Each code on all of the shapes, every variant."""
    check_coded([recoded(case, name) for case in (*CONVOLUTIONS, *DENSE)])
