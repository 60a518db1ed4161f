/*
 * More functions of <math.h> in single precision, without a C library. Errors are in units in the last place (ulp) of
 * the result; they were measured against double precision, over all magnitudes (tests/kernels/test_float_functions.py).
 */
#ifndef TINYGEN_ELEMENTARY_H
#define TINYGEN_ELEMENTARY_H

#include <stdint.h>
#include <string.h>

static inline uint32_t tg_bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float tg_float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Makes the mantissa of a positive number's bits, with its leading one at bit 23; gives the exponent, from 1 down. */
static inline int32_t tg_normal(uint32_t *bits)
{
    int32_t exponent = (int32_t)(*bits >> 23);
    *bits &= UINT32_C(0x7FFFFF);
    if (exponent > 0) {
        *bits |= UINT32_C(0x800000);
    } else {
        for (exponent = 1; *bits < UINT32_C(0x800000); exponent--) {
            *bits <<= 1;
        }
    }
    return exponent;
}

/* The square root, correctly rounded; no number of a negative one. */
static inline float tg_sqrt(float x)
{
#if defined(__ARM_FP) && (__ARM_FP & 4)
    float root;
    __asm__("vsqrt.f32 %0, %1" : "=t"(root) : "t"(x));
    return root;
#else
    uint32_t rest = tg_bits_of(x);
    if (!(x > 0.0f) || rest >= UINT32_C(0x7F800000)) {
        return x == 0.0f || x > 0.0f ? x : (x - x) / (x - x);
    }
    /* x is 4^n times a number from 1 to 4; the root of that bit by bit, one more than are kept. */
    const int32_t exponent = tg_normal(&rest) - 127;
    rest <<= 1 + (exponent & 1);
    uint32_t root = 0;
    uint32_t twice = 0;
    for (uint32_t bit = UINT32_C(1) << 24; bit != 0U; bit >>= 1) {
        const uint32_t next = twice + bit;
        if (next <= rest) {
            rest -= next;
            twice = next + bit;
            root += bit;
        }
        rest <<= 1;
    }
    return tg_float_of(((root + (root & 1U)) >> 1) + ((uint32_t)(exponent >> 1) + 126U) * UINT32_C(0x800000));
#endif
}

/* 1 / sqrt(x), both correctly rounded: within 1.5 ulp. */
static inline float tg_rsqrt(float x)
{
    return 1.0f / tg_sqrt(x);
}

/*
 * The natural logarithm, within 0.9 ulp: x = 2^n m with m from sqrt(1/2) to sqrt(2), and log(m) = 2 atanh(s) by its
 * series, s = (m - 1) / (m + 1).
 */
static inline float tg_log(float x)
{
    uint32_t bits = tg_bits_of(x);
    if (!(x > 0.0f) || bits >= UINT32_C(0x7F800000)) {
        return x == 0.0f ? -1.0f / (x * x) : x < 0.0f ? (x - x) / (x - x) : x;
    }
    int32_t n = 0;
    if (bits < UINT32_C(0x800000)) {
        bits = tg_bits_of(x * 8388608.0f);
        n = -23;
    }
    const int32_t above = (int32_t)(bits - UINT32_C(0x3F3504F3)) >> 23;
    n += above;
    const float f = tg_float_of(bits - ((uint32_t)above << 23)) - 1.0f;
    const float s = f / (2.0f + f);
    const float z = s * s;
    const float series = z * (0.666666667f + z * (0.4f + z * (0.285714286f + z * 0.222222222f)));
    const float half = 0.5f * f * f;
    /* ln 2 in two parts, the first of 9 bits. */
    const float high = (float)n * 0.693359375f;
    const float low = (float)n * -2.12194440e-4f;
    return high + (f - (half - (s * (half + series) + low)));
}

/*
 * x modulo pi / 2, for x >= 1/2: the rest, from -pi / 4 to pi / 4, and which quarter of the circle. The fraction of
 * x * 2 / pi is that of 24 times 96 bits; 2 / pi has as many as the largest x wants (Payne and Hanek, 1983).
 */
