/* Requantization for the layers whose double-precision rounding no fixed-point multiplier matches. */
#ifndef TINYGEN_DOUBLE_H
#define TINYGEN_DOUBLE_H

#include <stdint.h>

/* x * scale rounded to nearest, ties away from zero, saturated far beyond every output type. */
static inline int32_t tg_requantize_double(int64_t x, double scale)
{
    const double product = (double)x * scale;
    if (product >= 1e9) {
        return 1000000000;
    }
    if (product <= -1e9) {
        return -1000000000;
    }
    const int32_t whole = (int32_t)product;
    const double rest = product - (double)whole;
    return whole + (rest >= 0.5 ? 1 : 0) - (rest <= -0.5 ? 1 : 0);
}

/*
 * The same for |x| < 2^31 and results below 2^30. The multiplier is within half a unit of scale * 2^(31 - shift),
 * so the fixed-point product is off by less than |x|; only where it is that near to a tie, the double decides.
 */
static inline int32_t tg_requantize_checked(int64_t x, int32_t multiplier, int32_t shift, double scale)
{
    const int32_t total = 31 - shift;
    const int64_t sum = x * multiplier + (INT64_C(1) << (total - 1));
    const int64_t mask = (INT64_C(1) << total) - 1;
    const int64_t doubt = x < 0 ? -x : x;
    const int64_t rest = sum & mask;
    return rest < doubt || rest > mask - doubt ? tg_requantize_double(x, scale) : (int32_t)(sum >> total);
}

#endif
