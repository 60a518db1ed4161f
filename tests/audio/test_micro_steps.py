"""Single steps of the micro front end's NumPy form, against exact arithmetic. Its C: test_micro_c.py."""

from __future__ import annotations

import math

import numpy as np

from tinygen.audio.micro_frontend import _square_root


def _nearest_root(value: int) -> int:
    root = math.isqrt(value)
    root += value - root * root > root
    return min(root, 0xFFFF) if value < 2**32 else root


def test_square_roots_are_the_nearest_and_of_16_bits_below_2_to_the_32() -> None:
    rng = np.random.default_rng(3)
    roots = [0, 1, 2, 255, 0xFFFE, 0xFFFF, 0x10000, 0x10001, *np.exp2(rng.uniform(0, 26.4, 300)).astype(int).tolist()]
    borders = [root * root + step for root in roots for step in (-1, 0, 1, root, root + 1)]
    values = sorted({value for value in (*borders, 2**32 - 1, 2**32, 2**53 - 1) if 0 <= value < 2**53})
    assert _square_root(np.array(values, np.int64)).tolist() == [_nearest_root(value) for value in values]