static inline float tg_quarter(float x, uint32_t *quarter)
{
    static const uint32_t two_over_pi[8] = {
        0x00000000U, 0xA2F9836EU, 0x4E441529U, 0xFC2757D1U, 0xF534DDC0U, 0xDB629599U, 0x3C439041U, 0xFE5163ABU,
    };
    const uint32_t bits = tg_bits_of(x);
    const int32_t exponent = (int32_t)(bits >> 23 & 0xFFU);
    const uint32_t mantissa = (bits & UINT32_C(0x7FFFFF)) | UINT32_C(0x800000);
    /* Bits of 2 / pi whose product is a multiple of a whole turn are left out. */
    const int32_t first = exponent - 120;
    const uint32_t *words = two_over_pi + (first >> 5);
    const int32_t up = first & 31;
    uint32_t window[3];
    for (int32_t i = 0; i < 3; i++) {
        window[i] = up != 0 ? words[i] << up | words[i + 1] >> (32 - up) : words[i];
    }
    uint64_t turn = (uint64_t)mantissa * window[1] + ((uint64_t)mantissa * window[2] >> 32);
    turn += (uint64_t)(mantissa * window[0]) << 32;
    *quarter = (uint32_t)((turn + (UINT64_C(1) << 61)) >> 62);
    const int64_t rest = (int64_t)(turn - ((uint64_t)*quarter << 62));
    return (float)rest * 3.40612158e-19f; /* pi / 2 / 2^62 */
}

/* sin(x) for |x| <= pi / 4, and cos(x), by their series. */
static inline float tg_sin_near(float x)
{
    const float z = x * x;
    const float p = -1.66666667e-1f + z * (8.33333333e-3f + z * (-1.98412698e-4f + z * 2.75573192e-6f));
    return x + x * z * p;
}

static inline float tg_cos_near(float x)
{
    const float z = x * x;
    const float p = 4.16666667e-2f + z * (-1.38888889e-3f + z * (2.48015873e-5f + z * -2.75573192e-7f));
    const float half = 0.5f * z;
    const float one = 1.0f - half;
    return one + (((1.0f - one) - half) + z * z * p);
}

/* sin(x) and cos(x), within 2.6 ulp; of what is not finite no number. `ahead` is 0 or 1 quarters. */
static inline float tg_circle(float x, uint32_t ahead)
{
    const float a = x < 0.0f ? -x : x;
    if (a <= 0.785398163f) {
        return ahead != 0U ? tg_cos_near(x) : tg_sin_near(x);
    }
    if (!(a < 1.0f / 0.0f)) {
        return x - x;
    }
    uint32_t quarter;
    const float rest = tg_quarter(a, &quarter);
    quarter += ahead;
    const float y = (quarter & 1U) != 0U ? tg_cos_near(rest) : tg_sin_near(rest);
    return ((quarter & 2U) != 0U) != (x < 0.0f && ahead == 0U) ? -y : y;
}

static inline float tg_sin(float x)
{
    return tg_circle(x, 0U);
}

static inline float tg_cos(float x)
{
    return tg_circle(x, 1U);
}

/* The angle whose tangent is t, for 0 <= t <= 1: by a polynomial, fitted below tan(pi / 8). */
static inline float tg_atan_near(float t)
{
    const float turned = t > 0.414213562f ? (t - 1.0f) / (t + 1.0f) : t;
    const float z = turned * turned;
    float p = -1.42430570e-1f + z * (1.05907190e-1f + z * -6.07116000e-2f);
    p = -3.33333130e-1f + z * (1.99984420e-1f + z * p);
    const float angle = turned + turned * z * p;
    return t > 0.414213562f ? 0.785398163f + angle : angle;
}

/* The angle of the point (x, y) from -pi to pi, within 2.8 ulp. */
static inline float tg_atan2(float y, float x)
{
    const float across = tg_float_of(tg_bits_of(x) & UINT32_C(0x7FFFFFFF));
    const float up = tg_float_of(tg_bits_of(y) & UINT32_C(0x7FFFFFFF));
    if (x != x || y != y) {
        return x + y;
    }
    float angle;
    if (up == across) {
        angle = up == 0.0f ? 0.0f : 0.785398163f;
    } else {
        angle = up < across ? tg_atan_near(up / across) : 1.57079633f - tg_atan_near(across / up);
    }
    if ((tg_bits_of(x) & UINT32_C(0x80000000)) != 0U) {
        angle = 3.14159265f - angle;
    }
    return (tg_bits_of(y) & UINT32_C(0x80000000)) != 0U ? -angle : angle;
}

/* The largest integer that is not above x. Numbers of 2^23 and more are integers. */
static inline float tg_floor(float x)
{
    if (!(x > -8388608.0f && x < 8388608.0f)) {
        return x;
    }
    const float whole = (float)(int32_t)x;
    return whole > x ? whole - 1.0f : whole;
}

static inline float tg_ceil(float x)
{
    return -tg_floor(-x);
}

/* The nearest integer, of two the even one. */
static inline float tg_round_even(float x)
{
    const float below = tg_floor(x);
    const float rest = x - below;
    if (rest < 0.5f || (rest == 0.5f && 2.0f * tg_floor(0.5f * below) == below)) {
        return below;
    }
    return rest >= 0.5f ? below + 1.0f : x;
}

/* 1, 0 or -1. */
static inline float tg_sign(float x)
{
    return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x;
}

