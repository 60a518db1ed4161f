/*
 * Activations that are no bytes to be multiplied, as pairs of int16: values of a table, single bits, int16. Channels
 * are filled up to whole words. Pairs are channels 0 and 2, then 1 and 3 of each four, `stride` words apart.
 */
#ifndef TINYGEN_WIDEN_H
#define TINYGEN_WIDEN_H

#include <stdint.h>

#include "tinygen_codes.h"
#include "tinygen_simd.h"

/* The values of two codes, each in the lowest byte of a word: the lowest `bits`, a constant, are places in the
   table. */
TG_INLINE uint32_t tg_values_pair(const int16_t *values, uint32_t low, uint32_t high, int32_t bits)
{
    const uint32_t mask = (1U << bits) - 1U;
    return tg_pair(values[low & mask], values[high & mask]);
}

/* The values of `count` codes, a multiple of 4. */
TG_INLINE void tg_extend_values(
    uint32_t *to, const int8_t *from, int32_t count, int32_t stride, const int16_t *values, int32_t bits)
{
    for (int32_t i = 0; i < count; i += 4, to += 2 * stride) {
        const uint32_t word = tg_load32(from + i);
        to[0] = tg_values_pair(values, word, word >> 16, bits);
        to[stride] = tg_values_pair(values, word >> 8, word >> 24, bits);
    }
}

/* The `count` codes, a multiple of 4, as they are. */
TG_INLINE void tg_extend_halves(uint32_t *to, const int16_t *from, int32_t count, int32_t stride)
{
    for (int32_t i = 0; i < count; i += 4, to += 2 * stride) {
        const uint32_t first = tg_load32(from + i);
        const uint32_t second = tg_load32(from + i + 2);
        to[0] = tg_low_halves(first, second);
        to[stride] = tg_high_halves(first, second);
    }
}

/* -1 and 1 for bits 0 and 2 of a word. */
TG_INLINE uint32_t tg_signs(uint32_t bits)
{
    const uint32_t two = bits & 5U;
    return tg_ssub16((two << 1 | two << 15) & 0x00020002U, 0x00010001U);
}

/* Up to four packed bits from bit `at` on, which may lie in two words. */
TG_INLINE uint32_t tg_four_bits(const uint32_t *from, int32_t at, int32_t count)
{
    const uint32_t *const word = from + (at >> 5);
    const int32_t shift = at & 31;
    const uint32_t bits = word[0] >> shift;
    return shift + count > 32 ? bits | word[1] << (32 - shift) : bits;
}

/* -1 and 1 for `count` packed bits from bit `first` on; what fills up the last four is of no meaning. */
TG_INLINE void tg_extend_bits(uint32_t *to, const uint32_t *from, int32_t first, int32_t count, int32_t stride)
{
    for (int32_t i = 0; i < count; i += 4, to += 2 * stride) {
        /* Groups of channels may begin anywhere. */
        const int32_t some = first % 4 == 0 ? 1 : count - i < 4 ? count - i : 4;
        const uint32_t bits = tg_four_bits(from, first + i, some);
        to[0] = tg_signs(bits);
        to[stride] = tg_signs(bits >> 1);
    }
}

/*
 * `count` packed codes of `bits` bits, 4 or 2 (tinygen_codes.h); of levels from 0 to `largest` the integers are
 * 2 * level - largest, where that is not 0. What fills up the last four is of no meaning.
 */
TG_INLINE void tg_extend_packed(
    uint32_t *to, const uint32_t *from, int32_t count, int32_t stride, int32_t bits, int32_t largest)
{
    const uint32_t mask = TG_FOUR_CODES(bits) & 0x00FF00FFU;
    const uint32_t offset = (uint32_t)largest * 0x10001U;
    for (int32_t i = 0; i < count; from++) {
        uint32_t word = *from;
        for (int32_t j = 0; j < 32 / bits && i < count; j += 4, i += 4, to += 2 * stride, word >>= bits) {
            const uint32_t even = word & mask;
            const uint32_t odd = word >> 8 & mask;
            to[0] = largest != 0 ? tg_ssub16(even << 1, offset) : even;
            to[stride] = largest != 0 ? tg_ssub16(odd << 1, offset) : odd;
        }
    }
}

/* Of the last four channels only `rest` are kept, 1 to 3: the others become 0. */
TG_INLINE void tg_keep(uint32_t *to, int32_t rest, int32_t stride)
{
    if (rest < 3) {
        to[0] &= 0xFFFFU;
    }
    to[stride] = rest < 2 ? 0 : to[stride] & 0xFFFFU;
}

/* tg_pair_rows() for codes from 0 to 255. */
TG_INLINE void tg_pair_unsigned(uint32_t *to, const int8_t *upper, const int8_t *lower)
{
    const uint32_t u = tg_load32(upper);
    const uint32_t l = tg_load32(lower);
    to[0] = (u & 0xFFU) | (l & 0xFFU) << 16;
    to[1] = (u >> 8 & 0xFFU) | (l << 8 & 0xFF0000U);
    to[2] = (u >> 16 & 0xFFU) | (l & 0xFF0000U);
    to[3] = u >> 24 | (l >> 8 & 0xFF0000U);
}

