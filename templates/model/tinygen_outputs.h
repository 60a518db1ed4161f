/*
 * Dense layers of few bits on cores without SIMD: an activation times a word that holds the weights of two outputs, 16 bits
 * apart, is both products. So many of these are added up as half a word holds.
 */
#ifndef TINYGEN_OUTPUTS_H
#define TINYGEN_OUTPUTS_H

#include <stdint.h>

#include "tinygen_simd.h"

/* Adds the sums of two outputs, each of which fits 16 bits with its sign. */
static inline void tg_add_two_outputs(int32_t sums[2], uint32_t both)
{
    const int32_t low = tg_low_half(both);
    sums[0] += low;
    sums[1] += (int32_t)(both - (uint32_t)low) >> 16;
}

/* Tap i of a word for each of four outputs. */
#define TG_OUTPUTS_TAP(i)                                                                                    \
    do {                                                                                                     \
        const uint32_t code = (uint32_t)x[i];                                                                \
        first += code * ((u >> ((i) * bits)) & mask);                                                        \
        second += code * ((v >> ((i) * bits)) & mask);                                                       \
    } while (0)

/*
 * Adds the products of 4 outputs over `words` whole words of codes of 1 to 5 bits, and over `rest` taps of one more.
 *
 * w: [words][2], a word for outputs 0 and 1, one for 2 and 3: tap i in bits i * bits of both halves. `bits` and `rest` must
 * be constants. The sums of `together` words fit 16 bits.
 */
TG_INLINE void tg_dot_two_outputs(
    int32_t sums[4], const int8_t *x, const uint32_t *w, int32_t words, int32_t rest, int32_t bits, int32_t together)
{
    const uint32_t mask = ((UINT32_C(1) << bits) - 1) * UINT32_C(0x10001);
    const uint32_t *const last = w + 2 * words;
    while (w != last) {
        const uint32_t *const end = last - w > 2 * together ? w + 2 * together : last;
        uint32_t first = 0, second = 0;
        TG_ROLLED
        for (; w != end; w += 2, x += 16 / bits) {
            const uint32_t u = w[0], v = w[1];
            TG_OUTPUTS_TAP(0);
            TG_OUTPUTS_TAP(1);
            TG_OUTPUTS_TAP(2);
            if (bits < 5) {
                TG_OUTPUTS_TAP(3);
            }
            if (bits < 4) {
                TG_OUTPUTS_TAP(4);
            }
            if (bits < 3) {
                TG_OUTPUTS_TAP(5);
                TG_OUTPUTS_TAP(6);
                TG_OUTPUTS_TAP(7);
            }
            if (bits < 2) {
                TG_OUTPUTS_TAP(8);
                TG_OUTPUTS_TAP(9);
                TG_OUTPUTS_TAP(10);
                TG_OUTPUTS_TAP(11);
                TG_OUTPUTS_TAP(12);
                TG_OUTPUTS_TAP(13);
                TG_OUTPUTS_TAP(14);
                TG_OUTPUTS_TAP(15);
            }
        }
        tg_add_two_outputs(sums, first);
        tg_add_two_outputs(sums + 2, second);
    }
    if (rest > 0) {
        const uint32_t u = w[0], v = w[1];
        uint32_t first = 0, second = 0;
        for (int32_t i = 0; i < rest; i++) {
            TG_OUTPUTS_TAP(i);
        }
        tg_add_two_outputs(sums, first);
        tg_add_two_outputs(sums + 2, second);
    }
}

/* The codes of a row, added up. */
static inline int32_t tg_sum_of_codes(const int8_t *x, int32_t count)
{
    int32_t sum = 0;
    for (int32_t i = 0; i < count; i++) {
        sum += x[i];
    }
    return sum;
}

#endif
