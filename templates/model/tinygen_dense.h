/*
 * Dense layers whose sums are 256 times as large, so that only one of two products needs its weights extended: their
 * inner loops, written down one by one beside a portable twin as those of tinygen_dot.h are.
 */
#ifndef TINYGEN_DENSE_H
#define TINYGEN_DENSE_H

#include <stdint.h>

#include "tinygen_dot.h"
#include "tinygen_simd.h"

/* to[0] and to[1] of four codes; see below. */
TG_INLINE void tg_extend_four(uint32_t *to, uint32_t word)
{
    const uint32_t odd = tg_sxtb16_odd(word);
    to[0] = odd;
    to[1] = tg_add_pairs(tg_ssub16((word << 8) & 0xFF00FF00U, odd), 127U * 0x10001U);
}

/*
 * Activations for tg_dot_1x4() and tg_dot_1x8(): each four codes x become the pairs (x1, x3) and
 * (256 x0 - x1 + 127, 256 x2 - x3 + 127). The 127 makes the second fit; what it adds to a sum of products is a
 * constant. The last four are filled with zeros.
 */
TG_INLINE void tg_extend_dense(uint32_t *to, const int8_t *from, int32_t count)
{
    const int8_t *const whole = from + (count & ~3);
    for (; from < whole; from += 4, to += 2) {
        tg_extend_four(to, tg_load32(from));
    }
    if ((count & 3) != 0) {
        uint32_t word = 0;
        TG_COPY(&word, from, (uint32_t)(count & 3));
        tg_extend_four(to, word);
    }
}

/* The same for `count` packed bits that stand for -1 and 1; a multiple of 4 but for the last. */
TG_INLINE void tg_extend_dense_bits(uint32_t *to, const uint32_t *from, int32_t count)
{
    for (int32_t i = 0; i < count; i += 4, to += 2) {
        const uint32_t nibble = from[i >> 5] >> (i & 31);
        const int8_t codes[4] = {
            (int8_t)((nibble & 1U) != 0 ? 1 : -1),
            (int8_t)((nibble & 2U) != 0 ? 1 : -1),
            (int8_t)((nibble & 4U) != 0 ? 1 : -1),
            (int8_t)((nibble & 8U) != 0 ? 1 : -1),
        };
        tg_extend_dense(to, codes, count - i < 4 ? count - i : 4);
    }
}

/* The same for codes that a table makes bytes of; `values` points to that of code 0. */
TG_INLINE void tg_extend_dense_values(
    uint32_t *to, const int8_t *from, int32_t count, const int8_t *values, int32_t is_signed)
{
    for (int32_t i = 0; i < count; i += 4, to += 2) {
        int8_t four[4] = {0, 0, 0, 0};
        for (int32_t n = 0; n < 4 && i + n < count; n++) {
            const int8_t code = from[i + n];
            four[n] = values[is_signed != 0 ? (int32_t)code : (int32_t)(uint8_t)code];
        }
        tg_extend_dense(to, four, 4);
    }
}

#if TG_IN_REGISTERS && TG_DUAL_ISSUE
/* Four taps; what the next four begin with is loaded as soon as there is a register for it. */
#define TG_DOT_1X4_BEGIN()                                                                                   \
    TG_LOAD(x0, x, 0);                                                                                       \
    TG_LOAD(u, w, 0);                                                                                        \
    TG_LOAD(v, w, 1);                                                                                        \
    TG_LOAD(s, w, 2);                                                                                        \
    TG_LOAD(t, w, 3)
#define TG_DOT_1X4_STEP(n)                                                                                   \
    TG_MAC(a, u, x0);                                                                                        \
    TG_LOAD(x1, x, 2 * (n) + 1);                                                                             \
    TG_EXTEND(u);                                                                                            \
    TG_MAC(b, v, x0);                                                                                        \
    TG_EXTEND(v);                                                                                            \
    TG_MAC(c, s, x0);                                                                                        \
    TG_EXTEND(s);                                                                                            \
    TG_MAC(d, t, x0);                                                                                        \
    TG_EXTEND(t);                                                                                            \
    TG_MAC(a, u, x1);                                                                                        \
    TG_MAC(b, v, x1);                                                                                        \
    TG_LOAD(x0, x, 2 * (n) + 2);                                                                             \
    TG_MAC(c, s, x1);                                                                                        \
    TG_LOAD(u, w, 4 * (n) + 4);                                                                              \
    TG_MAC(d, t, x1);                                                                                        \
    TG_LOAD(v, w, 4 * (n) + 5);                                                                              \
    TG_LOAD(s, w, 4 * (n) + 6);                                                                              \
    TG_LOAD(t, w, 4 * (n) + 7)
