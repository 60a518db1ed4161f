/* The few functions of <math.h> that float kernels need, in single precision, without a C library. */
#ifndef TINYGEN_FLOAT_H
#define TINYGEN_FLOAT_H

#include <stdint.h>

/* The number in single precision: compilers may not make one operation of it and the next. */
static inline float tg_rounded(float x)
{
    volatile float rounded = x;
    return rounded;
}

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
 * exp(x), within 1.3 ulp: x = n ln 2 + r with |r| <= ln 2 / 2, then the Taylor polynomial of exp(r) to r^7. ln 2 is
 * split so that n * high is exact. 2^n is multiplied in two steps, since it may be no float.
 */
static inline float tg_exp(float x)
{
    if (!(x > -104.0f && x < 88.7228394f)) {
        return x < 0.0f ? 0.0f : x > 0.0f ? 1.0f / 0.0f : x;
    }
    const float scaled = x * 1.44269504f;
    const int32_t n = (int32_t)(scaled + (scaled < 0.0f ? -0.5f : 0.5f));
    const float r = (x - (float)n * 0.693359375f) + (float)n * 2.12194440e-4f;
    float p = 1.98412698e-4f;
    p = p * r + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return p * tg_pow2(n >> 1) * tg_pow2(n - (n >> 1));
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

/* exp(x) - 1 for x <= 0: with t = tanh(x / 2) it is 2 t / (1 - t), and nothing cancels near zero. */
static inline float tg_expm1(float x)
{
    const float t = tg_tanh(0.5f * x);
    return 2.0f * t / (1.0f - t);
}

/* log(1 + exp(x)): with e = exp(-|x|) and s = e / (2 + e), log(1 + e) is 2 (s + s^3 / 3 + s^5 / 5 + ...), s <= 1/3. */
static inline float tg_softplus(float x)
{
    const float e = tg_exp(x < 0.0f ? x : -x);
    const float s = e / (2.0f + e);
    const float q = s * s;
    float p = 1.53846154e-1f;
    p = p * q + 1.81818182e-1f;
    p = p * q + 2.22222222e-1f;
    p = p * q + 2.85714286e-1f;
    p = p * q + 0.4f;
    p = p * q + 6.66666667e-1f;
    p = p * q + 2.0f;
    return (x < 0.0f ? 0.0f : x) + s * p;
}

/* 1 - erf(a) for a >= 0. Abramowitz and Stegun, 7.1.26; error below 1.5e-7. */
static inline float tg_erfc(float a)
{
    const float t = 1.0f / (1.0f + 0.3275911f * a);
    const float p =
        t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    return p * tg_exp(-a * a);
}

/* x times the normal distribution's integral up to x. */
static inline float tg_gelu(float x)
{
    const float tail = 0.5f * tg_erfc((x < 0.0f ? -x : x) * 0.707106781f);
    return x * (x < 0.0f ? tail : 1.0f - tail);
}

/* The error function; near zero 2 / sqrt(pi) times its series, as 1 - erfc(x) would cancel. */
static inline float tg_erf(float x)
{
    const float a = x < 0.0f ? -x : x;
    const float s = a * a;
    const float near = a * (1.12837917f + s * (-3.76126389e-1f + s * (1.12837917e-1f + s * -2.68661706e-2f)));
    const float e = a < 0.25f ? near : 1.0f - tg_erfc(a);
    return x < 0.0f ? -e : e;
}

/* The same by tanh (Hendrycks and Gimpel, 2016): x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))). */
static inline float tg_gelu_tanh(float x)
{
    return 0.5f * x * (1.0f + tg_tanh(0.797884561f * x * (1.0f + 0.044715f * x * x)));
}

/* 1 / sqrt(x) for normal numbers, relative error below 3e-7: Newton's steps from half the exponent and a line. */
static inline float tg_inverse_root_f32(float x)
{
    union {
        uint32_t bits;
        float value;
    } root;
    root.value = x;
    root.bits = UINT32_C(0x5F3759DF) - (root.bits >> 1);
    for (int32_t i = 0; i < 4; i++) {
        root.value *= 1.5f - 0.5f * x * root.value * root.value;
    }
    return root.value;
}

/* Nearest integer, ties away from zero; |x| < 2^31. */
static inline int32_t tg_round(float x)
{
    const int32_t whole = (int32_t)x;
    const float rest = x - (float)whole;
    return whole + (rest >= 0.5f ? 1 : 0) - (rest <= -0.5f ? 1 : 0);
}

#endif
