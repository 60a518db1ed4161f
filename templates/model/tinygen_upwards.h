/* Requantization that rounds halves upwards in the end, as LiteRT's optimised kernels do where its reference does
   not. */
#ifndef TINYGEN_UPWARDS_H
#define TINYGEN_UPWARDS_H

#include <stdint.h>

#include "tinygen_math.h"

/* x * multiplier * 2^(shift - 31), rounded twice: nearest 2^-right, then nearest whole; ties upwards in both. */
static inline int32_t tg_requantize_upwards(int32_t x, int32_t multiplier, int32_t shift)
{
    const int32_t right = tg_max(-shift, 0);
    const int32_t mask = (int32_t)((UINT32_C(1) << right) - 1U);
    const int32_t scaled = tg_high_mul(tg_shift_left(x, tg_max(shift, 0)), multiplier);
    return (scaled >> right) + ((scaled & mask) > (mask >> 1) ? 1 : 0);
}

#endif
