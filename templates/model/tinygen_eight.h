/*
 * Eight outputs of a dense layer at once, whose weights are pairs of taps: each activation is loaded once for all of
 * them. Loops are written down as those of tinygen_dot.h are.
 */
#ifndef TINYGEN_EIGHT_H
#define TINYGEN_EIGHT_H

#include <stdint.h>

#include "tinygen_dot.h"
#include "tinygen_simd.h"

#if TG_IN_REGISTERS && TG_DUAL_ISSUE
/*
 * A pair of taps of eight outputs, weights in bytes, two outputs in a word: extensions and loads beside products.
 * Registers are told: clang takes one more where it may choose, and then keeps a pointer in memory.
 */
#define TG_EXTEND_INTO(to, word)                                                                         \
    __asm__ volatile("sxtb16 %0, %1" : "+r"(to) : "r"(word))
#define TG_DOT_EIGHT_BYTES(n)                                                                            \
    TG_EXTEND_INTO(p, u);                                                                                \
    TG_EXTEND_ODD(u);                                                                                    \
    TG_MAC(a, p, x0);                                                                                    \
    TG_EXTEND_INTO(p, v);                                                                                \
    TG_MAC(b, u, x0);                                                                                    \
    TG_EXTEND_ODD(v);                                                                                    \
    TG_MAC(c, p, x0);                                                                                    \
    TG_RELOAD(u, w, 4 * (n) + 2);                                                                        \
    TG_MAC(d, v, x0);                                                                                    \
    TG_EXTEND_INTO(p, u);                                                                                \
    TG_RELOAD(v, w, 4 * (n) + 3);                                                                        \
    TG_EXTEND_ODD(u);                                                                                    \
    TG_MAC(e, p, x0);                                                                                    \
    TG_EXTEND_INTO(p, v);                                                                                \
    TG_MAC(f, u, x0);                                                                                    \
    TG_EXTEND_ODD(v);                                                                                    \
    TG_MAC(g, p, x0);                                                                                    \
    TG_MAC(h, v, x0);                                                                                    \
    TG_RELOAD(x0, x, (n) + 1);                                                                           \
    TG_RELOAD(u, w, 4 * (n) + 4);                                                                        \
    TG_RELOAD(v, w, 4 * (n) + 5)
/* The same of weights as they are multiplied, which are loaded two products ahead, and activations a pair ahead. */
#define TG_DOT_EIGHT_HALVES(n, now, next)                                                                    \
    TG_MAC(a, u, now);                                                                                       \
    TG_RELOAD(u, w, 8 * (n) + 2);                                                                            \
    TG_MAC(b, v, now);                                                                                       \
    TG_RELOAD(next, x, (n) + 1);                                                                             \
    TG_RELOAD(v, w, 8 * (n) + 3);                                                                            \
    TG_MAC(c, u, now);                                                                                       \
    TG_RELOAD(u, w, 8 * (n) + 4);                                                                            \
    TG_MAC(d, v, now);                                                                                       \
    TG_RELOAD(v, w, 8 * (n) + 5);                                                                            \
    TG_MAC(e, u, now);                                                                                       \
    TG_RELOAD(u, w, 8 * (n) + 6);                                                                            \
    TG_MAC(f, v, now);                                                                                       \
    TG_RELOAD(v, w, 8 * (n) + 7);                                                                            \
    TG_MAC(g, u, now);                                                                                       \
    TG_RELOAD(u, w, 8 * (n) + 8);                                                                            \
    TG_MAC(h, v, now);                                                                                       \
    TG_RELOAD(v, w, 8 * (n) + 9)
#define TG_DOT_EIGHT_BEGIN()                                                                                 \
    TG_LOAD(x0, x, 0);                                                                                       \
    TG_LOAD(u, w, 0);                                                                                        \
    TG_LOAD(v, w, 1)
#define TG_DOT_EIGHT_MOVE(pairs, words)                                                                  \
    TG_ADVANCE(x, pairs);                                                                                    \
    TG_ADVANCE(w, words)
#elif TG_IN_REGISTERS
/* The same where an instruction does one thing at a time; loads move their pointers. */
#define TG_DOT_EIGHT_FOUR(i, j, k, l)                                                                        \
    TG_TAKE_TWO(u, v, w);                                                                                    \
    TG_EXTEND_TO(p, u);                                                                                      \
    TG_EXTEND_ODD(u);                                                                                        \
    TG_MAC(i, p, x0);                                                                                        \
    TG_MAC(j, u, x0);                                                                                        \
    TG_EXTEND_TO(p, v);                                                                                      \
    TG_EXTEND_ODD(v);                                                                                        \
    TG_MAC(k, p, x0);                                                                                        \
    TG_MAC(l, v, x0)
