"""Folded epilogues against the plain evaluation of chain and quantizer, in fractions, on every accumulator in reach."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygen.errors import ModelError, UnsupportedError
from tinygen.frontends.folding import Boundaries, Chain, Reach, Rounding, Uniform, fold, fold_real, thresholds
from tinygen.ir.epilogue import Rescale, Threshold

ROUND = {
    Rounding.HALF_EVEN: round,
    Rounding.HALF_UP: lambda y: math.floor(y + Fraction(1, 2)),
    Rounding.HALF_AWAY: lambda y: math.floor(y + Fraction(1, 2)) if y > 0 else math.ceil(y - Fraction(1, 2)),
    Rounding.HALF_TO_ZERO: lambda y: math.ceil(y - Fraction(1, 2)) if y > 0 else math.floor(y + Fraction(1, 2)),
    Rounding.FLOOR: math.floor,
    Rounding.CEIL: math.ceil,
    Rounding.AWAY: lambda y: math.ceil(y) if y > 0 else math.floor(y),
    Rounding.TO_ZERO: math.trunc,
}

# Dyadic values give ties, the others none.
numbers = st.one_of(st.integers(-24, 24).map(lambda n: n / 8), st.floats(-3, 3).map(lambda x: float(np.float32(x))))
positive = st.one_of(
    st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0]), st.floats(0.01, 4).map(lambda x: float(np.float32(x)))
)
step = st.one_of(
    st.tuples(st.just("affine"), numbers, numbers),
    st.tuples(st.just("divide"), positive, st.just(0.0)),
    st.tuples(st.just("clip"), numbers, st.sampled_from([math.inf, 0.5, 4.0])),
)


def build(steps: list[list[tuple[str, float, float]]]) -> Chain:
    """One list of steps per channel, all of the same kinds."""
    chain = Chain.start(len(steps))
    for column in zip(*steps, strict=True):
        first, second = [s[1] for s in column], [s[2] for s in column]
        if column[0][0] == "affine":
            chain = chain.affine(first, second)
        elif column[0][0] == "divide":
            chain = chain.divide(first)
        else:
            chain = chain.clip(np.minimum(first, second), second)
    return chain


def real(steps: list[tuple[str, float, float]], x: Fraction) -> Fraction:
    """The chain of one channel, step by step."""
    for kind, a, b in steps:
        if kind == "affine":
            x = Fraction(a) * x + Fraction(b)
        elif kind == "divide":
            x = x / Fraction(a)
        else:
            x = max(x, Fraction(min(a, b)))
            x = x if math.isinf(b) else min(x, Fraction(b))
    return x


def quantized(quantizer: Uniform | Boundaries, x: Fraction) -> int:
    if isinstance(quantizer, Boundaries):
        return sum(x >= Fraction(b) for b in quantizer.boundaries)
    code = ROUND[quantizer.rounding](x / Fraction(quantizer.scale) + Fraction(quantizer.zero_point))
    return min(max(code + quantizer.shift, quantizer.low), quantizer.high)


def wanted_codes(
    steps: list[list[tuple[str, float, float]]], quantizer: Uniform | Boundaries, reach: Reach
) -> list[np.ndarray]:
    """Codes of every accumulator within reach, per channel."""
    return [
        np.array([quantized(quantizer, real(s, Fraction(a))) for a in range(int(low), int(high) + 1)])
        for s, low, high in zip(steps, reach.low, reach.high, strict=True)
    ]


def given_codes(epilogue: Rescale | Threshold, reach: Reach) -> list[np.ndarray]:
    """The same of an epilogue."""
    result = []
    for channel in range(reach.channels):
        accumulators = np.arange(reach.low[channel], reach.high[channel] + 1)
        block = np.repeat(accumulators[:, None], reach.channels, axis=1)
        result.append(epilogue.apply(block)[:, channel])
    return result


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[list[tuple[str, float, float]]], Reach]:
    channels = draw(st.integers(1, 3))
    kinds = draw(st.lists(step, min_size=1, max_size=5))

    def again(kind: str) -> tuple[str, float, float]:
        return draw(step.filter(lambda s: s[0] == kind))

    steps = [kinds, *([again(k[0]) for k in kinds] for _ in range(channels - 1))]
    low = np.array([draw(st.integers(-60, 20)) for _ in range(channels)])
    return steps, Reach(low, low + np.array([draw(st.integers(0, 80)) for _ in range(channels)]))


quantizers = st.builds(
    Uniform,
    scale=positive,
    zero_point=st.sampled_from([0.0, -3.0, 0.5]),
    low=st.integers(-9, 0),
    high=st.integers(1, 20),
    rounding=st.sampled_from(list(Rounding)),
    shift=st.sampled_from([0, 1, -5]),
)


@pytest.mark.long
@settings(max_examples=300, deadline=None)
@given(cases(), quantizers)
def test_uniform(case: tuple[list[list[tuple[str, float, float]]], Reach], quantizer: Uniform) -> None:
    """The count of wrong codes is the true one, and thresholds have none."""
    steps, reach = case
    chain, wanted = build(steps), wanted_codes(steps, quantizer, reach)
    exact = given_codes(thresholds(chain, quantizer, reach), reach)
    for codes, expected in zip(exact, wanted, strict=True):
        assert (codes + quantizer.low == expected).all()
    folded = fold(chain, quantizer, reach)
    gaps = [abs(g + folded.base - w) for g, w in zip(given_codes(folded.epilogue, reach), wanted, strict=True)]
    assert folded.wrong == sum((gap > 0).sum() for gap in gaps)
    assert folded.worst == max(gap.max() for gap in gaps)
    assert not folded.epilogue.problem(reach.channels)
    if quantizer.high - quantizer.low <= 15:
        assert folded.wrong == 0


@settings(max_examples=100, deadline=None)
@given(cases(), st.lists(numbers, min_size=1, max_size=20))
def test_boundaries(case: tuple[list[list[tuple[str, float, float]]], Reach], boundaries: list[float]) -> None:
    steps, reach = case
    quantizer = Boundaries(tuple(sorted(boundaries)))
    folded = fold(build(steps), quantizer, reach)
    assert isinstance(folded.epilogue, Threshold) and folded.wrong == 0 and folded.base == 0
    for codes, expected in zip(given_codes(folded.epilogue, reach), wanted_codes(steps, quantizer, reach), strict=True):
        assert (codes == expected).all()


def random_layer(channels: int, seed: int) -> tuple[Chain, Reach]:
    """Scales, batch norm with negative gains and ReLU as a trained layer has them, 576 taps of 8 bits."""
    rng = np.random.default_rng(seed)
    chain = Chain.start(channels).affine(np.float32(0.0173)).affine(rng.uniform(1e-3, 2e-3, channels))
    chain = chain.batch_norm(
        rng.normal(0, 1, channels),
        rng.uniform(0.3, 2, channels),
        1e-5,
        rng.choice([-1.0, 1.0], channels) * rng.uniform(0.2, 1, channels),
        rng.normal(0, 0.3, channels),
    ).relu()
    return chain, Reach.of_weights(rng.integers(-127, 128, (channels, 3, 3, 64)), -128, 127)


def test_eight_bits_are_proved() -> None:
    """A layer as large as real ones: the proof is over 2**24 accumulators and more of each channel."""
    chain, reach = random_layer(64, 5)
    assert (reach.high - reach.low).min() > 2**23
    folded = fold(chain, Uniform(np.float32(0.0231).item(), -128, -128, 127), reach)
    assert isinstance(folded.epilogue, Rescale)
    assert folded.wrong == 0
    accumulators = np.random.default_rng(6).integers(reach.low, reach.high + 1, (5000, 64))
    real = np.array([float(g) for g in chain.gain]) * accumulators + np.array([float(o) for o in chain.offset])
    codes = np.clip(np.round(np.maximum(real, 0) / np.float64(np.float32(0.0231)) - 128), -128, 127)
    assert (folded.epilogue.apply(accumulators) == codes).all()


def test_batch_norm_behind_a_relu() -> None:
    """Below the ReLU's corner each channel has a code of its own; where the gain is negative, it is the largest."""
    rng = np.random.default_rng(5)
    gamma = [1.3, 0.7, -0.9, 0.4, 1.0, 0.5]
    beta = [0.4, -0.8, 0.6, 2.9, -5.0, 5.0]
    chain = Chain.start(6).affine(rng.uniform(0.001, 0.004, 6), rng.normal(0, 0.3, 6)).relu().affine(gamma, beta)
    reach = Reach(np.full(6, -3000), np.full(6, 2500))
    quantizer = Uniform(2**-5, 3.0, -128, 127, Rounding.HALF_UP)
    folded = fold(chain, quantizer, reach)
    rescale = folded.epilogue
    assert isinstance(rescale, Rescale) and rescale.problem(6) == "" and rescale.floor and rescale.ceiling
    assert folded.wrong == 0
    for accumulator in range(-3000, 2501, 7):
        codes = rescale.apply(np.full((1, 6), accumulator))[0] + folded.base
        for channel in range(6):
            real = chain.gain[channel] * accumulator + chain.offset[channel]
            real = min(max(real, chain.low[channel]), chain.high[channel])
            exact = math.floor(Fraction(real) / Fraction(1, 32) + 3 + Fraction(1, 2))
            assert codes[channel] == min(max(exact, -128), 127)


