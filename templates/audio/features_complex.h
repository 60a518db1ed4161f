/*
 * Complex numbers of 16-bit fixed point, as an FFT needs them; in memory a word each, the real part in its lower half.
 * What a core with the Armv7E-M SIMD instructions does with both parts at once, others do part by part; the results are
 * the same, bit for bit, as long as no sum leaves 16 bits. The window sees to that: it halves what comes in.
 */
#ifndef FEATURES_COMPLEX_H
#define FEATURES_COMPLEX_H

#include <stdint.h>
#include <string.h>

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
#include <arm_acle.h>
#define COMPLEX_SIMD 1
#else
#define COMPLEX_SIMD 0
#endif

/* Freestanding compilers call memcpy() for two bytes, unless they are told that it is the built-in one. */
#if defined(__GNUC__)
#define COMPLEX_COPY __builtin_memcpy
#define COMPLEX_INLINE static inline __attribute__((always_inline))
#else
#define COMPLEX_COPY memcpy
#define COMPLEX_INLINE static inline
#endif

/* A constant in a table. */
#define COMPLEX(re, im) ((uint32_t)(uint16_t)(re) | (uint32_t)(uint16_t)(im) << 16)

/* 32767 / 4 and 32767 / 2: parts are divided by multiplying with these in 15 fraction bits, and rounding. */
#define COMPLEX_QUARTER 8191
#define COMPLEX_HALF 16383

#if COMPLEX_SIMD

typedef uint32_t complex_t;

COMPLEX_INLINE complex_t complex_load(const uint32_t *from)
{
    return *from;
}

COMPLEX_INLINE void complex_store(uint32_t *to, complex_t x)
{
    *to = x;
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
    const int32_t re = (int32_t)__shsub16((int16x2_t)x, (int16x2_t)y);
    const int32_t im = (int32_t)__shsub16((int16x2_t)y, (int16x2_t)x);
    return (uint32_t)__smlatt(im, im, __smulbb(re, re));
}

/* Two samples, each times its coefficient in 12 fraction bits. */
COMPLEX_INLINE complex_t complex_faded(const int16_t *samples, const int16_t *coefficients)
{
    uint32_t x;
    uint32_t c;
    COMPLEX_COPY(&x, samples, sizeof x);
    COMPLEX_COPY(&c, coefficients, sizeof c);
    const int32_t re = __smulbb((int32_t)x, (int32_t)c);
    const int32_t im = __smultt((int32_t)x, (int32_t)c);
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

COMPLEX_INLINE complex_t complex_load(const uint32_t *from)
{
    int16_t re;
    int16_t im;
    COMPLEX_COPY(&re, from, sizeof re);
    COMPLEX_COPY(&im, (const uint8_t *)from + 2, sizeof im);
    return complex_of(re, im);
}

COMPLEX_INLINE void complex_store(uint32_t *to, complex_t x)
{
    const int16_t re = (int16_t)x.re;
    const int16_t im = (int16_t)x.im;
    COMPLEX_COPY(to, &re, sizeof re);
    COMPLEX_COPY((uint8_t *)to + 2, &im, sizeof im);
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
