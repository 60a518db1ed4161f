/*
 * Complex numbers of 16-bit fixed point, as an FFT needs them. What a core with the Armv7E-M SIMD instructions does
 * with both parts at once, others do part by part; the results are the same, bit for bit, as long as no sum leaves 16
 * bits.
 * The window sees to that: it halves what comes in.
 */
#ifndef FEATURES_COMPLEX_H
#define FEATURES_COMPLEX_H

#include "features.h"

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
#include <arm_acle.h>
#define COMPLEX_SIMD 1
#else
#define COMPLEX_SIMD 0
#endif

#if defined(__GNUC__)
#define COMPLEX_INLINE static inline __attribute__((always_inline))
#else
#define COMPLEX_INLINE static inline
#endif

/* Before loops that clang would unroll: four times the code, and no fewer instructions executed. */
#if defined(__clang__)
#define COMPLEX_ROLLED _Pragma("clang loop unroll(disable)")
#else
#define COMPLEX_ROLLED
#endif

/* 32767 / 4 and 32767 / 2: parts are divided by multiplying with these in 15 fraction bits, and rounding. */
#define COMPLEX_QUARTER 8191
#define COMPLEX_HALF 16383

#if COMPLEX_SIMD

typedef uint32_t complex_t; /* the real part in the lower half */

COMPLEX_INLINE int32_t complex_re(complex_t x)
{
    return (int16_t)x;
}

COMPLEX_INLINE int32_t complex_im(complex_t x)
{
    return (int32_t)x >> 16;
}

COMPLEX_INLINE complex_t complex_load(const feature_point_t *from)
{
    return from->word;
}

COMPLEX_INLINE void complex_store(feature_point_t *to, complex_t x)
{
    to->word = x;
}

COMPLEX_INLINE complex_t complex_plus(complex_t x, complex_t y)
{
    return (complex_t)__sadd16((int16x2_t)x, (int16x2_t)y);
}

COMPLEX_INLINE complex_t complex_minus(complex_t x, complex_t y)
{
    return (complex_t)__ssub16((int16x2_t)x, (int16x2_t)y);
}

/* x + i y */
COMPLEX_INLINE complex_t complex_plus_i(complex_t x, complex_t y)
{
    return (complex_t)__sasx((int16x2_t)x, (int16x2_t)y);
}

/* x - i y */
COMPLEX_INLINE complex_t complex_minus_i(complex_t x, complex_t y)
{
    return (complex_t)__ssax((int16x2_t)x, (int16x2_t)y);
}

/* The upper halves of two words. */
COMPLEX_INLINE complex_t complex_upper(int32_t re, int32_t im)
{
    return ((uint32_t)re >> 16) | ((uint32_t)im & 0xFFFF0000U);
}

COMPLEX_INLINE complex_t complex_scaled(complex_t x, int32_t by)
{
    return complex_upper(__smlabb((int32_t)x, 2 * by, 0x8000), __smlatb((int32_t)x, 2 * by, 0x8000));
}

/* x * by * 2^shift; by * 2^shift in 15 fraction bits may be large, but not the product. */
COMPLEX_INLINE complex_t complex_scaled_up(complex_t x, int32_t by, uint32_t shift)
{
    const int32_t factor = (int32_t)((uint32_t)by << (shift + 2));
    const int32_t re = __smlawb(factor, (int32_t)x, 1);
    const int32_t im = __smlawt(factor, (int32_t)x, 1);
    return ((uint32_t)(re >> 1) & 0xFFFFU) | ((uint32_t)im << 15 & 0xFFFF0000U);
}

/* The conjugate of x, divided by 2. */
COMPLEX_INLINE complex_t complex_half_conjugate(complex_t x)
{
    const complex_t negative = complex_minus(0, x);
    const int32_t re = __smlabb((int32_t)x, 2 * COMPLEX_HALF, 0x8000);
    return complex_upper(re, __smlatb((int32_t)negative, 2 * COMPLEX_HALF, 0x8000));
}

COMPLEX_INLINE complex_t complex_times(complex_t x, complex_t y)
{
    const int32_t re = __smlsd((int16x2_t)x, (int16x2_t)y, 0x4000);
    const int32_t im = __smladx((int16x2_t)x, (int16x2_t)y, 0x4000);
    return ((uint32_t)(re >> 15) & 0xFFFFU) | ((uint32_t)im << 1 & 0xFFFF0000U);
}

/* |(x + y) / 2|^2, both parts of the sum halved towards minus infinity. */
COMPLEX_INLINE uint32_t complex_energy_of_sum(complex_t x, complex_t y)
{
    const int16x2_t half = __shadd16((int16x2_t)x, (int16x2_t)y);
    return (uint32_t)__smuad(half, half);
}

/* |(x - y) / 2|^2, where the real part is that of x - y, the imaginary one that of y - x. */
COMPLEX_INLINE uint32_t complex_energy_of_difference(complex_t x, complex_t y)
{
    const int32_t re = complex_re((complex_t)__shsub16((int16x2_t)x, (int16x2_t)y));
    const int32_t im = complex_im((complex_t)__shsub16((int16x2_t)y, (int16x2_t)x));
    return (uint32_t)(re * re + im * im);
}

