"""Additions as one linear form: the operator's own code for each of the 65,536 pairs."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.cases import Draw, draws, log_uniform
from tinygen.ir.encodings import Affine
from tinygen.ir.fixed_point import Activation
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.binary import Add
from tinygen.ir.tensor import Shape, Tensor
from tinygen.lowering.kernels.support.epilogues.sums import LinearSum, fit_sum

CODES = np.arange(-128, 128, dtype=np.int8)
_LARGEST = 2**31 - 1


def addition(
    scales: tuple[float, float, float],
    zeros: tuple[int, int, int],
    activation: Activation = Activation.NONE,
    dtype: str = "int8",
    shape: Shape = (256, 256),
) -> Node:
    tensors = [
        Tensor(name, shape, Affine(dtype, (float(np.float32(scale)),), (zero,)))
        for name, scale, zero in zip("aby", scales, zeros, strict=True)
    ]
    op = Add(name="sum", inputs=("a", "b"), outputs=("y",), activation=activation)
    return Node(op, tuple(tensors[:2]), (tensors[2],))


def computed(form: LinearSum) -> np.ndarray:
    """What the C gives for all pairs; every intermediate must fit a register."""
    a, b = np.meshgrid(CODES.astype(np.int64), CODES.astype(np.int64), indexing="ij")
    other = np.array(form.addends, np.int64)[b + 128] if form.addends else b * form.second
    partial = a * form.first + other
    whole = partial + form.centre
    total = whole - form.away * (whole < 0) + form.offset
    for value in (a * form.first, other, partial, whole, total):
        assert np.abs(value).max() <= _LARGEST
    return np.clip(total >> form.shift, form.low, form.high)


def assert_exact(node: Node, form: LinearSum) -> None:
    pairs = np.meshgrid(CODES, CODES, indexing="ij")
    want = node.op.evaluate(node, pairs)[0]
    got = computed(form)
    assert np.array_equal(got, want), (form, np.argwhere(got != want)[:3] - 128)
    assert (len(form.constants()) == 1) == bool(form.addends) == form.context()["addends"]


def operands(draw: Draw) -> Node:
    rng = draw.rng
    kind = draw.choice(["any", "equal", "ties", "far"])
    if kind == "equal":
        scale = float(log_uniform(rng, 1e-3, 1.0))
        scales = (scale, scale, scale * draw.choice([0.5, 1.0, 2.0, 1.7]))
    elif kind == "ties":
        scales = tuple(float(2.0 ** rng.integers(-6, 0) * rng.integers(1, 8)) for _ in range(3))  # type: ignore[assignment]
    else:
        reach = 1e4 if kind == "far" else 10.0
        scales = tuple(float(log_uniform(rng, 1 / reach, reach) * 0.05) for _ in range(3))  # type: ignore[assignment]
    zeros = tuple(int(z) for z in rng.integers(-128, 128, 3))
    if draw.yes():
        zeros = (-128, -128, -128)
    return addition(scales, zeros, draw.choice(list(Activation)))  # type: ignore[arg-type]


def test_exact_wherever_it_is_given() -> None:
    given = 0
    for draw in draws("sums", 60):
        node = operands(draw)
        form = fit_sum(node)
        if form is not None:
            assert_exact(node, form)
            given += 1
    assert 20 < given < 60


@pytest.mark.parametrize("activation", list(Activation))
@pytest.mark.parametrize("zeros", [(0, 0, 0), (-128, -128, -128), (3, -7, 127), (127, 127, -128)])
@pytest.mark.parametrize("scales", [(0.25, 0.25, 0.25), (0.1, 0.05, 0.13), (0.02, 0.3, 0.3), (0.1, 0.2, 0.15)])
def test_usual_operands_have_a_form(
    scales: tuple[float, float, float], zeros: tuple[int, int, int], activation: Activation
) -> None:
    node = addition(scales, zeros, activation)
    form = fit_sum(node)
    assert form is not None
    assert_exact(node, form)


def test_ties_go_away_from_zero() -> None:
    """Half of the sums lie between two codes: the plain shift alone would be wrong below zero."""
    node = addition((0.5, 0.5, 1.0), (0, 0, 0))
    form = fit_sum(node)
    assert form is not None
    assert form.away or form.addends
    assert_exact(node, form)
    codes = computed(form)
    assert codes[129, 128] == 1  # 1 + 0, half of it
    assert codes[127, 128] == -1


def test_none_for_other_types_and_for_scales_too_far_apart() -> None:
    assert fit_sum(addition((0.1, 0.1, 0.1), (0, 0, 0), dtype="int16")) is None
    assert fit_sum(addition((1e6, 0.1, 0.1), (0, 0, 0))) is None
