/* The fixed-point logarithm of TensorFlow Lite's integer log softmax. */
#ifndef TINYGEN_LOGARITHM_H
#define TINYGEN_LOGARITHM_H

#include <stdint.h>

#include "tinygen_math.h"

/* Zeros in front of a positive number's bits. */
static inline int32_t tg_zeros_before(int32_t x)
{
    int32_t zeros = 0;
    for (uint32_t rest = (uint32_t)x; rest < UINT32_C(0x80000000); rest <<= 1) {
        zeros++;
    }
    return zeros;
}

/*
 * log(x) with 26 fractional bits for x >= 1 with 19: x is 2^k r with r near the fourth root of 1/2, where k is a whole
 * number and a quarter more, or less; the rest by a quotient of polynomials.
 */
static inline int32_t tg_logarithm(int32_t x)
{
    const int32_t root_of_half = 1518500250;
    const int32_t near = 1805811301;
    const int32_t zeros = tg_zeros_before(x);
    const int32_t first = tg_shift_left_saturating(tg_high_mul(x << (zeros - 1), root_of_half), 1);
    const int32_t headroom = tg_zeros_before(tg_high_mul(x, root_of_half)) - 1;
    const int32_t second = tg_shift_left_saturating(x, headroom);
    const int32_t power = tg_max(((12 - zeros) * (1 << 25)) + (1 << 23), ((12 - headroom) * (1 << 25)) - (1 << 23));
    const int32_t r = tg_min(first, second);
    const int32_t p = (int32_t)(((uint32_t)r + (uint32_t)near + 1U) >> 1);
    const int32_t q = 2 * (r - near);
    const int32_t square = tg_high_mul(q, q);
    const int32_t numerator = tg_high_mul(q, r) + tg_high_mul(tg_high_mul(q, square), 117049297);
    const int32_t polynomial = 1057819769 + q + tg_high_mul(square, 127690142);
    const int32_t denominator = tg_high_mul(p, polynomial) + tg_high_mul(q, 638450708);
    const int32_t quotient = tg_high_mul(tg_rounding_shift(numerator, 6), tg_one_over_one_plus(denominator));
    return tg_shift_left_saturating(tg_high_mul(power, 1488522236) + quotient, 1);
}

#endif
