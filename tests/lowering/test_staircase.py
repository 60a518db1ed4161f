"""Requantization by multiply-add: right on every accumulator that can occur, or not offered."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import ActivationFunctionType, BuiltinOperator, Padding

from tests.support.cases import Draw, draws, log_uniform
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, options
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.fixed_point import (
    Activation,
    multiply_by_quantized_multiplier,
    multiply_by_real,
    quantize_multiplier,
)
from tinygen.ir.graph import Graph
from tinygen.ir.ops import mac
from tinygen.lowering.kernels.support.epilogues import requantize
from tinygen.lowering.kernels.support.epilogues.mac import folded_bias
from tinygen.lowering.kernels.support.epilogues.requantize import Epilogue, epilogue, reachable
from tinygen.lowering.kernels.support.epilogues.staircase import Codes, Fit, Staircase, fit

_SATURATED = 2**31


def rule(real: np.ndarray, zero: int, floor: int, ceiling: int, twice: bool) -> Codes:
    """TFLite's requantization of either kind, with its clamp."""
    pairs = [quantize_multiplier(value) for value in real.tolist()]
    multiplier, shift = (np.array(column, np.int64) for column in zip(*pairs, strict=True))

    def codes(accumulators: np.ndarray) -> np.ndarray:
        scaled = (
            multiply_by_quantized_multiplier(accumulators, multiplier, shift)
            if twice
            else multiply_by_real(accumulators, real)
        )
        return np.clip(scaled + zero, floor, ceiling)

    return codes


def computed(found: Fit, accumulators: np.ndarray, staircase: Staircase) -> np.ndarray:
    """What the C gives for accumulators [n, channels]; every intermediate must fit a register."""
    start = accumulators * staircase.unit + found.moved
    high = (start * found.multiplier) >> 32
    total = found.offset + high
    for value in (start, found.multiplier, found.offset, total):
        assert np.abs(value).max() < _SATURATED
    return np.clip(total >> found.shift, staircase.floor, staircase.ceiling)


def every(lows: np.ndarray, highs: np.ndarray, most: int = 1 << 13) -> np.ndarray:
    """All accumulators [n, channels] between the bounds; evenly spread ones and both ends when there are too many."""
    steps = np.linspace(0.0, 1.0, min(int((highs - lows).max()) + 1, most))[:, None]
    return np.minimum(lows + np.rint(steps * (highs - lows)).astype(np.int64), highs)


def around(codes: Codes, lows: np.ndarray, highs: np.ndarray) -> np.ndarray:
    """The accumulators on both sides of every step, found by bisection of their own: [n, channels]."""
    wanted = np.arange(-128, 129)[:, None]
    left, right = np.broadcast_to(lows, (257, len(lows))), np.broadcast_to(highs, (257, len(lows)))
    for _ in range(33):
        middle = (left + right) >> 1
        above = codes(middle) >= wanted
        left, right = np.where(above, left, np.minimum(middle + 1, right)), np.where(above, middle, right)
    return np.concatenate([lows[None], highs[None], np.maximum(right - 1, lows), right, np.minimum(right + 1, highs)])


def assert_fits(found: Fit, staircase: Staircase) -> None:
    codes, lows, highs = staircase.codes, staircase.lows, staircase.highs
    for accumulators in (every(lows, highs), around(codes, lows, highs)):
        got, want = computed(found, accumulators, staircase), codes(accumulators)
        assert np.array_equal(got, want), (found, accumulators[(got != want).any(axis=1)][:3])


def layer(draw: Draw) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, int, int]:
    """Scales, least and largest accumulators, zero point, clamp: ordinary, tiny, spread by up to 10^12, with ties."""
    rng = draw.rng
    channels = draw.integer(1, 6)
    kind = draw.choice(["usual", "usual", "spread", "tiny", "ties", "large"])
    low, high = {"usual": (1e-4, 1e-1), "spread": (1e-13, 1e-1), "tiny": (1e-11, 1e-6), "large": (0.1, 3.0)}.get(
        kind, (1.0, 2.0)
    )
    real = log_uniform(rng, low, high, channels)
    if kind == "ties":
        real = rng.integers(1, 40, channels) / 2.0 ** rng.integers(6, 16, channels)
    centre = rng.integers(-(2**16), 2**16, channels)
    reach = log_uniform(rng, 1, draw.choice([300, 2**15, 2**21]), channels).astype(np.int64)
    reach *= rng.random(channels) > 0.1
    zero = draw.choice([-128, 127, 0, int(rng.integers(-128, 128))])
    floor, ceiling = draw.choice([(-128, 127), (zero, 127), (zero, min(zero + 40, 127)), (zero, zero)])
    return real, centre - reach, centre + reach, zero, floor, ceiling