#elif TG_IN_REGISTERS
#define TG_DOT_1X4_BEGIN()
#define TG_DOT_1X4_STEP(n)                                                                                   \
    TG_LOAD(u, w, 4 * (n));                                                                                  \
    TG_LOAD(v, w, 4 * (n) + 1);                                                                              \
    TG_LOAD(s, w, 4 * (n) + 2);                                                                              \
    TG_LOAD(t, w, 4 * (n) + 3);                                                                              \
    TG_LOAD(x0, x, 2 * (n));                                                                                 \
    TG_LOAD(x1, x, 2 * (n) + 1);                                                                             \
    TG_MAC(a, u, x0);                                                                                        \
    TG_EXTEND(u);                                                                                            \
    TG_MAC(b, v, x0);                                                                                        \
    TG_EXTEND(v);                                                                                            \
    TG_MAC(c, s, x0);                                                                                        \
    TG_EXTEND(s);                                                                                            \
    TG_MAC(d, t, x0);                                                                                        \
    TG_EXTEND(t);                                                                                            \
    TG_MAC(a, u, x1);                                                                                        \
    TG_MAC(b, v, x1);                                                                                        \
    TG_MAC(c, s, x1);                                                                                        \
    TG_MAC(d, t, x1)
#endif

/*
 * Adds 256 times the products of 4 outputs over `fours` times four taps, modulo 2^32.
 *
 * x: [fours][2] from tg_extend_dense(); weights: [fours][4 outputs], the int16 pair (w0 + 256 w1, w2 + 256 w3). Two
 * products of pairs give all four taps, and only one of them needs an extension:
 *   (w0 + 256 w1) x1 + (w2 + 256 w3) x3 + w0 (256 x0 - x1) + w2 (256 x2 - x3) = 256 (w0 x0 + w1 x1 + w2 x2 + w3 x3).
 * One word behind x and four behind the weights may be read, and are not used.
 */
TG_INLINE void tg_dot_1x4(int32_t sums[4], const uint32_t *x, const int8_t *weights, int32_t fours)
{
#if TG_IN_REGISTERS
    const uint32_t *w = (const uint32_t *)(const void *)weights;
    int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
    uint32_t x0, x1, u, v, s, t;
    TG_KEEP(end, w + 4 * fours);
    tg_fence();
    TG_DOT_1X4_BEGIN();
    if (fours % 4 == 0) {
        do {
            TG_DOT_1X4_STEP(0);
            TG_DOT_1X4_STEP(1);
            TG_DOT_1X4_STEP(2);
            TG_DOT_1X4_STEP(3);
            TG_ADVANCE(x, 8);
            TG_ADVANCE(w, 16);
            TG_RECALL(x1, end);
        } while ((uint32_t)w != x1);
    } else {
        do {
            TG_DOT_1X4_STEP(0);
            TG_ADVANCE(x, 2);
            TG_ADVANCE(w, 4);
            TG_RECALL(x1, end);
        } while ((uint32_t)w != x1);
    }
    tg_fence();
    sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
#else
    for (int32_t four = 0; four < fours; four++) {
        for (int32_t i = 0; i < 4; i++) {
            const uint32_t word = tg_load32(weights + 16 * four + 4 * i);
            sums[i] = tg_smlad(word, x[2 * four], sums[i]);
            sums[i] = tg_smlad(tg_sxtb16(word), x[2 * four + 1], sums[i]);
        }
    }
#endif
}

#if TG_IN_REGISTERS && TG_DUAL_ISSUE
/* Four taps of two of the outputs; then what is multiplied next is loaded. */
#define TG_DOT_1X8_TWO(p, q, n)                                                                              \
    TG_MAC(p, u, x0);                                                                                        \
    TG_EXTEND(u);                                                                                            \
    TG_MAC(q, v, x0);                                                                                        \
    TG_EXTEND(v);                                                                                            \
    TG_MAC(p, u, x1);                                                                                        \
    TG_RELOAD(u, w, n);                                                                                      \
    TG_MAC(q, v, x1);                                                                                        \
    TG_RELOAD(v, w, (n) + 1)
