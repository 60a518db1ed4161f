"""log(1 + x) in single precision, as the C libraries of microcontrollers compute it.

The mel scale's filter weights are rounded from it, so that its last bit shows in the features. C libraries differ
there; this is the algorithm of Sun's fdlibm (s_log1p.c, 1993; sf_log1p.c, its conversion to float by I. L. Taylor),
which newlib has, the C library of most embedded toolchains, and glibc 2.36.
"""

from __future__ import annotations

import math

import numpy as np

_f32 = np.float32
_LN2_HIGH = _f32(6.9313812256e-01)
_LN2_LOW = _f32(9.0580006145e-06)
_SERIES = tuple(
    _f32(c)
    for c in (
        6.6666668653e-01,
        4.0000000596e-01,
        2.8571429849e-01,
        2.2222198546e-01,
        1.8183572590e-01,
        1.5313838422e-01,
        1.4798198640e-01,
    )
)
_SQRT2 = np.uint32(0x3FB504F7).view(np.float32)
_PLAIN_BELOW = np.uint32(0x3ED413D7).view(np.float32)
"""sqrt(2) - 1: below it, 1 + x is not scaled."""


def log1p(x: np.float32) -> np.float32:
    """log(1 + x), x >= 0 and below 2**53."""
    if x < _PLAIN_BELOW:
        exponent, f, lost = _f32(0), x, _f32(0)
    else:
        exponent, f, lost = _scaled(x)
    half_square = _f32(0.5) * f * f
    s = f / (_f32(2) + f)
    z = s * s
    series = _f32(0)
    for coefficient in reversed(_SERIES):
        series = z * (coefficient + series)
    rest = s * (half_square + series)
    if exponent == 0:
        return f - (half_square - rest)
    return exponent * _LN2_HIGH - ((half_square - (rest + (exponent * _LN2_LOW + lost))) - f)


def _scaled(x: np.float32) -> tuple[np.float32, np.float32, np.float32]:
    """1 + x = 2**exponent * (1 + f), with 1 + f around 1; and what rounding 1 + x has lost, relative to it."""
    one = _f32(1)
    u = one + x
    mantissa, exponent = math.frexp(float(u))
    lost = (one - (u - x) if exponent > 1 else x - (u - one)) / u
    scaled, power = _f32(2 * mantissa), exponent - 1
    if scaled >= _SQRT2:
        scaled, power = _f32(mantissa), exponent
    return _f32(power), scaled - one, lost