/* The same for levels from 0 to `largest`, of which the integers are 2 * level - largest. */
TG_INLINE void tg_pair_levels(uint32_t *to, const int8_t *upper, const int8_t *lower, int32_t largest)
{
    const uint32_t offset = (uint32_t)largest * 0x10001U;
    tg_pair_unsigned(to, upper, lower);
    for (int32_t i = 0; i < 4; i++) {
        to[i] = tg_ssub16(to[i] << 1, offset);
    }
}

/* The same for values of a table. */
TG_INLINE void tg_pair_looked_up(
    uint32_t *to, const int8_t *upper, const int8_t *lower, const int16_t *values, int32_t bits)
{
    const uint32_t u = tg_load32(upper);
    const uint32_t l = tg_load32(lower);
    for (int32_t i = 0; i < 4; i++) {
        to[i] = tg_values_pair(values, u >> (8 * i), l >> (8 * i), bits);
    }
}

#if TG_HAVE_DSP && defined(__OPTIMIZE__) && TG_DUAL_ISSUE
/* A load beside every other instruction, and none that waits for one. */
#define tg_pair_values(to, upper, lower, values, bits)                                                       \
    do {                                                                                                     \
        uint32_t u = tg_load32(upper);                                                                       \
        uint32_t l = tg_load32(lower);                                                                       \
        uint32_t p0, p1, p2, l0, l1, l2;                                                                     \
        __asm__("ubfx %[l2], %[l], #16, %[n]\n\tand %[p0], %[u], %[mask]\n\t"                                \
                "ubfx %[p2], %[u], #16, %[n]\n\tubfx %[l1], %[l], #8, %[n]\n\t"                              \
                "ldrh %[l2], [%[v], %[l2], lsl #1]\n\tldrh %[p0], [%[v], %[p0], lsl #1]\n\t"                 \
                "and %[l0], %[l], %[mask]\n\tldrh %[p2], [%[v], %[p2], lsl #1]\n\t"                          \
                "ubfx %[l], %[l], #24, %[n]\n\tldrh %[l1], [%[v], %[l1], lsl #1]\n\t"                        \
                "ubfx %[p1], %[u], #8, %[n]\n\tldrh %[l0], [%[v], %[l0], lsl #1]\n\t"                        \
                "ubfx %[u], %[u], #24, %[n]\n\tldrh %[l], [%[v], %[l], lsl #1]\n\t"                          \
                "orr %[p2], %[p2], %[l2], lsl #16\n\tldrh %[p1], [%[v], %[p1], lsl #1]\n\t"                  \
                "orr %[p0], %[p0], %[l0], lsl #16\n\tldrh %[u], [%[v], %[u], lsl #1]\n\t"                    \
                "orr %[p1], %[p1], %[l1], lsl #16\n\torr %[u], %[u], %[l], lsl #16"                          \
                : [u] "+&r"(u), [l] "+&r"(l), [p0] "=&r"(p0), [p1] "=&r"(p1), [p2] "=&r"(p2),                \
                  [l0] "=&r"(l0), [l1] "=&r"(l1), [l2] "=&r"(l2)                                             \
                : [v] "r"(values), [n] "i"(bits), [mask] "i"((1 << (bits)) - 1),                             \
                  "m"(*(const int16_t (*)[1 << (bits)])(values)));                                           \
        (to)[0] = p0;                                                                                        \
        (to)[1] = p1;                                                                                        \
        (to)[2] = p2;                                                                                        \
        (to)[3] = u;                                                                                         \
    } while (0)
#else
#define tg_pair_values tg_pair_looked_up
#endif

/* GCC reads thresholds again for each output of a search in the same function, were this assembly. */
#if defined(__clang__)
#define tg_pair_beside_search tg_pair_values
#else
#define tg_pair_beside_search tg_pair_looked_up
#endif

/* The same for packed bits from bit `first` on, which stand for -1 and 1. */
TG_INLINE void tg_pair_bits(uint32_t *to, const uint32_t *upper, const uint32_t *lower, int32_t first)
{
    const uint32_t u = tg_four_bits(upper, first, 4);
    const uint32_t l = tg_four_bits(lower, first, 4);
    const uint32_t both = tg_low_halves(u, l);
    for (int32_t i = 0; i < 4; i++) {
        to[i] = tg_ssub16((i == 0 ? both << 1 : both >> (i - 1)) & 0x00020002U, 0x00010001U);
    }
}

/* The sum of the halves of `words` words. */
TG_INLINE int32_t tg_sum_pairs(const uint32_t *pairs, int32_t words)
{
    int32_t sum = 0;
    for (int32_t i = 0; i < words; i++) {
        sum = tg_smlad(pairs[i], 0x00010001U, sum);
    }
    return sum;
}

/* Keeps the halves of `words` words that are ones in the mask. */
TG_INLINE void tg_mask(uint32_t *to, uint32_t mask, int32_t words)
{
    for (int32_t i = 0; i < words; i++) {
        to[i] &= mask;
    }
}

/* tg_fill() with pairs two words apart. */
TG_INLINE void tg_fill_apart(uint32_t *to, int16_t code, int32_t pairs)
{
    const uint32_t pair = (uint16_t)code * UINT32_C(0x10001);
    for (int32_t i = 0; i < pairs; i++) {
        to[2 * i] = pair;
    }
}

/* Bit `channel` of a pixel's packed channels, which are written in order. */
TG_INLINE void tg_put_bit(uint32_t *words, int32_t channel, uint32_t bit)
{
    uint32_t *const word = words + (channel >> 5);
    *word = ((channel & 31) == 0 ? 0U : *word) | bit << (channel & 31);
}

#endif