#define TG_DOT_1X8_BEGIN()                                                                                   \
    TG_LOAD(x0, x, 0);                                                                                       \
    TG_LOAD(u, w, 0);                                                                                        \
    TG_LOAD(v, w, 1)
#define TG_DOT_1X8_STEP(n)                                                                                   \
    TG_LOAD(x1, x, 2 * (n) + 1);                                                                             \
    TG_DOT_1X8_TWO(a, b, 8 * (n) + 2);                                                                       \
    TG_DOT_1X8_TWO(c, d, 8 * (n) + 4);                                                                       \
    TG_DOT_1X8_TWO(e, f, 8 * (n) + 6);                                                                       \
    TG_MAC(g, u, x0);                                                                                        \
    TG_EXTEND(u);                                                                                            \
    TG_MAC(h, v, x0);                                                                                        \
    if ((n) + 1 == together) {                                                                               \
        TG_RELOAD_AND_MOVE(x0, x, 2 * together);                                                             \
    } else {                                                                                                 \
        TG_RELOAD(x0, x, 2 * (n) + 2);                                                                       \
    }                                                                                                        \
    TG_EXTEND(v);                                                                                            \
    TG_MAC(g, u, x1);                                                                                        \
    if ((n) + 1 == together) {                                                                               \
        TG_RELOAD_AND_MOVE(u, w, 8 * together);                                                              \
    } else {                                                                                                 \
        TG_RELOAD(u, w, 8 * (n) + 8);                                                                        \
    }                                                                                                        \
    TG_MAC(h, v, x1);                                                                                        \
    TG_RELOAD(v, w, (n) + 1 == together ? 1 : 8 * (n) + 9)
#elif TG_IN_REGISTERS
#define TG_DOT_1X8_TWO(p, q)                                                                                 \
    TG_TAKE_TWO(u, v, w);                                                                                    \
    TG_MAC(p, u, x0);                                                                                        \
    TG_EXTEND(u);                                                                                            \
    TG_MAC(q, v, x0);                                                                                        \
    TG_EXTEND(v);                                                                                            \
    TG_MAC(p, u, x1);                                                                                        \
    TG_MAC(q, v, x1)
#define TG_DOT_1X8_STEP(n)                                                                                   \
    TG_TAKE_TWO(x0, x1, x);                                                                                  \
    TG_DOT_1X8_TWO(a, b);                                                                                    \
    TG_DOT_1X8_TWO(c, d);                                                                                    \
    TG_DOT_1X8_TWO(e, f);                                                                                    \
    TG_DOT_1X8_TWO(g, h)
#define TG_DOT_1X8_BEGIN()
#endif

/* The same of 8 outputs, whose words lie in turn: an activation is loaded for eight products. */
TG_INLINE void tg_dot_1x8(int32_t sums[8], const uint32_t *x, const int8_t *weights, int32_t fours)
{
#if TG_IN_REGISTERS
    const uint32_t *w = (const uint32_t *)(const void *)weights;
    int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
    int32_t e = sums[4], f = sums[5], g = sums[6], h = sums[7];
    uint32_t x0, x1, u, v;
    /* Fours in one turn of the loop: a constant, as `fours` is. */
    const int32_t together = TG_DUAL_ISSUE && fours % 4 == 0 ? 4 : fours % 2 == 0 ? 2 : 1;
    TG_KEEP(end, w + 8 * fours);
    tg_fence();
    TG_DOT_1X8_BEGIN();
    do {
        TG_DOT_1X8_STEP(0);
        if (together > 1) {
            TG_DOT_1X8_STEP(1);
        }
        if (together > 2) {
            TG_DOT_1X8_STEP(2);
            TG_DOT_1X8_STEP(3);
        }
        TG_RECALL(x1, end);
    } while ((uint32_t)w != x1);
    tg_fence();
    sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
    sums[4] = e, sums[5] = f, sums[6] = g, sums[7] = h;
#else
    for (int32_t four = 0; four < fours; four++) {
        for (int32_t i = 0; i < 8; i++) {
            const uint32_t word = tg_load32(weights + 32 * four + 4 * i);
            sums[i] = tg_smlad(word, x[2 * four], sums[i]);
            sums[i] = tg_smlad(tg_sxtb16(word), x[2 * four + 1], sums[i]);
        }
    }
#endif
}

#endif
