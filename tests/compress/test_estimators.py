"""Both estimators of conditional mutual information, at the dimensions at which networks use them.

Where X and Y are independent given Z the truth is 0; where Y is X it is 1. Of jointly normal X and Y of correlation rho
it is the integral (3.3), which rises with Shannon's -ln(1 - rho^2) / 2. A convolution behind 32 or 64 filters has 31 or
63 dimensions of Z.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.torch_models import need

need("sklearn")

from tinygen.compress.hash_estimator import (  # noqa: E402
    CELLS,
    Cells,
    Hash,
    adaptive_information,
    cell_width,
    cells_of,
    hashed_information,
    ranked,
    shuffled_within,
    standardised,
)
from tinygen.compress.mst_estimator import balanced, geometric_information, geometric_informations  # noqa: E402
from tinygen.errors import ModelError, UnsupportedError  # noqa: E402


def normal(count: int, dimension: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dimension))


def triple(count: int, behind: int, seed: int, noise: float | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X, Y and Z of 1, 1 and `behind` dimensions; Y is X and noise, or another variable for None."""
    x, y, z = normal(count, 1, 3 * seed), normal(count, 1, 3 * seed + 1), normal(count, behind, 3 * seed + 2)
    return x, y if noise is None else x + noise * y, z


def tree(count: int, behind: int, noise: float | None, seeds: int = 4) -> float:
    values = [geometric_information(*map(balanced, triple(count, behind, seed, noise)), seed) for seed in range(seeds)]
    return float(np.mean(values))


def hashed(count: int, behind: int, noise: float | None, seeds: int = 4, **options: object) -> float:
    values = [
        adaptive_information(*triple(count, behind, seed, noise), seed=seed, draws=3, **options)  # type: ignore[arg-type]
        for seed in range(seeds)
    ]
    return float(np.mean(values))


@pytest.mark.parametrize("behind", [2, 31, 63])
def test_tree_tells_dependence_and_how_much(behind: int) -> None:
    independent, weak, strong = (tree(300, behind, noise) for noise in (None, 1.0, 0.1))
    assert abs(independent) < 0.12
    assert independent + 0.05 < weak < strong - 0.1 and 0.4 < strong <= 1.0


def test_tree_over_plain_values_sees_nothing_but_z() -> None:
    """Why `balanced` is there: 63 dimensions beside one."""
    plain = np.mean([geometric_information(*triple(300, 63, seed, 0.1), seed) for seed in range(4)])
    assert plain < 0.12 and tree(300, 63, 0.1) > plain + 0.3


def test_tree_looks_at_z() -> None:
    """X and Y both follow Z: dependent, but not given Z. (Without Z it is plain mutual information.)"""
    found = []
    for seed in range(3):
        x, y, z = (normal(600, 1, 3 * seed + i) for i in range(3))
        x, y = z + 0.3 * x, z + 0.3 * y
        found.append([geometric_information(balanced(x), balanced(y), balanced(c), seed) for c in (z, z[:, :0])])
    given, plain = np.mean(found, 0)
    assert given < 0.15 and plain > given + 0.2, (given, plain)


def truth(correlation: float) -> float:
    """(3.3) of two normal variables, integrated on a grid."""
    axis = np.linspace(-6, 6, 1201)
    x, y = np.meshgrid(axis, axis)
    quadratic = (x**2 - 2 * correlation * x * y + y**2) / (1 - correlation**2)
    joint = np.exp(-quadratic / 2) / (2 * np.pi * np.sqrt(1 - correlation**2))
    product = np.exp(-(x**2 + y**2) / 2) / (2 * np.pi)
    ratio = joint * product / np.maximum(joint + product, 1e-300)
    return 1 - 2 * float(np.sum(ratio) * (axis[1] - axis[0]) ** 2)


