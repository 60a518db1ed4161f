"""Fields of sums: by brute force against the sums themselves, at the bound and one step over it."""

from __future__ import annotations

import numpy as np
import pytest

from tinygen.lowering.kernels.support.activations.packed_fields import (
    Fields,
    Sums,
    layouts,
    pack_operands,
    packing,
    rotations,
    segments,
)

# Largest codes of activations and weights.
PAIRS = [(1, 1), (3, 1), (1, 3), (2, 2), (3, 3), (15, 3), (7, 7), (15, 7), (15, 15), (255, 1), (255, 2), (255, 3)]


def words(fields: Fields, pixels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Operands of steps, uint64: pixels [steps, N], weights [steps, K or M]."""
    return _word(pixels, fields.pixel_shifts()), _word(weights, fields.weight_shifts())


def _word(codes: np.ndarray, shifts: list[int]) -> np.ndarray:
    assert max(shifts) < 32
    found = (codes.astype(np.uint64) << np.array(shifts, np.uint64)).sum(axis=1)
    assert found.max() < 2**32
    return found


def taken(fields: Fields, total: int) -> list[int]:
    """The sums in a product; the highest has what is left."""
    total &= (1 << fields.product) - 1
    places = fields.places()
    mask = (1 << fields.spacing) - 1
    return [total >> at & mask for at in places[:-1]] + [total >> places[-1]]


def sums(fields: Fields, pixels: np.ndarray, weights: np.ndarray) -> list[int]:
    """Of all products of a step's pixel and its weight, those that meet in a field."""
    products = weights.T @ pixels
    if fields.taps == 1:
        return [int(product) for product in products.reshape(-1)]
    return [int(np.trace(products, j - fields.taps + 1)) for j in range(fields.count)]


def agree(fields: Fields, pixels: np.ndarray, weights: np.ndarray) -> bool:
    x, w = words(fields, pixels, weights)
    return taken(fields, int((x * w).sum())) == sums(fields, pixels, weights)  # modulo 2^64, as on a core


def every(taps: int) -> list[tuple[int, int, Fields]]:
    """Layouts of products of 64 and of 32 bits."""
    return [(a, w, fields) for a, w in PAIRS for size in (64, 32) for fields in layouts(a, w, taps, size)]


@pytest.mark.parametrize("taps", [1, 2, 3, 5])
def test_fields_hold_what_they_are_said_to(taps: int) -> None:
    """All largest codes, random ones, and zeros by turns; as many steps as are safe."""
    rng = np.random.default_rng(taps)
    tried = 0
    for largest_x, largest_w, fields in every(taps):
        columns = taps if taps > 1 else fields.filters
        steps = Sums(np.full((1, 150, taps), largest_w), largest_x).safe_steps(fields)
        if not steps:
            continue
        pixels = np.full((steps, fields.pixels), largest_x)
        weights = np.full((steps, columns), largest_w)
        assert agree(fields, pixels, weights), fields
        turns = np.arange(steps)[:, None] % 2
        assert agree(fields, pixels * turns, weights), fields
        assert agree(
            fields, rng.integers(0, largest_x + 1, pixels.shape), rng.integers(0, largest_w + 1, weights.shape)
        )
        tried += 1
    assert tried > 20


@pytest.mark.parametrize("taps", [1, 3])
def test_one_step_more_overflows(taps: int) -> None:
    """The bound is that of the largest codes: with them, one more step spoils a sum."""
    spoilt = 0
    for largest_x, largest_w, fields in every(taps):
        columns = taps if taps > 1 else fields.filters
        steps = Sums(np.full((1, 150, taps), largest_w), largest_x).safe_steps(fields)
        if 0 < steps < 150:
            shape = (steps + 1, columns)
            assert not agree(fields, np.full((steps + 1, fields.pixels), largest_x), np.full(shape, largest_w)), fields
            spoilt += 1
    assert spoilt > 20


def test_known_weights_allow_more() -> None:
    """A filter of zeros and ones alone is bounded by its ones."""
    weights = np.zeros((1, 64, 3), np.int64)
    weights[0, ::4, 1] = 3
    fields = next(f for f in layouts(3, 3, 3) if f.pixels == 4 and f.spacing == 8)
    known, unknown = Sums(weights, 3), Sums(np.full_like(weights, 3), 3)
    assert known.safe_steps(fields) == 64 and unknown.safe_steps(fields) == 255 // 27
    assert known.largest(fields, 64) == 16 * 3 * 3


@pytest.mark.parametrize("steps", [1, 9, 27, 60, 192, 577])
def test_segments_cover_every_step(steps: int) -> None:
    rng = np.random.default_rng(steps)
    weights = rng.integers(0, 4, (8, steps, 3))
    found = Sums(weights, 3)
    for fields in layouts(3, 3, 3):
        cut = segments(found, fields)
        if cut is not None:
            assert 2 <= cut.steps <= 16 and cut.total >= steps
            assert found.fits(fields, cut.each)


def test_rotations_do_not_overlap_and_are_the_most() -> None:
    for mask, count in ((0x3, 16), (0xF, 8), (0xC0300C03 & 0x00300C03, 5), (0xFFFFFFFF, 1), (0x3000C003, 5)):
        turned = [(mask << r | mask >> (32 - r)) & 0xFFFFFFFF if r else mask for r in rotations(mask)]
        assert sum(turned) == np.bitwise_or.reduce(np.array(turned, np.uint64))
        assert len(turned) == count, hex(mask)


def test_packed_operands_come_back() -> None:
    """Of every layout, also in groups of two words, where some are of two shares."""
    rng = np.random.default_rng(0)
    forms = set()
    for largest in (1, 3, 7, 15):
        for fields in layouts(15, largest, 3):
            mask = sum(largest << shift for shift in fields.weight_shifts())
            form = packing(mask)
            forms.add((form.words, max(len(shares) for shares in form.operands)))
            operands = (rng.integers(0, 2**32, (3, 37), np.uint64) & np.uint64(mask)).astype(np.uint32)
            stored = pack_operands(operands, mask).astype(np.uint64).reshape(3, -1, form.words)
            back = np.zeros((3, stored.shape[1], len(form.operands)), np.uint64)
            for place, shares in enumerate(form.operands):
                for share in shares:
                    word = stored[:, :, share.word]
                    turned = word >> np.uint64(share.turn) | word << np.uint64(32 - share.turn)
                    back[:, :, place] |= turned & np.uint64(share.mask)
            assert np.array_equal(back.reshape(3, -1)[:, :37], operands), fields
    assert forms == {(1, 1), (2, 2)}


@pytest.mark.parametrize(("bits", "spacing", "most"), [(4, 14, 4.27), (3, 13, 3.05), (2, 10, 2.14), (1, 10, 1.07)])
def test_weights_take_little_more_than_their_bits(bits: int, spacing: int, most: float) -> None:
    mask = sum((2**bits - 1) << spacing * tap for tap in range(3))
    assert packing(mask).bits / 3 < most
