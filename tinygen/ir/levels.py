"""Levels of few bits inside levels of 8: the same real weights, quantized by one rule with other numbers of bits.

Q_k(u) = floor((2^k - 1) u + 1/2) for u in [0, 1] is a function of Q_8(u) where k divides 8: then d = 255 / (2^k - 1)
is odd, every boundary of Q_k is one of Q_8's, and Q_k(u) = floor((Q_8(u) + (d - 1) / 2) / d). (With rounding half
up; it is not a truncation.) One bit is the uppermost: the sign of TanhQuant's weights.
"""

from __future__ import annotations

import numpy as np

from tinygen.ir.encodings import Binary, Encoding, Levels

PARENT_BITS = 8
NESTED_BITS = (1, 2, 4, 8)


def odd_level_bits(encoding: Encoding) -> int | None:
    """k where codes q stand for scale * (2 q - (2^k - 1)); else None."""
    if isinstance(encoding, Binary):
        return 1
    return encoding.bits if isinstance(encoding, Levels) and encoding.signed else None


def nested_codes(codes: np.ndarray, bits: int) -> np.ndarray:
    """Codes of `bits` bits, one of NESTED_BITS, from 8-bit ones; uint8, any shape."""
    divisor = 255 // (2**bits - 1)
    return ((codes.astype(np.int64) + (divisor - 1) // 2) // divisor).astype(np.uint8)