def test_batch_norm_behind_a_relu_with_a_channel_that_is_constant() -> None:
    """All kernels of a filter pruned: its sum is always 0."""
    chain = Chain.start(3).affine([0.003, 0.0, -0.002], [0.1, 0.2, 0.3]).relu()
    chain = chain.affine([1.0, 2.0, 0.7], [0.4, 0.5, -0.6])
    folded = fold(chain, Uniform(2**-5, 0.0, -128, 127, Rounding.HALF_UP), Reach(np.full(3, -900), np.full(3, 900)))
    assert folded.wrong == 0 and isinstance(folded.epilogue, Rescale)
    codes = folded.epilogue.apply(np.arange(-900, 901)[:, None] * np.ones((1, 3), np.int64)) + folded.base
    assert set(codes[:, 1].tolist()) == {math.floor(0.9 * 32 + 0.5)}


def test_the_same_corner_in_all_channels_is_one_clamp() -> None:
    chain = Chain.start(3).affine(0.01, [0.1, 0.2, -0.1]).relu().affine(1.0, 0.5)
    folded = fold(chain, Uniform(1 / 16, 0.0, -128, 127), Reach(np.full(3, -900), np.full(3, 900)))
    assert isinstance(folded.epilogue, Rescale) and folded.epilogue.low == 8 and not folded.epilogue.floor


