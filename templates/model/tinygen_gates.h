/*
 * The sigmoid and the hyperbolic tangent of gates, in 16 bits as gemmlowp has them. A number with m integer bits is an
 * int16 that counts 2^(m - 15).
 */
#ifndef TINYGEN_GATES_H
#define TINYGEN_GATES_H

#include <stdint.h>

#include "tinygen_math.h"
#include "tinygen_simd.h"

/* a * b of numbers without integer bits, rounded; not -1 * -1. */
static inline int32_t tg_mul_16(int32_t a, int32_t b)
{
    return (a * b + 0x4000) >> 15;
}

/*
 * exp(a) for a < 0 with so many integer bits: of the rest beyond whole quarters by Taylor's polynomial around -1/8,
 * times a factor for each bit of their number.
 */
static inline int32_t tg_exp_16(int32_t a, int32_t integer_bits)
{
    const int32_t fraction_bits = 15 - integer_bits;
    const int32_t quarter = 1 << (fraction_bits - 2);
    const int32_t small = (a & (quarter - 1)) - quarter;
    const int32_t whole = (small - a) >> (fraction_bits - 2);
    const int32_t x = small * (1 << integer_bits) + 0x1000;
    const int32_t x2 = tg_mul_16(x, x);
    const int32_t x3 = tg_mul_16(x2, x);
    const int32_t x4 = tg_mul_16(x2, x2);
    /* Neither x4 nor what is halved is negative: halves are rounded up. */
    const int32_t tail = (tg_mul_16(((x4 + 2) >> 2) + x3, 10923) + x2 + 1) >> 1;
    int32_t result = 28918 + tg_mul_16(x + tail, 28918);
    if ((whole & 1) != 0) {
        result = tg_mul_16(result, 25520);
    }
    if ((whole & 2) != 0) {
        result = tg_mul_16(result, 19875);
    }
    if ((whole & 4) != 0) {
        result = tg_mul_16(result, 12055);
    }
    if ((whole & 8) != 0) {
        result = tg_mul_16(result, 4435);
    }
    if ((whole & 16) != 0) {
        result = tg_mul_16(result, 600);
    }
    if ((whole & 32) != 0) {
        result = tg_mul_16(result, 11);
    }
    return whole >= 64 ? 0 : result;
}

/* 2 / (1 + a) with two integer bits for a in [0, 1): three steps of Newton and Raphson's division. */
static inline int32_t tg_over_one_plus_16(int32_t a)
{
    const int32_t half = (a + 0x8000) >> 1;
    int32_t x = 23130 + tg_mul_16(half, -15420);
    for (int32_t step = 0; step < 3; step++) {
        x += tg_mul_16(x, 0x2000 - tg_mul_16(half, x)) * 4;
    }
    return x;
}

/* 1 / (1 + exp(-x)) of x with three integer bits. Called, as tanh is: copies for each gate would not stay in caches. */
TG_NOINLINE int32_t tg_sigmoid_16(int32_t x)
{
    if (x == 0) {
        return 0x4000;
    }
    const int32_t positive = tg_min(2 * tg_over_one_plus_16(tg_exp_16(x < 0 ? x : -x, 3)), 0x7FFF);
    return x < 0 ? 0x7FFF - positive : positive;
}

/* tanh(x) of x with so many integer bits. */
TG_NOINLINE int32_t tg_tanh_16(int32_t x, int32_t integer_bits)
{
    if (x == 0) {
        return 0;
    }
    const int32_t exponential = tg_exp_16(x < 0 ? x : -x, integer_bits + 1);
    const int32_t positive = tg_min((tg_over_one_plus_16(exponential) - 0x2000) * 4, 0x7FFF);
    return x < 0 ? -positive : positive;
}

/* A gate's sum with three integer bits: that of the input held within 16 bits, then with that of the hidden state. */
static inline int32_t tg_gate_sum(
    int32_t sum, int32_t multiplier, int32_t shift, int32_t hidden_sum, int32_t hidden_multiplier, int32_t hidden_shift)
{
    const int32_t of_input = tg_clamp(tg_requantize(sum, multiplier, shift), -0x8000, 0x7FFF);
    return tg_clamp(of_input + tg_requantize(hidden_sum, hidden_multiplier, hidden_shift), -0x8000, 0x7FFF);
}

#endif