/* Two samples, each times its coefficient in 12 fraction bits. */
COMPLEX_INLINE complex_t complex_faded(const int16_t *samples, const int16_t *coefficients)
{
    /* Not memcpy(), which freestanding compilers call even for four bytes. */
    complex_t x;
    complex_t c;
    __builtin_memcpy(&x, samples, sizeof x);
    __builtin_memcpy(&c, coefficients, sizeof c);
    const int32_t re = complex_re(x) * complex_re(c);
    const int32_t im = complex_im(x) * complex_im(c);
    return ((uint32_t)(re >> 12) & 0xFFFFU) | ((uint32_t)im << 4 & 0xFFFF0000U);
}

/* The magnitudes of both parts, one in each half; that of -32768 is 0x8000. */
COMPLEX_INLINE uint32_t complex_magnitudes(complex_t x)
{
    const int16x2_t negative = __ssub16(0, (int16x2_t)x);
    return (uint32_t)__sel((uint8x4_t)negative, (uint8x4_t)x);
}

#else

typedef struct {
    int32_t re;
    int32_t im;
} complex_t;

COMPLEX_INLINE complex_t complex_of(int32_t re, int32_t im)
{
    const complex_t x = {re, im};
    return x;
}

COMPLEX_INLINE complex_t complex_load(const feature_point_t *from)
{
    return complex_of(from->part[0], from->part[1]);
}

COMPLEX_INLINE void complex_store(feature_point_t *to, complex_t x)
{
    to->part[0] = (int16_t)x.re;
    to->part[1] = (int16_t)x.im;
}

COMPLEX_INLINE complex_t complex_plus(complex_t x, complex_t y)
{
    return complex_of(x.re + y.re, x.im + y.im);
}

COMPLEX_INLINE complex_t complex_minus(complex_t x, complex_t y)
{
    return complex_of(x.re - y.re, x.im - y.im);
}

/* x + i y */
COMPLEX_INLINE complex_t complex_plus_i(complex_t x, complex_t y)
{
    return complex_of(x.re - y.im, x.im + y.re);
}

/* x - i y */
COMPLEX_INLINE complex_t complex_minus_i(complex_t x, complex_t y)
{
    return complex_of(x.re + y.im, x.im - y.re);
}

/* 15 fraction bits rounded away. */
COMPLEX_INLINE int32_t complex_rounded(int32_t part)
{
    return (part + 0x4000) >> 15;
}

COMPLEX_INLINE complex_t complex_scaled(complex_t x, int32_t by)
{
    return complex_of(complex_rounded(x.re * by), complex_rounded(x.im * by));
}

/* x * by * 2^shift; by * 2^shift in 15 fraction bits may be large, but not the product. */
COMPLEX_INLINE complex_t complex_scaled_up(complex_t x, int32_t by, uint32_t shift)
{
    return complex_scaled(x, (int32_t)((uint32_t)by << shift));
}

/* The conjugate of x, divided by 2. */
COMPLEX_INLINE complex_t complex_half_conjugate(complex_t x)
{
    return complex_scaled(complex_of(x.re, -x.im), COMPLEX_HALF);
}

COMPLEX_INLINE complex_t complex_times(complex_t x, complex_t y)
{
    return complex_of(complex_rounded(x.re * y.re - x.im * y.im), complex_rounded(x.re * y.im + x.im * y.re));
}

/* |(x + y) / 2|^2, both parts of the sum halved towards minus infinity. */
COMPLEX_INLINE uint32_t complex_energy_of_sum(complex_t x, complex_t y)
{
    const int32_t re = (x.re + y.re) >> 1;
    const int32_t im = (x.im + y.im) >> 1;
    return (uint32_t)(re * re + im * im);
}

/* |(x - y) / 2|^2, where the real part is that of x - y, the imaginary one that of y - x. */
COMPLEX_INLINE uint32_t complex_energy_of_difference(complex_t x, complex_t y)
{
    const int32_t re = (x.re - y.re) >> 1;
    const int32_t im = (y.im - x.im) >> 1;
    return (uint32_t)(re * re + im * im);
}

/* Two samples, each times its coefficient in 12 fraction bits. */
COMPLEX_INLINE complex_t complex_faded(const int16_t *samples, const int16_t *coefficients)
{
    return complex_of((samples[0] * coefficients[0]) >> 12, (samples[1] * coefficients[1]) >> 12);
}

/* Every bit that one of the parts' magnitudes has; that of -32768 is 0x8000. */
COMPLEX_INLINE uint32_t complex_magnitudes(complex_t x)
{
    const int32_t re = x.re < 0 ? -x.re : x.re;
    const int32_t im = x.im < 0 ? -x.im : x.im;
    return (uint32_t)(re | im);
}

#endif

#endif