def test_ties_to_even_are_counted() -> None:
    """Halves of integers at 8 bits: every other tie goes up, which no line does."""
    reach = Reach(np.array([-200]), np.array([200]))
    folded = fold(Chain.start(1).affine(0.5), Uniform(1.0, 0, -128, 127), reach)
    assert isinstance(folded.epilogue, Rescale)
    assert folded.worst == 1
    assert folded.wrong == 100, "half of the 200 ties"
    exact = fold(Chain.start(1).affine(0.5), Uniform(1.0, 0, -128, 127), reach, most_thresholds=255)
    assert isinstance(exact.epilogue, Threshold) and exact.wrong == 0 and exact.base == -128


def test_one_bit_of_falling_and_constant_channels() -> None:
    reach = Reach(np.full(4, -10), np.full(4, 10))
    chain = Chain.start(4).affine([2.0, -2.0, 0.0, 0.0], [1.0, 1.0, 1.0, -1.0])
    folded = fold(chain, Boundaries((0.0,)), reach)
    assert folded.epilogue == Threshold(((0,), (0,), (-(2**31),), (2**31,)), (1, -1, 1, 1))


def test_codes_from_zero() -> None:
    reach = Reach(np.array([-100]), np.array([100]))
    folded = fold(Chain.start(1).affine(0.3), Uniform(1.0, 0, -8, 7), reach, from_zero=True)
    assert isinstance(folded.epilogue, Rescale) and folded.base == -8
    assert (folded.epilogue.low, folded.epilogue.high) == (0, 15)


