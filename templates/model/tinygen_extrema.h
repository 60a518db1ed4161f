/*
 * The larger or smaller of numbers that lie side by side in words, each as one instruction pair of Armv7E-M, with a
 * portable twin.
 */
#ifndef TINYGEN_EXTREMA_H
#define TINYGEN_EXTREMA_H

#include <stdint.h>

#include "tinygen_simd.h"

/* The larger of a and b, byte by byte, signed. */
static inline uint32_t tg_max_four(uint32_t a, uint32_t b)
{
    uint32_t larger;
#if TG_HAVE_DSP
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(larger) : "r"(a), "r"(b) : "cc");
#else
    larger = 0;
    for (uint32_t i = 0; i < 32; i += 8) {
        const int8_t x = (int8_t)(uint8_t)(a >> i);
        const int8_t y = (int8_t)(uint8_t)(b >> i);
        larger |= (uint32_t)(uint8_t)(x > y ? x : y) << i;
    }
#endif
    return larger;
}

/* The smaller: the other of the two. */
static inline uint32_t tg_min_four(uint32_t a, uint32_t b)
{
#if TG_HAVE_DSP
    uint32_t smaller;
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %2, %1" : "=&r"(smaller) : "r"(a), "r"(b) : "cc");
    return smaller;
#else
    return a ^ b ^ tg_max_four(a, b);
#endif
}

/* The larger of a and b, half by half, signed; the smaller. */
static inline uint32_t tg_max_pair(uint32_t a, uint32_t b)
{
#if TG_HAVE_DSP
    uint32_t larger;
    __asm__("ssub16 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(larger) : "r"(a), "r"(b) : "cc");
    return larger;
#else
    const uint32_t high = tg_high_half(a) > tg_high_half(b) ? a : b;
    const uint32_t low = tg_low_half(a) > tg_low_half(b) ? a : b;
    return (high & 0xFFFF0000U) | (low & 0xFFFFU);
#endif
}

static inline uint32_t tg_min_pair(uint32_t a, uint32_t b)
{
#if TG_HAVE_DSP
    uint32_t smaller;
    __asm__("ssub16 %0, %1, %2\n\tsel %0, %2, %1" : "=&r"(smaller) : "r"(a), "r"(b) : "cc");
    return smaller;
#else
    return a ^ b ^ tg_max_pair(a, b);
#endif
}

/* The larger of bytes below 128. */
static inline uint32_t tg_max_small(uint32_t a, uint32_t b)
{
#if TG_HAVE_DSP
    return tg_max_four(a, b);
#else
    const uint32_t larger = ((a | 0x80808080U) - b) & 0x80808080U;
    return b ^ ((a ^ b) & (larger | (larger - (larger >> 7))));
#endif
}

#endif