@pytest.mark.parametrize("unit", [1, 256])
@pytest.mark.parametrize("twice", [True, False])
def test_right_wherever_it_is_given(twice: bool, unit: int) -> None:
    given = level = 0
    for draw in draws(f"staircases {twice} {unit}", 100):
        real, lows, highs, zero, floor, ceiling = layer(draw)
        staircase = Staircase(rule(real, zero, floor, ceiling, twice), real, lows, highs, floor, ceiling, unit)
        found, flat = fit(staircase), fit(staircase, level=True)
        assert (found is None) == (flat is None)
        if found is not None and flat is not None:
            assert_fits(found, staircase)
            assert_fits(flat, staircase)
            given += 1
            level += not flat.offset.any()
    assert given > 20
    assert level > (10 if unit > 1 else 0), level  # finer sums need no offset


@pytest.mark.parametrize("twice", [True, False])
@pytest.mark.parametrize("unit", [1, 256])
def test_given_for_usual_layers(twice: bool, unit: int) -> None:
    """Rounded once, or twice with a clamp at 0: there is nearly always a fit.

    Rounded twice, codes on both sides of 0 begin at accumulators that no one multiplier meets.
    """
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(20):
        real = log_uniform(rng, 1e-4, 1e-2, 4)
        lows, highs = np.full(4, -(2**20)), np.full(4, 2**20)
        zero = -128 if twice else int(rng.integers(-128, 128))
        staircase = Staircase(rule(real, zero, -128, 127, twice), real, lows, highs, -128, 127, unit)
        result = fit(staircase)
        if result is not None:
            assert_fits(result, staircase)
            found += 1
    assert found >= 17


@pytest.mark.parametrize("zero", [-128, -1, 0, 90, 127])
@pytest.mark.parametrize("real", [2.0**-18.3, 2.0**-25, 2.0**-30])
def test_scales_so_small_that_the_products_are_long(real: float, zero: int) -> None:
    """Code times 2^(32 + shift) once left 64 bits, and a wrong fit was given."""
    for unit in (1, 256):
        lows, highs = np.array([-(2**21)]), np.array([2**21])
        codes = rule(np.array([real]), zero, -128, 127, False)
        staircase = Staircase(codes, np.array([real]), lows, highs, -128, 127, unit)
        found = fit(staircase)
        assert found is not None
        assert_fits(found, staircase)


@pytest.mark.parametrize("ratio", [1e-7, 1e-8, 1e-9, 1e-10, 1e-15])
def test_a_channel_whose_scale_is_next_to_nothing(ratio: float) -> None:
    """Multipliers below zero once fitted a channel of one code at both ends, and not between."""
    real = np.array([1e-3, 1e-3 * ratio])
    lows, highs = np.array([-(2**19), -(2**19)]), np.array([2**19, 2**19])
    for zero in (-128, 5, 127):
        staircase = Staircase(rule(real, zero, -128, 127, True), real, lows, highs, -128, 127)
        found = fit(staircase)
        assert found is not None
        assert (found.multiplier >= 0).all()
        assert_fits(found, staircase)