def test_output_without_a_quantizer() -> None:
    """One scale: the accumulators. Several, and a bias: int32 codes within two of the real value's."""
    reach = Reach(np.array([-5000, 3]), np.array([7000, 9]))
    assert fold_real(Chain.start(2).affine(0.125), reach) == (None, 0.125)
    chain = Chain.start(2).affine([0.3, -0.7], [11.0, -4.0]).relu()
    epilogue, scale = fold_real(chain, reach)
    assert epilogue is not None and not epilogue.problem(2)
    for channel, codes in enumerate(given_codes(epilogue, reach)):
        accumulators = np.arange(reach.low[channel], reach.high[channel] + 1)
        wanted = np.maximum([0.3, -0.7][channel] * accumulators + [11.0, -4.0][channel], 0)
        assert np.abs(codes - wanted / scale).max() <= 2
    assert scale < 2111.5 / 2**30


@pytest.mark.parametrize(
    ("reason", "make"),
    {
        "a gain is not finite": lambda: Chain.start(2).affine(math.nan),
        "3 values of a gain for 2 channels": lambda: Chain.start(2).affine([1.0, 2.0, 3.0]),
        "a divisor is zero": lambda: Chain.start(2).divide([1.0, 0.0]),
        "variance that is not positive": lambda: Chain.start(2).batch_norm(0.0, [1.0, -1.0], 1e-5),
        "lower bound is above": lambda: Chain.start(1).clip(2.0, 1.0),
        "bound is not a number": lambda: Chain.start(1).clip(math.nan),
        "scale 0.0 and zero point": lambda: Uniform(0.0, 0, 0, 3),
        "codes 3 to 3": lambda: Uniform(1.0, 0, 3, 3),
        "not finite and ascending": lambda: Boundaries((1.0, 0.0)),
        "do not fit together": lambda: Reach(np.array([1]), np.array([0])),
        "beyond 32 bits": lambda: Reach.of_weights(np.full((1, 70000), 127), 0, 255 * 2),
        "2 channels for a chain of 1": lambda: fold(
            Chain.start(1), Boundaries((0.0,)), Reach(np.zeros(2, int), np.ones(2, int))
        ),
        "does not fit 64 bits": lambda: fold(
            Chain.start(1).affine(2.0**40), Uniform(1.0, 0, 0, 255), Reach(np.array([-9]), np.array([9]))
        ),
        "clamped differently per channel": lambda: fold_real(
            Chain.start(2).relu().affine([1.0, 2.0], 1.0).affine(1.0, [0.0, 1.0]),
            Reach(np.zeros(2, int), np.ones(2, int)),
        ),
        "not evenly spaced": lambda: fold(
            Chain.start(1), Boundaries(tuple(map(float, range(256)))), Reach(np.array([0]), np.array([9]))
        ),
    }.items(),
)
def test_refused(reason: str, make: object) -> None:
    with pytest.raises((ModelError, UnsupportedError), match=reason):
        make()  # type: ignore[operator]


def test_epsilon_is_added_to_the_variance() -> None:
    chain = Chain.start(2).batch_norm([0.5, -1.0], [4.0, 0.0], 0.25, [3.0, 2.0], [0.125, 0.0])
    assert [float(gain) for gain in chain.gain] == pytest.approx([3 / np.sqrt(4.25), 4.0], rel=1e-15)
    assert [float(x) for x in chain.offset] == pytest.approx([0.125 - 1.5 / np.sqrt(4.25), 4.0], rel=1e-15)
