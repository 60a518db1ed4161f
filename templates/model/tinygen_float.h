/* The few functions of <math.h> that float kernels need, in single precision, without a C library. */
#ifndef TINYGEN_FLOAT_H
#define TINYGEN_FLOAT_H

#include <stdint.h>

/* 2^n for -126 <= n <= 127. */
static inline float tg_pow2(int32_t n)
{
    union {
        uint32_t bits;
        float value;
    } power;
    power.bits = (uint32_t)(n + 127) << 23;
    return power.value;
}

/*
 * exp(x), relative error below 3e-7: x = n ln 2 + r with |r| <= ln 2 / 2, then the Taylor polynomial
 * of exp(r) to r^7. ln 2 is split so that n * high is exact. Below -87 the result is 0.
 */
static inline float tg_exp(float x)
{
    if (x < -87.0f) {
        return 0.0f;
    }
    const float bounded = x > 88.0f ? 88.0f : x;
    const float scaled = bounded * 1.44269504f;
    const int32_t n = (int32_t)(scaled + (scaled < 0.0f ? -0.5f : 0.5f));
    const float r = (bounded - (float)n * 0.693359375f) + (float)n * 2.12194440e-4f;
    float p = 1.98412698e-4f;
    p = p * r + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return p * tg_pow2(n);
}

/* 1 / (1 + exp(-x)); far below zero exp(x) alone, as TensorFlow Lite's reference has it. */
static inline float tg_logistic(float x)
{
    if (x < -9.0f) {
        return tg_exp(x);
    }
    if (x >= 0.0f) {
        return 1.0f / (1.0f + tg_exp(-x));
    }
    const float e = tg_exp(x);
    return e / (1.0f + e);
}

/* tanh(x); near zero by its series, where 1 - exp(-2x) would cancel. */
static inline float tg_tanh(float x)
{
    const float a = x < 0.0f ? -x : x;
    float t;
    if (a < 0.25f) {
        const float s = a * a;
        t = a * (1.0f + s * (-3.33333333e-1f + s * (1.33333333e-1f + s * (-5.39682540e-2f + s * 2.18694885e-2f))));
    } else {
        const float e = tg_exp(-2.0f * a);
        t = (1.0f - e) / (1.0f + e);
    }
    return x < 0.0f ? -t : t;
}

/* Nearest integer, ties away from zero; |x| < 2^31. */
static inline int32_t tg_round(float x)
{
    const int32_t whole = (int32_t)x;
    const float rest = x - (float)whole;
    return whole + (rest >= 0.5f ? 1 : 0) - (rest <= -0.5f ? 1 : 0);
}

#endif
