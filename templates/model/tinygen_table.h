/*
 * Dense layers of up to 16 different weights: a byte of flash is a pair of indices, and a table in RAM the two weights
 * that each byte stands for, beside each other as they are multiplied. Loops are written down as those of tinygen_dot.h
 * are.
 */
#ifndef TINYGEN_TABLE_H
#define TINYGEN_TABLE_H

#include <stdint.h>

#include "tinygen_dot.h"
#include "tinygen_simd.h"

/* The 256 pairs of 16 weights; the low half is that of a byte's low four bits. */
static inline void tg_table_of_pairs(uint32_t *table, const int16_t *book)
{
    TG_NO_UNROLL
    for (int32_t first = 0; first < 16; first += 8) {
        const uint32_t a = (uint16_t)book[first], b = (uint16_t)book[first + 1];
        const uint32_t c = (uint16_t)book[first + 2], d = (uint16_t)book[first + 3];
        const uint32_t e = (uint16_t)book[first + 4], f = (uint16_t)book[first + 5];
        const uint32_t g = (uint16_t)book[first + 6], h = (uint16_t)book[first + 7];
        uint32_t *to = table + first;
        TG_NO_UNROLL
        for (int32_t i = 0; i < 16; i++, to += 16) {
            const uint32_t high = (uint32_t)(uint16_t)book[i] << 16;
            to[0] = a | high, to[1] = b | high, to[2] = c | high, to[3] = d | high;
            to[4] = e | high, to[5] = f | high, to[6] = g | high, to[7] = h | high;
        }
    }
}

#if TG_IN_REGISTERS
#define TG_PAIR_AT(index) __asm__ volatile("ldr %0, [%1, %0, lsl #2]" : "+r"(index) : "r"(table))
#define TG_LOAD_BYTE(to, bytes, n) __asm__ volatile("ldrb %0, [%1, %2]" : "=r"(to) : "r"(bytes), "i"(n))
/* A pair of taps of four outputs or five: loads from one memory follow each other. */
#define TG_DOT_TABLE_STEP(n)                                                                             \
    TG_LOAD_BYTE(p, w, width * (n) + 0);                                                                 \
    TG_LOAD_BYTE(q, w, width * (n) + 1);                                                                 \
    TG_LOAD_BYTE(r, w, width * (n) + 2);                                                                 \
    TG_LOAD_BYTE(s, w, width * (n) + 3);                                                                 \
    if (width > 4) {                                                                                     \
        TG_LOAD_BYTE(t, w, width * (n) + 4);                                                             \
    }                                                                                                    \
    TG_TAKE(x0, x);                                                                                      \
    TG_PAIR_AT(p);                                                                                       \
    TG_PAIR_AT(q);                                                                                       \
    TG_PAIR_AT(r);                                                                                       \
    TG_PAIR_AT(s);                                                                                       \
    if (width > 4) {                                                                                     \
        TG_PAIR_AT(t);                                                                                   \
    }                                                                                                    \
    TG_MAC(a, p, x0);                                                                                    \
    TG_MAC(b, q, x0);                                                                                    \
    TG_MAC(c, r, x0);                                                                                    \
    TG_MAC(d, s, x0);                                                                                    \
    if (width > 4) {                                                                                     \
        TG_MAC(e, t, x0);                                                                                \
    }
#endif
#if TG_IN_REGISTERS && TG_DUAL_ISSUE
#define TG_BYTE_0(to, word) __asm__ volatile("uxtb %0, %1" : "+r"(to) : "r"(word))
#define TG_BYTE_1(to, word) __asm__ volatile("ubfx %0, %1, #8, #8" : "+r"(to) : "r"(word))
#define TG_BYTE_2(to, word) __asm__ volatile("ubfx %0, %1, #16, #8" : "+r"(to) : "r"(word))
#define TG_BYTE_3(to, word) __asm__ volatile("lsr %0, %1, #24" : "+r"(to) : "r"(word))
/*
 * Two pairs of taps of four outputs, whose bytes are a word: each instruction stands where two are issued at once. The
 * end of the loop is recalled as soon as there is a register for it.
 */
#define TG_DOT_TABLE_BEGIN()                                                                             \
    TG_LOAD(x0, x, 0);                                                                                   \
    TG_LOAD(u, w, 0);                                                                                    \
    TG_BYTE_0(p, u);                                                                                     \
    TG_BYTE_1(q, u);                                                                                     \
    TG_BYTE_2(r, u);                                                                                     \
    TG_BYTE_3(s, u);                                                                                     \
    TG_PAIR_AT(p);                                                                                       \
    TG_PAIR_AT(q);                                                                                       \
    TG_LOAD(u, w, 1)