#define TG_DOT_EIGHT_BYTES(n)                                                                                \
    TG_TAKE(x0, x);                                                                                          \
    TG_DOT_EIGHT_FOUR(a, b, c, d);                                                                           \
    TG_DOT_EIGHT_FOUR(e, f, g, h)
/* Loads from one memory follow each other; the last of them move the pointer. */
#define TG_DOT_EIGHT_HALVES(n, now, next)                                                                \
    TG_TAKE(now, x);                                                                                     \
    TG_LOAD(u, w, 2);                                                                                    \
    TG_LOAD(v, w, 3);                                                                                    \
    TG_LOAD(p, w, 4);                                                                                    \
    TG_MAC(c, u, now);                                                                                   \
    TG_MAC(d, v, now);                                                                                   \
    TG_MAC(e, p, now);                                                                                   \
    TG_LOAD(u, w, 5);                                                                                    \
    TG_LOAD(v, w, 6);                                                                                    \
    TG_LOAD(p, w, 7);                                                                                    \
    TG_MAC(f, u, now);                                                                                   \
    TG_MAC(g, v, now);                                                                                   \
    TG_MAC(h, p, now);                                                                                   \
    TG_TAKE_TWO_OF(u, v, w, 8);                                                                          \
    TG_MAC(a, u, now);                                                                                   \
    TG_MAC(b, v, now)
#define TG_DOT_EIGHT_BEGIN()
#define TG_DOT_EIGHT_MOVE(pairs, words)
#endif

/*
 * Adds the products of 8 outputs over `pairs` pairs of taps, an even number.
 *
 * weights: [pairs][4] words of two outputs, which take turns by bytes; or where they are `wide` pairs like the
 * activations, [pairs][8 outputs]. Both numbers must be constants. One pair of activations and two words of weights
 * behind the last may be read, and are not used.
 */
TG_INLINE void tg_dot_eight(int32_t sums[8], const uint32_t *x, const uint32_t *w, int32_t pairs, int32_t wide)
{
#if TG_IN_REGISTERS
    int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
    int32_t e = sums[4], f = sums[5], g = sums[6], h = sums[7];
    uint32_t x0, x1 = 0, u, v, p = 0;
    /* Pairs in one turn of the loop: a constant, as `pairs` is. */
    const int32_t together = TG_DUAL_ISSUE && wide != 0 && pairs % 8 == 0 ? 8 : pairs % 4 == 0 ? 4 : 2;
    TG_KEEP(end, w + (wide != 0 ? 8 : 4) * pairs);
    tg_fence();
    TG_DOT_EIGHT_BEGIN();
    if (wide != 0) {
        do {
            TG_DOT_EIGHT_HALVES(0, x0, x1);
            TG_DOT_EIGHT_HALVES(1, x1, x0);
            if (together > 2) {
                TG_DOT_EIGHT_HALVES(2, x0, x1);
                TG_DOT_EIGHT_HALVES(3, x1, x0);
            }
            if (together > 4) {
                TG_DOT_EIGHT_HALVES(4, x0, x1);
                TG_DOT_EIGHT_HALVES(5, x1, x0);
                TG_DOT_EIGHT_HALVES(6, x0, x1);
                TG_DOT_EIGHT_HALVES(7, x1, x0);
            }
            TG_RECALL(x1, end);
            TG_DOT_EIGHT_MOVE(together, 8 * together);
        } while ((uint32_t)w != x1);
    } else {
        do {
            TG_DOT_EIGHT_BYTES(0);
            TG_DOT_EIGHT_BYTES(1);
            if (together > 2) {
                TG_DOT_EIGHT_BYTES(2);
                TG_DOT_EIGHT_BYTES(3);
            }
            if (together > 4) {
                TG_DOT_EIGHT_BYTES(4);
                TG_DOT_EIGHT_BYTES(5);
                TG_DOT_EIGHT_BYTES(6);
                TG_DOT_EIGHT_BYTES(7);
            }
            TG_RECALL(p, end);
            TG_DOT_EIGHT_MOVE(together, 4 * together);
        } while ((uint32_t)w != p);
    }
    tg_fence();
    sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
    sums[4] = e, sums[5] = f, sums[6] = g, sums[7] = h;
#else
    for (int32_t pair = 0; pair < pairs; pair++) {
        for (int32_t i = 0; i < 8; i++) {
            const uint32_t word = w[wide != 0 ? 8 * pair + i : 4 * pair + i / 2];
            const uint32_t weights = wide != 0 ? word : i % 2 == 0 ? tg_sxtb16(word) : tg_sxtb16_odd(word);
            sums[i] = tg_smlad(weights, x[pair], sums[i]);
        }
    }
#endif
}

#endif
