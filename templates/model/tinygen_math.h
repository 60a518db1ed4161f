/*
 * Fixed-point arithmetic shared by the generated kernels. The rounding is that of TensorFlow Lite's
 * reference kernels; right shifts of negative numbers are arithmetic on every compiler supported here.
 */
#ifndef TINYGEN_MATH_H
#define TINYGEN_MATH_H

#include <stdint.h>
#include <string.h>

/* Freestanding compilers call memcpy() for four bytes, unless they are told that it is the built-in one. */
#if defined(__GNUC__)
#define TG_COPY __builtin_memcpy
#else
#define TG_COPY memcpy
#endif

#if defined(__GNUC__)
#define TG_ALIGNED(bytes) __attribute__((aligned(bytes)))
#else
#define TG_ALIGNED(bytes)
#endif

static inline int32_t tg_min(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static inline int32_t tg_max(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

static inline int32_t tg_clamp(int32_t x, int32_t low, int32_t high)
{
    return tg_min(tg_max(x, low), high);
}

static inline int8_t tg_clamp_s8(int32_t x, int32_t low, int32_t high)
{
    return (int8_t)tg_clamp(x, low, high);
}

static inline int16_t tg_clamp_s16(int32_t x, int32_t low, int32_t high)
{
    return (int16_t)tg_clamp(x, low, high);
}

static inline float tg_min_f32(float a, float b)
{
    return a < b ? a : b;
}

static inline float tg_max_f32(float a, float b)
{
    return a > b ? a : b;
}

/* High 32 bits of 2 * a * b, rounded. Not for INT32_MIN twice, the one product that does not fit. */
static inline int32_t tg_high_mul(int32_t a, int32_t b)
{
#if defined(__thumb__) && !defined(__thumb2__)
    /* Nothing gives the high half of a product, and compilers call a function for all of it: halves are multiplied. */
    const uint32_t a_low = (uint32_t)a & 0xFFFFU;
    const uint32_t b_low = (uint32_t)b & 0xFFFFU;
    const int32_t across = (a >> 16) * (int32_t)b_low + (int32_t)(a_low * b_low >> 16);
    const int32_t low = (int32_t)a_low * (b >> 16) + (across & 0xFFFF);
    const uint32_t high = (uint32_t)((a >> 16) * (b >> 16) + (across >> 16) + (low >> 16));
    return (int32_t)(2U * high + ((((uint32_t)low & 0xFFFFU) + 0x4000U) >> 15));
#else
    return (int32_t)(((int64_t)a * b + (INT64_C(1) << 30)) >> 31);
#endif
}

/* High 32 bits of a * b + 2^30. */
static inline uint32_t tg_high_product(uint32_t a, uint32_t b)
{
#if defined(__thumb__) && !defined(__thumb2__)
    const uint32_t across = (a & 0xFFFFU) * (b >> 16) + ((a & 0xFFFFU) * (b & 0xFFFFU) >> 16);
    const uint32_t low = (a >> 16) * (b & 0xFFFFU) + (across & 0xFFFFU);
    return (a >> 16) * (b >> 16) + (across >> 16) + (low >> 16) + (((low & 0xFFFFU) + 0x4000U) >> 16);
#else
    return (uint32_t)(((uint64_t)a * b + (UINT64_C(1) << 30)) >> 32);
#endif
}

/* x / 2^exponent, ties away from zero; 0 <= exponent <= 31. */
static inline int32_t tg_rounding_shift(int32_t x, int32_t exponent)
{
    const int32_t mask = (int32_t)((UINT32_C(1) << exponent) - 1U);
    const int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
    return (x >> exponent) + ((x & mask) > threshold ? 1 : 0);
}

/* x * 2^exponent in a 32-bit register. */
static inline int32_t tg_shift_left(int32_t x, int32_t exponent)
{
    return (int32_t)((uint32_t)x << exponent);
}

/* x * 2^exponent, held within int32. */
static inline int32_t tg_shift_left_saturating(int32_t x, int32_t exponent)
{
    const int32_t high = INT32_MAX >> exponent;
    return x > high ? INT32_MAX : x < -high - 1 ? INT32_MIN : x * (1 << exponent);
}

/*
 * 1 / (1 + a) for a in [0, 1), both with 31 fractional bits: Newton and Raphson's division from 48/17 -
 * 32/17 * d, as gemmlowp has it.
 */
static inline int32_t tg_one_over_one_plus(int32_t a)
{
    const int32_t half = (int32_t)(((int64_t)a + INT32_MAX + 1) >> 1);
    //@ slevel 32;
    //@ assert half < 17 << 26 || 17 << 26 <= half < 18 << 26 || 18 << 26 <= half < 19 << 26 || 19 << 26 <= half;
    //@ assert half < 20 << 26 || 20 << 26 <= half < 21 << 26 || 21 << 26 <= half < 22 << 26 || 22 << 26 <= half;
    //@ assert half < 23 << 26 || 23 << 26 <= half < 24 << 26 || 24 << 26 <= half < 25 << 26 || 25 << 26 <= half;
    //@ assert half < 26 << 26 || 26 << 26 <= half < 27 << 26 || 27 << 26 <= half < 28 << 26 || 28 << 26 <= half;
    //@ assert half < 29 << 26 || 29 << 26 <= half < 30 << 26 || 30 << 26 <= half < 31 << 26 || 31 << 26 <= half;
    int32_t x = 1515870810 + tg_high_mul(half, -1010580540);
    for (int32_t i = 0; i < 3; i++) {
        const int32_t error = (1 << 29) - tg_high_mul(half, x);
        x += tg_shift_left_saturating(tg_high_mul(x, error), 2);
    }
    //@ slevel merge;
    return tg_shift_left_saturating(x, 1);
}

/*
 * 1 / sqrt(x) is about root * 2^(-46 - exponent), right to 24 bits; x is at most 2^62, and 0 is taken as 1. With m =
 * x / 4^exponent, 2^30 <= m < 2^32, Newton's steps for the root of m / 2^32 begin at 2.13 - 1.22 m / 2^32.
 */
static inline int32_t tg_inverse_root(uint64_t x, int32_t *exponent)
{
    uint64_t m = x > 0U ? x : 1U;
    *exponent = 0;
    for (; m < UINT32_C(0x40000000); m <<= 2) {
        *exponent -= 1;
    }
    for (; m > UINT32_MAX; m >>= 2) {
        *exponent += 1;
    }
    uint32_t root = UINT32_C(2290044350) - (uint32_t)((m * UINT32_C(1308601373)) >> 32);
    for (int32_t i = 0; i < 3; i++) {
        const uint32_t square = (uint32_t)((((m * root) >> 32) * root) >> 31);
        root = (uint32_t)(((uint64_t)root * ((UINT32_C(3) << 29) - square)) >> 30);
    }
    return (int32_t)root;
}

/* x * multiplier * 2^(shift - 31), with TFLite's two roundings. */
static inline int32_t tg_requantize(int32_t x, int32_t multiplier, int32_t shift)
{
    const int32_t left = tg_max(shift, 0);
    const int32_t right = tg_max(-shift, 0);
    return tg_rounding_shift(tg_high_mul(tg_shift_left(x, left), multiplier), right);
}

/* x * multiplier * 2^(shift - 31), with one rounding, upwards at ties; |x| < 2^31, -31 <= shift <= 30. */
static inline int32_t tg_requantize_once(int64_t x, int32_t multiplier, int32_t shift)
{
    const int32_t total = 31 - shift;
    return (int32_t)((x * multiplier + (INT64_C(1) << (total - 1))) >> total);
}

/* The same for 64-bit accumulators (16-bit activations): a 16-bit multiplier, one rounding. */
static inline int32_t tg_requantize_64(int64_t x, int32_t multiplier, int32_t shift)
{
    const int32_t reduced = multiplier < 0x7FFF0000 ? (multiplier + (1 << 15)) >> 16 : 0x7FFF;
    const int32_t total = 15 - shift;
    return (int32_t)((x * reduced + (INT64_C(1) << (total - 1))) >> total);
}

#endif
