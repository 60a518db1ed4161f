/*
 * Dense layers of 4-bit weights, whose codes are multiplied where they lie: the high nibble of a byte is masked away
 * for one product, and stays, 16 times too large, for the other.
 */
#ifndef TINYGEN_NIBBLES_H
#define TINYGEN_NIBBLES_H

#include <stdint.h>

#include "tinygen_coded.h"
#include "tinygen_dot.h"
#include "tinygen_simd.h"

/* a - b, half by half. */
static inline uint32_t tg_subtract_pairs(uint32_t a, uint32_t b)
{
#if TG_HAVE_DSP
    return (uint32_t)__ssub16((int16x2_t)a, (int16x2_t)b);
#else
    return ((a - b) & 0xFFFFU) | ((a & 0xFFFF0000U) - (b & 0xFFFF0000U));
#endif
}

/*
 * Activations for tg_dot_nibbles(): of each two pairs X0 and X1 that tg_extend_scaled() made, X1 and 16 X0 - X1. Each
 * is less than 2^15 / 17 in magnitude.
 */
static inline void tg_extend_nibbles(uint32_t *x, int32_t pairs)
{
    for (int32_t i = 0; i < pairs; i += 2) {
        const uint32_t even = x[i];
        const uint32_t odd = x[i + 1];
        x[i] = odd;
        x[i + 1] = tg_subtract_pairs((even & 0x0FFF0FFFU) << 4, odd);
    }
}

#if TG_IN_REGISTERS
#define TG_AND(to, from, bits) __asm__ volatile("and %0, %1, %2" : "=r"(to) : "r"(from), "i"(bits))
#define TG_ODD(word) __asm__ volatile("uxtb16 %0, %0, ror #8" : "+r"(word))
/* All products of word n but the last; between them the next activations are loaded. */
#define TG_NIBBLES_PRODUCTS(n)                                                                               \
    TG_AND(p, u, 0x00FF00FF);                                                                                \
    TG_MAC(a, p, odd);                                                                                       \
    TG_AND(p, u, 0x000F000F);                                                                                \
    TG_MAC(a, p, rest);                                                                                      \
    TG_AND(p, v, 0x00FF00FF);                                                                                \
    TG_MAC(b, p, odd);                                                                                       \
    TG_AND(p, v, 0x000F000F);                                                                                \
    TG_MAC(b, p, rest);                                                                                      \
    TG_AND(p, s, 0x00FF00FF);                                                                                \
    TG_MAC(c, p, odd);                                                                                       \
    TG_AND(p, s, 0x000F000F);                                                                                \
    TG_MAC(c, p, rest);                                                                                      \
    TG_AND(p, t, 0x00FF00FF);                                                                                \
    TG_MAC(d, p, odd);                                                                                       \
    TG_AND(p, t, 0x000F000F);                                                                                \
    TG_LOAD(odd, x, 4 * (n) + 2);                                                                            \
    TG_ODD(u);                                                                                               \
    TG_MAC(d, p, rest);                                                                                      \
    TG_ODD(v);                                                                                               \
    TG_LOAD(rest, x, 4 * (n) + 3);                                                                           \
    TG_ODD(s);                                                                                               \
    TG_MAC(a, u, odd);                                                                                       \
    TG_AND(u, u, 0x000F000F);                                                                                \
    TG_MAC(b, v, odd);                                                                                       \
    TG_ODD(t);                                                                                               \
    TG_MAC(a, u, rest);                                                                                      \
    TG_AND(v, v, 0x000F000F);                                                                                \
    TG_MAC(c, s, odd);                                                                                       \
    TG_AND(s, s, 0x000F000F);                                                                                \
    TG_MAC(b, v, rest);                                                                                      \
    TG_MAC(d, t, odd);                                                                                       \
    TG_AND(t, t, 0x000F000F);                                                                                \
    TG_MAC(c, s, rest)
#if TG_DUAL_ISSUE
/* Word n of four outputs: masks beside products, and what the next word begins with loaded at the end. */
#define TG_NIBBLES_BEGIN()                                                                                   \
    TG_LOAD(odd, x, 0);                                                                                      \
    TG_LOAD(rest, x, 1);                                                                                     \
    TG_LOAD(u, w, 0);                                                                                        \
    TG_LOAD(v, w, 1);                                                                                        \
    TG_LOAD(s, w, 2);                                                                                        \
    TG_LOAD(t, w, 3)
#define TG_NIBBLES_STEP(n)                                                                                   \
    TG_NIBBLES_PRODUCTS(n);                                                                                  \
    TG_LOAD(odd, x, 4 * (n) + 4);                                                                            \
    TG_MAC(d, t, rest);                                                                                      \
    TG_LOAD(rest, x, 4 * (n) + 5);                                                                           \
    TG_LOAD(u, w, 4 * (n) + 4);                                                                              \
    TG_LOAD(v, w, 4 * (n) + 5);                                                                              \
    TG_LOAD(s, w, 4 * (n) + 6);                                                                              \
    TG_LOAD(t, w, 4 * (n) + 7)
#else
#define TG_NIBBLES_BEGIN()
#define TG_NIBBLES_STEP(n)                                                                                   \
    TG_LOAD(u, w, 4 * (n));                                                                                  \
    TG_LOAD(v, w, 4 * (n) + 1);                                                                              \
    TG_LOAD(s, w, 4 * (n) + 2);                                                                              \
    TG_LOAD(t, w, 4 * (n) + 3);                                                                              \
    TG_LOAD(odd, x, 4 * (n));                                                                                \
    TG_LOAD(rest, x, 4 * (n) + 1);                                                                           \
    TG_NIBBLES_PRODUCTS(n);                                                                                  \
    TG_MAC(d, t, rest)
#endif
#endif

/*
 * tg_dot_codes() of 4 bits in fewer steps; adds 16 times the products. With codes e and o in a byte, e + 16 o,
 *   (e + 16 o) X1 + e (16 X0 - X1) = 16 (e X0 + o X1).
 * Two words behind x and four behind the weights may be read, and are not used.
 */
TG_INLINE void tg_dot_nibbles(int32_t sums[4], const uint32_t *x, const uint32_t *w, int32_t words)
{
#if TG_IN_REGISTERS
    int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
    uint32_t odd, rest, u, v, s, t, p;
    TG_KEEP(end, w + 4 * words);
    tg_fence();
    TG_NIBBLES_BEGIN();
    if (words % 2 == 0) {
        do {
            TG_NIBBLES_STEP(0);
            TG_NIBBLES_STEP(1);
            TG_ADVANCE(x, 8);
            TG_ADVANCE(w, 8);
            TG_RECALL(p, end);
        } while ((uint32_t)w != p);
    } else {
        do {
            TG_NIBBLES_STEP(0);
            TG_ADVANCE(x, 4);
            TG_ADVANCE(w, 4);
            TG_RECALL(p, end);
        } while ((uint32_t)w != p);
    }
    tg_fence();
    sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
#else
    for (int32_t word = 0; word < words; word++, x += 4, w += 4) {
        for (int32_t i = 0; i < 4; i++) {
            const uint32_t even = tg_uxtb16(w[i]);
            const uint32_t odd = tg_uxtb16_odd(w[i]);
            sums[i] = tg_smlad(even, x[0], sums[i]);
            sums[i] = tg_smlad(even & 0x000F000FU, x[1], sums[i]);
            sums[i] = tg_smlad(odd, x[2], sums[i]);
            sums[i] = tg_smlad(odd & 0x000F000FU, x[3], sums[i]);
        }
    }
#endif
}

#endif
