/* Requantization for the layers whose double-precision rounding no fixed-point multiplier matches. */
#ifndef TINYGEN_DOUBLE_H
#define TINYGEN_DOUBLE_H

#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
#define TG_DOUBLE_APART __attribute__((noinline, unused))
#else
#define TG_DOUBLE_APART inline
#endif

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

/* The same as a function, for kernels that finish many sums; the scale's two words. */
static TG_DOUBLE_APART int32_t tg_requantize_words(
    int32_t x, int32_t multiplier, int32_t shift, int32_t scale_high, int32_t scale_low)
{
    const uint64_t words = (uint64_t)(uint32_t)scale_high << 32 | (uint32_t)scale_low;
    double scale;
    memcpy(&scale, &words, sizeof scale);
    return tg_requantize_checked(x, multiplier, shift, scale);
}

#endif