def test_none_where_steps_are_uneven() -> None:
    """No multiplier has steps of 3 and of 1 in turn; nor one that is a little off over a long way."""

    def uneven(accumulators: np.ndarray) -> np.ndarray:
        return np.clip(accumulators // 4 * 2 + (accumulators % 4 >= 3), -128, 127)

    assert fit(Staircase(uneven, np.array([0.49]), np.array([-400]), np.array([400]), -128, 127)) is None

    def bent(accumulators: np.ndarray) -> np.ndarray:
        return np.clip(accumulators // 1000 + (accumulators > 0) * (accumulators // 50000), -128, 127)

    assert fit(Staircase(bent, np.array([1e-3]), np.array([-120000]), np.array([120000]), -128, 127)) is None


@pytest.mark.parametrize(
    ("real", "largest", "unit"),
    [(0.5, 1000, 1), (3.0, 1000, 1), (0.0, 1000, 1), (0.001, 2**31 - 2**18, 1), (0.001, 2**23, 256)],
)
def test_none_outside_its_range(real: float, largest: int, unit: int) -> None:
    codes = rule(np.array([real]), 0, -128, 127, False)
    ends = np.array([-largest]), np.array([largest])
    assert fit(Staircase(codes, np.array([real]), *ends, -128, 127, unit)) is None


def conv(bias: int, y_scale: float, zero: int, activation: int, w_scales: tuple[float, ...], weight: int = 90) -> Graph:
    """A pointwise convolution of one tap per filter: its accumulators can all be tried."""
    filters = len(w_scales)
    codes = np.full((filters, 1, 1, 1), weight, np.int8)
    inputs = [
        TensorSpec((1, 1, 1, 1), "int8", 0.05, 17),
        TensorSpec(codes.shape, "int8", w_scales, 0, 0, codes),
        TensorSpec((filters,), "int32", np.array(w_scales) * 0.05, 0, 0, np.full(filters, bias)),
    ]
    chosen = options("Conv2DOptions", padding=Padding.VALID, strideH=1, strideW=1, fusedActivationFunction=activation)
    y = TensorSpec((1, 1, 1, filters), "int8", y_scale, zero)
    return read_tflite(build(ModelSpec(BuiltinOperator.CONV_2D, inputs, [y], **chosen)))


def column(ending: Epilogue, name: str, channel: int) -> int:
    """Of one channel: a literal of the template, or in the channel's struct."""
    if name in ending.context["literals"]:
        return int(ending.context[name])
    return int(ending.rows[channel, [field.name for field in ending.fields].index(name)])


RELU, NONE = ActivationFunctionType.RELU, ActivationFunctionType.NONE


@pytest.mark.parametrize(
    ("form", "graph"),
    [
        ("fused", conv(300, 0.1, -128, RELU, (0.01, 0.02))),
        ("fused", conv(300, 0.1, 20, RELU, (0.01,))),
        ("fused", conv(0, 1e6, 4, NONE, (0.01, 1e-12))),
        ("fused", conv(-(2**24), 0.1, -128, RELU, (0.01,))),
        ("fused", conv(500, 0.1, 127, RELU, (0.01, 0.02))),
        ("fused", conv(0, 0.1, 3, NONE, (0.01, 0.02), 0)),
        ("plain", conv(30, 1e-4, 3, NONE, (0.01, 0.3))),
        ("plain", conv(2**30, 1e4, 3, NONE, (0.01, 0.02))),
    ],
)
def test_forms(form: str, graph: Graph) -> None:
    """Clamps that leave one code, zero weights, scales far apart: each has a form, and its constants are right."""
    node = next(graph.nodes())
    ending = epilogue(node, axis=0)
    assert ending is not None
    assert ending.context["form"] == form
    bias = folded_bias(node, axis=0).data.astype(np.int64)
    lows, highs = reachable(node, bias, axis=0)
    accumulators = bias + np.arange(-128, 128)[:, None] * node.constant(1).reshape(-1).astype(np.int64)
    assert (accumulators.min(axis=0) == lows).all()
    assert (accumulators.max(axis=0) == highs).all()
    activation = node.op.activation  # type: ignore[attr-defined]
    assert isinstance(activation, Activation)
    want = mac.requantize(node, accumulators, activation)
    for channel in range(len(bias)):
        start = accumulators[:, channel] - bias[channel] + int(ending.rows[channel, 0])
        m, s = column(ending, "multiplier", channel), column(ending, "shift", channel)
        if form == "fused":
            scaled = (column(ending, "offset", channel) + ((start * m) >> 32)) >> s
        else:
            scaled = multiply_by_quantized_multiplier(start, m, s) + ending.context["output_zero"]
        assert np.array_equal(np.clip(scaled, ending.context["low"], ending.context["high"]), want[:, channel])


@pytest.mark.parametrize(("zero", "form"), [(3, "stepwise"), (-60, "stepwise"), (127, "plain"), (-128, "plain")])
def test_two_steps_where_no_staircase_fits(zero: int, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zero point and half, shifted by 24 bits, must fit 32 together with the sum."""
    monkeypatch.setattr(requantize, "_fused", lambda layer: None)
    monkeypatch.setattr(requantize, "_known", OrderedDict())
    node = next(conv(2**30 - 2**17, 16384.0, zero, NONE, (0.01, 0.0102)).nodes())
    ending = epilogue(node, axis=0)
    assert ending is not None and ending.context["form"] == form
    if form == "plain":
        return
    bias = folded_bias(node, axis=0).data.astype(np.int64)
    steps = np.arange(-128, 128)[:, None] * node.constant(1).reshape(-1).astype(np.int64)
    want = mac.requantize(node, bias + steps, Activation.NONE)
    for channel in range(len(bias)):
        m, offset, s = (column(ending, name, channel) for name in ("multiplier", "offset", "shift"))
        scaled = ((steps[:, channel] + int(ending.rows[channel, 0])) * m + (1 << 30)) >> 31
        total = scaled + (scaled >> 31) + offset
        assert np.abs(total).max() < 2**31
        assert np.array_equal(np.clip(total >> s, -128, 127), want[:, channel])