#define TG_DOT_TABLE_TWO(n)                                                                              \
    TG_MAC(a, p, x0);                                                                                    \
    TG_BYTE_0(p, u);                                                                                     \
    TG_PAIR_AT(s);                                                                                       \
    TG_RELOAD(x1, x, (n) + 1);                                                                           \
    TG_MAC(b, q, x0);                                                                                    \
    TG_PAIR_AT(r);                                                                                       \
    TG_MAC(d, s, x0);                                                                                    \
    TG_BYTE_3(s, u);                                                                                     \
    TG_PAIR_AT(p);                                                                                       \
    TG_BYTE_1(q, u);                                                                                     \
    TG_MAC(c, r, x0);                                                                                    \
    TG_BYTE_2(r, u);                                                                                     \
    TG_PAIR_AT(s);                                                                                       \
    TG_MAC(a, p, x1);                                                                                    \
    TG_PAIR_AT(q);                                                                                       \
    TG_RELOAD(u, w, (n) + 2);                                                                            \
    TG_MAC(d, s, x1);                                                                                    \
    TG_BYTE_0(p, u);                                                                                     \
    TG_BYTE_3(s, u);                                                                                     \
    TG_PAIR_AT(r);                                                                                       \
    TG_MAC(b, q, x1);                                                                                    \
    TG_BYTE_1(q, u);                                                                                     \
    TG_PAIR_AT(p);                                                                                       \
    TG_MAC(c, r, x1);                                                                                    \
    if ((n) + 2 == together) {                                                                           \
        TG_RECALL(x1, end);                                                                              \
    }                                                                                                    \
    TG_RELOAD(x0, x, (n) + 2);                                                                           \
    TG_BYTE_2(r, u);                                                                                     \
    TG_PAIR_AT(q);                                                                                       \
    TG_RELOAD(u, w, (n) + 3)

TG_INLINE void tg_dot_table_4(
    int32_t *sums, const uint32_t *x, const uint32_t *w, int32_t pairs, const uint32_t *table)
{
    int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
    uint32_t x0, x1 = 0, u, p = 0, q = 0, r = 0, s = 0;
    /* Pairs in one turn of the loop: a constant, as `pairs` is. */
    const int32_t together = pairs % 8 == 0 ? 8 : pairs % 4 == 0 ? 4 : 2;
    TG_KEEP(end, w + pairs);
    tg_fence();
    TG_DOT_TABLE_BEGIN();
    do {
        TG_DOT_TABLE_TWO(0);
        if (together > 2) {
            TG_DOT_TABLE_TWO(2);
        }
        if (together > 4) {
            TG_DOT_TABLE_TWO(4);
            TG_DOT_TABLE_TWO(6);
        }
        TG_ADVANCE(x, together);
        TG_ADVANCE(w, together);
    } while ((uint32_t)w != x1);
    tg_fence();
    sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
}
#endif

/*
 * Adds the products of `width` outputs, 4 or 5, over `pairs` pairs of taps, an even number, by a table of
 * tg_table_of_pairs().
 *
 * indices: [pairs][width], at the address of a word. All numbers must be constants. A pair of activations and two words
 * of indices behind the last may be read, and are not used.
 */
TG_INLINE void tg_dot_table(
    int32_t *sums, const uint32_t *x, const uint8_t *indices, int32_t pairs, int32_t width, const uint32_t *table)
{
#if TG_IN_REGISTERS
#if TG_DUAL_ISSUE
    if (width == 4) {
        tg_dot_table_4(sums, x, (const uint32_t *)(const void *)indices, pairs, table);
        return;
    }
#endif
    const uint8_t *w = indices;
    int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3], e = width > 4 ? sums[4] : 0;
    uint32_t x0, p, q, r, s, t;
    /* Pairs in one turn of the loop: a constant, as `pairs` is. */
    const int32_t together = pairs % 8 == 0 ? 8 : pairs % 4 == 0 ? 4 : 2;
    TG_KEEP(end, w + width * pairs);
    tg_fence();
    do {
        TG_DOT_TABLE_STEP(0);
        TG_DOT_TABLE_STEP(1);
        if (together > 2) {
            TG_DOT_TABLE_STEP(2);
            TG_DOT_TABLE_STEP(3);
        }
        if (together > 4) {
            TG_DOT_TABLE_STEP(4);
            TG_DOT_TABLE_STEP(5);
            TG_DOT_TABLE_STEP(6);
            TG_DOT_TABLE_STEP(7);
        }
        __asm__ volatile("add %0, %0, %1" : "+r"(w) : "i"(width * together));
        TG_RECALL(p, end);
    } while ((uint32_t)w != p);
    tg_fence();
    sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
    if (width > 4) {
        sums[4] = e;
    }
#else
    for (int32_t pair = 0; pair < pairs; pair++) {
        for (int32_t i = 0; i < width; i++) {
            sums[i] = tg_smlad(table[indices[width * pair + i]], x[pair], sums[i]);
        }
    }
#endif
}

#endif
