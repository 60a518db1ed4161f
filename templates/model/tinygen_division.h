/* Quotients and remainders of integers. */
#ifndef TINYGEN_DIVISION_H
#define TINYGEN_DIVISION_H

#include <stdint.h>

#include "tinygen_math.h"

/* a / b towards zero; a divisor of 0 is taken as 1, and the least integer over -1 saturates. */
static inline int32_t tg_divide(int32_t a, int32_t b)
{
    if (b == -1) {
        return -tg_max(a, -INT32_MAX);
    }
    return b == 0 ? a : a / b;
}

/* The largest integer that is not above a / b; 0 where b is 0. */
static inline int32_t tg_floor_divide(int32_t a, int32_t b)
{
    if (b == 0 || b == -1) {
        return b == 0 ? 0 : -tg_max(a, -INT32_MAX);
    }
    const int32_t quotient = a / b;
    return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

/* What is left of a behind that, with the sign of b. */
static inline int32_t tg_floor_modulo(int32_t a, int32_t b)
{
    if (b == 0 || b == -1) {
        return 0;
    }
    const int32_t rest = a % b;
    return rest != 0 && (b < 0) != (rest < 0) ? rest + b : rest;
}

/*
 * a / b * multiplier * 2^(shift - 31), as TensorFlow Lite rounds it: a, with as many bits as fit, times the reciprocal
 * of |b|. A divisor of 0 is taken as 1.
 */
static inline int32_t tg_quotient(int32_t a, int32_t b, int32_t multiplier, int32_t shift)
{
    uint32_t divisor = (uint32_t)tg_max(b < 0 ? -b : b, 1);
    int32_t right = 31 - shift;
    for (; divisor < UINT32_C(0x80000000); divisor <<= 1) {
        right--;
    }
    const int32_t inverse = tg_one_over_one_plus((int32_t)(divisor - UINT32_C(0x80000000)));
    int32_t top = b < 0 ? -a : a;
    for (int32_t i = 0; i < 31 && top >= -(1 << 30) && top < 1 << 30; i++) {
        top *= 2;
        right++;
    }
    return right > 31 ? 0 : tg_rounding_shift(tg_high_mul(tg_high_mul(top, inverse), multiplier), right);
}

#endif
