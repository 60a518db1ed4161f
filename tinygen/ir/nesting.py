"""Codes of few bits derived from codes of more bits: one set of weights in flash serves several switches.

DoReFa's base quantizer rounds half up, q_k = floor((2^k - 1) t + 1/2) for t in [0, 1]. Where k divides m,
d = (2^m - 1) / (2^k - 1) is a whole odd number, and with s = (2^k - 1) t

    floor((q_m + (d - 1)/2) / d) = floor((d s + 1/2 + (d - 1)/2) / d) = floor(s + 1/2) = q_k,

since floor((floor(y) + c) / d) = floor((y + c) / d) for whole c and d. So the codes nest exactly: 4 bits from 8 are (q
+ 8) // 17, 2 from 4 are (q + 2) // 5, and 1 bit from any is the top bit. (A shift would truncate: it would turn the
8-bit code 15 into the 4-bit code 0, which stands for 0, instead of 1, which stands for 17.)
"""

from __future__ import annotations

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.ir.encodings import Binary, Encoding, Levels

PARENT_BITS = 8
"""Of the codes that kernels derive others from."""
NESTED_BITS = (1, 2, 4, 8)
"""What they derive."""


def odd_level_bits(encoding: Encoding) -> int | None:
    """k if codes q stand for scale * (2 q - (2^k - 1)), as TanhQuant's do; else None."""
    if isinstance(encoding, Binary):
        return 1
    return encoding.bits if isinstance(encoding, Levels) and encoding.signed else None


def nests(wide: int, narrow: int) -> bool:
    """Whether codes of `narrow` bits are a function of codes of `wide` bits."""
    return 1 <= narrow <= wide and wide % narrow == 0


def derived_codes(codes: np.ndarray, wide: int, narrow: int) -> np.ndarray:
    """The `narrow`-bit codes of values whose `wide`-bit codes are given; for TanhQuant and ReLUQuant (5.2, 5.4, 5.5).

    Args:
        codes: integers 0..2^wide - 1, any shape.
        wide, narrow: bits, 1 to 16; `narrow` divides `wide`.

    Returns:
        The same shape and dtype.

    Raises:
        UnsupportedError: `narrow` does not divide `wide`, or a code has more bits.
    """
    if not nests(wide, narrow) or wide > 16:
        raise UnsupportedError(
            f"codes of {narrow} bits are no function of those of {wide}",
            where="derived_codes",
            fix="Use bits that divide those of the wider codes: 8 serve 4, 2 and 1.",
        )
    if codes.size and not 0 <= int(codes.min()) <= int(codes.max()) < 2**wide:
        found = f"codes from {codes.min()} to {codes.max()}"
        fix = "Give the codes themselves (from 0), not what they stand for."
        raise UnsupportedError(f"{found} have more than {wide} bits", where="derived_codes", fix=fix)
    step = (2**wide - 1) // (2**narrow - 1)
    return ((codes.astype(np.int64) + (step - 1) // 2) // step).astype(codes.dtype)
