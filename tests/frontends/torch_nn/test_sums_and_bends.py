"""Common scales of sums, and boundaries traced back through slopes, each against exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from tinygen.frontends.folding import Chain, Reach
from tinygen.frontends.torch_nn.bends import Bend, bent_cuts
from tinygen.frontends.torch_nn.sums import Factors, factors

LIMIT = 2**31 - 2


def _sum(f: Factors, a: int, b: int) -> Fraction:
    return f.unit * ((f.first * a + f.second * b + ((1 << f.shift) >> 1)) >> f.shift)


@pytest.mark.parametrize("scales", [(1, 1), (3, 2), (-5, 7), (0.5, 0.0078125)])
def test_simple_ratios_are_exact(scales: tuple[float, float]) -> None:
    gains = (Fraction(scales[0]) / 1000, Fraction(scales[1]) / 1000)
    f = factors(gains, (300, 40000))
    assert f.shift == 0
    assert all(_sum(f, a, b) == gains[0] * a + gains[1] * b for a in (-300, -1, 0, 299) for b in (-40000, 7, 40000))


def test_any_ratio_is_near() -> None:
    """2**-26 of the operands without a shift, two units of 2**-29 of the largest sum with one; never beyond 32 bits."""
    rng = np.random.default_rng(0)
    shifted = 0
    for _ in range(400):
        largest = tuple(int(2 ** rng.uniform(0, 30.9)) for _ in range(2))
        gains = tuple(Fraction(float(rng.choice([-1, 1]) * 2 ** rng.uniform(-20, 10))) for _ in range(2))
        f = factors((gains[0], gains[1]), (largest[0], largest[1]))
        shifted += f.shift > 0
        assert max(abs(f.first), abs(f.second)) < 2**62
        most = abs(gains[0]) * largest[0] + abs(gains[1]) * largest[1]
        for _ in range(8):
            a, b = (int(rng.integers(-m, m + 1)) for m in largest)
            real = gains[0] * a + gains[1] * b
            size = abs(gains[0] * a) + abs(gains[1] * b)
            allowed = 2 * most / 2**29 if f.shift else size / 2**26
            assert abs(_sum(f, a, b) - real) <= allowed
        corners = [(sa * largest[0], sb * largest[1]) for sa in (-1, 1) for sb in (-1, 1)]
        assert all(abs(_sum(f, a, b) / f.unit) <= LIMIT for a, b in corners)
    assert 40 < shifted < 360


def test_a_constant_operand_counts_for_nothing() -> None:
    assert factors((Fraction(0), Fraction(-3)), (9, 9)) == Factors(0, -1, 0, Fraction(3))
    assert factors((Fraction(0), Fraction(0)), (9, 9)) == Factors(0, 0, 0, Fraction(1))


def _value(bends: list[Bend], chain: Chain, channel: int, accumulator: int) -> Fraction | float:
    x: Fraction | float = Fraction(accumulator)
    for link, slopes in (*((bend.chain, bend.slopes) for bend in bends), (chain, None)):
        assert isinstance(x, Fraction)
        x = link.gain[channel] * x + link.offset[channel]
        x = min(max(x, link.low[channel]), link.high[channel])
        if slopes is not None and x < 0:
            x = x * slopes[channel]
    return x


@pytest.mark.parametrize("seed", range(12))
def test_cuts_behind_slopes(seed: int) -> None:
    """The least signed accumulator that reaches each point, found by trying all of them."""
    rng = np.random.default_rng(seed)
    channels = 5
    reach = Reach(np.full(channels, -40), np.full(channels, 30))

    def link(clamped: bool) -> Chain:
        # Small integers and halves: points are hit exactly now and then.
        chain = Chain.start(channels).affine(rng.integers(-3, 4, channels) / 2, rng.integers(-9, 10, channels) / 2)
        return chain.clip(-6.5, 8.0) if clamped else chain

    slopes = [tuple(Fraction(int(s), 4) for s in rng.integers(0, 6, channels)) for _ in range(2)]
    bends = [Bend(link(bool(rng.random() < 0.3)), s) for s in slopes[: int(rng.integers(1, 3))]]
    chain = link(bool(rng.random() < 0.5))
    points = [(Fraction(p, 2), bool(rng.random() < 0.5)) for p in sorted(rng.integers(-12, 13, 6).tolist())]
    cuts = bent_cuts(bends, chain, points, reach)
    for channel in range(channels):
        sign = int(cuts.sign[channel])
        for column, (point, inclusive) in enumerate(points):
            for accumulator in range(-40, 31):
                value = _value(bends, chain, channel, accumulator)
                reached = value >= point if inclusive else value > point
                assert reached == (sign * accumulator >= cuts.table[channel, column]), (channel, point, accumulator)