/* The largest integer that is not above a / b, rounded. */
static inline float tg_floor_div(float a, float b)
{
    const double quotient = (double)a / (double)b;
    if (!(quotient > -2147483648.0 && quotient < 2147483648.0)) {
        return (float)quotient;
    }
    const int32_t whole = (int32_t)quotient;
    return (float)((double)whole > quotient ? whole - 1 : whole);
}

/* The inverse, of a mantissa below 2^24 that is not 0. */
static inline uint32_t tg_packed(uint32_t mantissa, int32_t exponent)
{
    for (; mantissa < UINT32_C(0x800000); exponent--) {
        mantissa <<= 1;
    }
    return exponent > 0 ? mantissa - UINT32_C(0x800000) + ((uint32_t)exponent << 23) : mantissa >> (1 - exponent);
}

/* The rest of a / b with the sign of b, exactly: the mantissas are divided bit by bit. */
static inline float tg_floor_mod(float a, float b)
{
    const uint32_t sign = UINT32_C(0x80000000);
    uint32_t rest = tg_bits_of(a) & ~sign;
    const uint32_t divisor = tg_bits_of(b) & ~sign;
    if (rest >= UINT32_C(0x7F800000) || divisor > UINT32_C(0x7F800000) || divisor == 0U) {
        return (a - a) / (a - a);
    }
    if (rest >= divisor) {
        uint32_t r = rest;
        uint32_t d = divisor;
        int32_t n = tg_normal(&r);
        const int32_t exponent = tg_normal(&d);
        for (n -= exponent; n > 0; n--) {
            r = (r >= d ? r - d : r) << 1;
        }
        r = r >= d ? r - d : r;
        /* A multiple of the divisor's last bit, so nothing is lost. */
        rest = r == 0U ? 0U : tg_packed(r, exponent);
    }
    const float left = tg_float_of(rest | (tg_bits_of(a) & sign));
    return left != 0.0f && (b < 0.0f) != (left < 0.0f) ? left + b : left;
}

/* log2 of a positive finite number in double precision: as `tg_log`, with eight terms of the series. */
static inline double tg_log2(float x)
{
    uint32_t bits = tg_bits_of(x);
    int32_t n = 0;
    if (bits < UINT32_C(0x800000)) {
        bits = tg_bits_of(x * 8388608.0f);
        n = -23;
    }
    const int32_t above = (int32_t)(bits - UINT32_C(0x3F3504F3)) >> 23;
    n += above;
    const double f = (double)tg_float_of(bits - ((uint32_t)above << 23)) - 1.0;
    const double s = f / (2.0 + f);
    const double z = s * s;
    double series = 1.0 / 15.0;
    for (int32_t k = 13; k > 0; k -= 2) {
        series = series * z + 1.0 / (double)k;
    }
    return (double)n + s * series * 2.885390081777926815; /* 2 / ln 2 */
}

/* 2^x as a float; x is in double precision. */
static inline float tg_exp2(double x)
{
    if (x >= 128.0) {
        return 1.0f / 0.0f;
    }
    if (x < -151.0) {
        return 0.0f;
    }
    const int32_t n = (int32_t)(x + 1024.5) - 1024;
    const double t = (x - (double)n) * 0.693147180559945309;
    double p = 1.0;
    for (int32_t k = 10; k > 0; k--) {
        p = 1.0 + p * t / (double)k;
    }
    const uint64_t power = (uint64_t)(n + 1023) << 52;
    double scale;
    memcpy(&scale, &power, sizeof scale);
    return (float)(p * scale);
}

/* x to the power of y, within 0.51 ulp, in double precision. Special cases are those of C99, F.9.4.4. */
static inline float tg_pow(float x, float y)
{
    const float a = x < 0.0f ? -x : x;
    const float whole = tg_floor(y);
    const int odd = whole == y && 2.0f * tg_floor(0.5f * y) != y;
    if (y == 0.0f || x == 1.0f) {
        return 1.0f;
    }
    if (x != x || y != y) {
        return x + y;
    }
    if (a == 1.0f && !(y > -1.0f / 0.0f && y < 1.0f / 0.0f)) {
        return 1.0f;
    }
    if (x < 0.0f && whole != y && a < 1.0f / 0.0f) {
        return (x - x) / (x - x);
    }
    float power;
    if (a == 0.0f || a == 1.0f / 0.0f) {
        power = (a == 0.0f) == (y > 0.0f) ? 0.0f : 1.0f / 0.0f;
    } else {
        power = tg_exp2((double)y * tg_log2(a));
    }
    return odd && (tg_bits_of(x) & UINT32_C(0x80000000)) != 0U ? -power : power;
}

#endif