def correlated(count: int, correlation: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    x, other = normal(count, 1, seed), normal(count, 1, seed + 1000)
    return x, correlation * x + np.sqrt(1 - correlation**2) * other


CORRELATIONS = (0.0, 0.3, 0.6, 0.9, 0.99)


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_tree_against_the_truth(correlation: float) -> None:
    """Without a Z: within 0.03 of the integral, of 1,200 samples and the mean of four runs."""
    found = []
    for seed in range(4):
        x, y = correlated(1200, correlation, seed)
        found.append(geometric_information(balanced(x), balanced(y), x[:, :0], seed))
    assert abs(np.mean(found) - truth(correlation)) < 0.03


@pytest.mark.parametrize("behind", [0, 2, 21])
def test_hash_against_the_truth(behind: int) -> None:
    """As its docstring says: never above, and below by so much, where Z has nothing to do with X and Y."""
    least = (-0.01, -0.015, -0.03, -0.07, -0.15)
    for correlation, low in zip(CORRELATIONS, least, strict=True):
        found = []
        for seed in range(2):
            x, y = correlated(3600, correlation, seed)
            found.append(adaptive_information(x, y, normal(3600, behind, seed + 77), draws=2, seed=seed))
        error = np.mean(found) - truth(correlation)
        assert low < error < 0.01, (correlation, error)


def test_truth_rises_with_shannon() -> None:
    """The geometric information is another number for the same thing: 0.69 where Shannon's is 1.96 nats."""
    shannon = [-0.5 * np.log(1 - rho**2) for rho in CORRELATIONS]
    geometric = [truth(rho) for rho in CORRELATIONS]
    assert shannon == sorted(shannon) and geometric == sorted(geometric)
    assert geometric == pytest.approx([0.0, 0.023, 0.104, 0.352, 0.692], abs=1e-3)
    assert shannon[-1] == pytest.approx(1.96, abs=5e-3)


def test_draws_make_scores_repeatable() -> None:
    """The same samples, other hashes: with twelve draws the scores scatter less than half as much as with one."""
    x, y = correlated(300, 0.6, 0)
    spread = [
        np.std([adaptive_information(x, y, normal(300, 5, 9), draws=draws, seed=seed) for seed in range(12)])
        for draws in (1, 12)
    ]
    assert spread[1] < spread[0] / 2
    with pytest.raises(ModelError, match="0 draws"):
        adaptive_information(x, y, x, draws=0)


def test_splits_make_scores_repeatable() -> None:
    x, y = correlated(90, 0.6, 0)
    spread = [np.std([geometric_information(x, y, x[:, :0], seed, splits) for seed in range(12)]) for splits in (1, 8)]
    assert spread[1] < spread[0] / 1.5
    with pytest.raises(ModelError, match="0 splits"):
        geometric_information(x, y, x[:, :0], splits=0)


def test_scale_and_shape_do_not_matter_to_the_hash() -> None:
    """Information does not change when X is bent, and ranks do not either."""
    x, y, z = triple(400, 3, 0, 0.5)
    plain = adaptive_information(x, y, z, draws=2)
    assert adaptive_information(np.exp(x), 1e6 * y + 3, 0.1 * z, draws=2) == pytest.approx(plain, abs=1e-12)


def test_shuffled_stays_within() -> None:
    generator = np.random.default_rng(0)
    y, z = generator.integers(0, 50, 400), generator.integers(0, 4, 400)
    found = shuffled_within(y, z, generator)
    assert not np.array_equal(found, y)
    for value in range(4):
        assert np.array_equal(np.sort(found[z == value]), np.sort(y[z == value]))


def test_tree_shares_work_between_filters() -> None:
    x, y, z = triple(60, 5, 0, 0.5)
    others = [x, y, normal(60, 2, 9)]
    assert geometric_informations(others, y, z, 7) == [geometric_information(other, y, z, 7) for other in others]


def test_tree_of_equal_samples_is_a_tree() -> None:
    """Dead filters give the same value for every image; SciPy alone would lose edges of length 0."""
    dead = np.zeros((90, 1))
    value = geometric_information(balanced(dead), balanced(dead), balanced(np.zeros((90, 3))))
    # All distances tie, so that any tree is minimal; but it has 59 edges, of which some join the two kinds.
    assert value < 1.0
    assert np.isfinite(geometric_information(balanced(dead), balanced(normal(90, 1)), balanced(normal(90, 3))))


@pytest.mark.parametrize("behind", [2, 31, 127])
def test_hash_tells_dependence_at_the_dimension_used(behind: int) -> None:
    independent, weak, same = (hashed(500, behind, noise) for noise in (None, 1.0, 0.0))
    assert abs(independent) < 0.03
    assert independent + 0.05 < weak < same - 0.3


@pytest.mark.parametrize("behind", [2, 127])
def test_the_literal_form_tells_less(behind: int) -> None:
    """Without its empty cells the printed sum stays below a half, and tells a strong dependence hardly from a weak."""
    independent, weak, same = (hashed(500, behind, noise, form="literal") for noise in (None, 1.0, 0.0))
    assert abs(independent) < 0.03 < weak < 0.5 and same < 0.5
    assert same - weak < hashed(500, behind, 0.0) - hashed(500, behind, 1.0)


def test_cells_of_a_fixed_width_tell_nothing_in_many_dimensions() -> None:
    """The trap: every sample alone in its cell of Z; independent and identical variables then score the same."""
    widths = Cells(1.0, 1.0, 1.0)
    assert abs(hashed(1000, 31, 0.0, widths=widths) - hashed(1000, 31, None, widths=widths)) < 0.02
    assert hashed(1000, 1, 0.0, widths=widths) > hashed(1000, 1, None, widths=widths) + 0.2


def test_width_grows_with_the_dimension_and_falls_with_samples() -> None:
    widths = [cell_width(normal(1000, behind)) for behind in (1, 5, 20, 60)]
    assert widths == sorted(widths) and widths[0] < widths[1] < widths[2]
    for behind, width in zip((1, 5, 20, 60), widths, strict=True):
        cells = len(np.unique(cells_of(normal(1000, behind), width, np.random.default_rng(1)), axis=0))
        assert 1000 / cells > 120
    # Below 1, too: sixteen cells of a variable of standard deviation 1 are narrower.
    few = [cell_width(ranked(normal(count, 1)), count / CELLS) for count in (100, 4000)]
    assert max(few) < 0.5
    assert cell_width(np.zeros((50, 1)), 3) > 0 and cell_width(np.zeros((50, 0))) == 1.0


def test_hash_error_falls_with_samples_and_rises_with_dimension() -> None:
    """Figure 4.5: d = 1, 1, 2 and more samples; then more dimensions for as many. The plain sum, width 1."""

    def error(count: int, behind: int) -> float:
        found = []
        for seed in range(4):
            generator = np.random.default_rng(seed)
            x, y, z = map(standardised, triple(count, behind, seed, None))
            hashes = [Hash(values, 1.0, generator).of(slice(None)) for values in (x, y, z)]
            found.append(hashed_information(*hashes))
        return float(np.mean(np.square(found)))

    by_samples = [error(count, 2) for count in (500, 1000, 5000, 10000)]
    assert by_samples == sorted(by_samples, reverse=True) and by_samples[-1] < by_samples[0] / 10
    # Three dimensions of Z against one, at as many samples.
    assert error(5000, 1) < error(5000, 2) < error(5000, 3)


def test_forms_by_hand() -> None:
    """X = Y of two equally likely values, Z constant: r = 1/2 on the diagonal, a = 1/4 in all four cells.

    (4.7) sees two cells: 2 * 1/4 * g(2) = 1/2 * 1/6. Bounded: the empty ones add 2 * 1/4 * g(0) = 1/4; together 1/3,
    which is 1 - 2 * 2 * (1/8) / (3/4).
    """
    x, z = np.array([3, 3, 8, 8]), np.full(4, 5)
    assert hashed_information(x, x, z, form="literal") == pytest.approx(1 / 12)
    assert hashed_information(x, x, z) == pytest.approx(1 / 3)
    assert hashed_information(x, x, z, phi=0.5) == pytest.approx(1 / 6)
    y = np.array([3, 8, 3, 8])
    assert hashed_information(x, y, z) == pytest.approx(0.0) == hashed_information(x, y, z, form="literal")
    # phi of each sample: 1 on the first two; literal 1/12 / 2, bounded with the mean 1/2 in empty cells.
    phi = np.array([1.0, 1.0, 0.0, 0.0])
    assert hashed_information(x, x, z, phi, "literal") == pytest.approx(1 / 24)
    assert hashed_information(x, x, z, phi) == pytest.approx(1 / 6)


def test_literal_form_stays_below_a_half() -> None:
    x = np.arange(400)
    assert hashed_information(x, x, np.zeros(400, np.int64), form="literal") == pytest.approx(0.5, abs=0.01)
    assert hashed_information(x, x, np.zeros(400, np.int64)) == pytest.approx(1.0, abs=0.01)


def test_phi_scales() -> None:
    generator = np.random.default_rng(0)
    x, z = generator.integers(0, 4, 300), generator.integers(0, 4, 300)
    for form in ("bounded", "literal"):
        whole = hashed_information(x, x, z, 1.0, form)
        assert hashed_information(x, x, z, np.full(300, 0.25), form) == pytest.approx(whole / 4)


def test_hashes_of_all_columns_but_one() -> None:
    """Two samples that agree in all other columns hash alike; of others hardly any two do."""
    values = normal(200, 6)
    values[1] = values[0]
    values[1, 2] += 100.0
    table = Hash(values, 0.5, np.random.default_rng(0))
    without = table.without(slice(2, 3))
    assert without[0] == without[1] and table.of(slice(0, 6))[0] != table.of(slice(0, 6))[1]
    assert len(np.unique(without)) > 150 and without.min() >= 0 and without.max() < 800


def test_bad_input() -> None:
    few = normal(5, 1)
    with pytest.raises(ModelError, match=r": 5 samples\nGive as many of each variable, 6 at least"):
        geometric_information(few, few, few)
    with pytest.raises(ModelError, match=": 8 and 9 samples"):
        geometric_information(normal(9, 1), normal(9, 1), normal(8, 1))
    with pytest.raises(ModelError, match="9, 9 and 8 samples"):
        adaptive_information(normal(9, 1), normal(9, 1), normal(8, 1))
    with pytest.raises(UnsupportedError, match=r"form 'other'\nUse one of bounded, literal"):
        adaptive_information(few, few, few, form="other")
    many = np.zeros((2**19 + 1, 1))
    with pytest.raises(ModelError, match=r"524,289 samples\nGive at most 524,288"):
        Hash(many, 1.0, np.random.default_rng(0))
