/*
 * Weights of live channels: those of four filters that a gate chose, and of their inputs only those that are live, in
 * the order of the loops that read them: for tg_dot_2x4() widened to int16.
 */
#ifndef TINYGEN_GATHER_H
#define TINYGEN_GATHER_H

#include <stddef.h>
#include <stdint.h>

#include "tinygen_simd.h"

/* Two weights as a pair. */
TG_INLINE uint32_t tg_pair_of(int32_t low, int32_t high)
{
    return (uint32_t)(uint16_t)low | (uint32_t)high << 16;
}

/* Two numbers of 8 bits without signs as a pair of those from -127 to 127: less 128, and -127 at least. */
TG_INLINE uint32_t tg_symmetric_pair(uint32_t low, uint32_t high)
{
#if TG_HAVE_DSP
    const uint32_t from_one = (uint32_t)__uqsub16((uint16x2_t)(low | high << 16), (uint16x2_t)0x00010001U);
    return (uint32_t)__ssub16((int16x2_t)from_one, (int16x2_t)0x007F007FU);
#else
    return tg_pair_of((int32_t)low - (low < 1 ? 127 : 128), (int32_t)high - (high < 1 ? 127 : 128));
#endif
}

/*
 * For each of `taps` taps the weights of the `live` inputs of four filters, whose taps are `all` weights apart. Inputs
 * that fill up fours have weights of 0. The list is read again at each tap: no more registers are left.
 */
TG_INLINE void tg_gather_listed(
    uint32_t *to, const int8_t *const rows[4], const int16_t *list, int32_t live, int32_t taps, int32_t all)
{
    const int8_t *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
    for (int32_t tap = 0; tap < taps; tap++, a += all, b += all, c += all, d += all) {
        int32_t i = 0;
        for (; i < live / 4 * 4; i += 4, to += 8) {
            const int32_t p = list[i], q = list[i + 1], r = list[i + 2], s = list[i + 3];
            to[0] = tg_pair_of(a[p], a[r]);
            to[1] = tg_pair_of(b[p], b[r]);
            to[2] = tg_pair_of(c[p], c[r]);
            to[3] = tg_pair_of(d[p], d[r]);
            to[4] = tg_pair_of(a[q], a[s]);
            to[5] = tg_pair_of(b[q], b[s]);
            to[6] = tg_pair_of(c[q], c[s]);
            to[7] = tg_pair_of(d[q], d[s]);
        }
        if (live % 4 > 0) {
            const int32_t p = list[i], q = live % 4 > 1 ? list[i + 1] : p, r = live % 4 > 2 ? list[i + 2] : p;
            to[0] = tg_pair_of(a[p], live % 4 > 2 ? a[r] : 0);
            to[1] = tg_pair_of(b[p], live % 4 > 2 ? b[r] : 0);
            to[2] = tg_pair_of(c[p], live % 4 > 2 ? c[r] : 0);
            to[3] = tg_pair_of(d[p], live % 4 > 2 ? d[r] : 0);
            to[4] = tg_pair_of(live % 4 > 1 ? a[q] : 0, 0);
            to[5] = tg_pair_of(live % 4 > 1 ? b[q] : 0, 0);
            to[6] = tg_pair_of(live % 4 > 1 ? c[q] : 0, 0);
            to[7] = tg_pair_of(live % 4 > 1 ? d[q] : 0, 0);
            to += 8;
        }
    }
}

/* The same where all inputs are live. */
TG_INLINE void tg_gather_all(uint32_t *to, const int8_t *const rows[4], int32_t live, int32_t taps)
{
    const int8_t *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
    for (int32_t tap = 0; tap < taps; tap++, a += live, b += live, c += live, d += live) {
        for (int32_t i = 0; i < live; i += 4, to += 8) {
            const int32_t rest = live - i;
            to[0] = tg_pair_of(a[i], rest > 2 ? a[i + 2] : 0);
            to[1] = tg_pair_of(b[i], rest > 2 ? b[i + 2] : 0);
            to[2] = tg_pair_of(c[i], rest > 2 ? c[i + 2] : 0);
            to[3] = tg_pair_of(d[i], rest > 2 ? d[i + 2] : 0);
            to[4] = tg_pair_of(rest > 1 ? a[i + 1] : 0, rest > 3 ? a[i + 3] : 0);
            to[5] = tg_pair_of(rest > 1 ? b[i + 1] : 0, rest > 3 ? b[i + 3] : 0);
            to[6] = tg_pair_of(rest > 1 ? c[i + 1] : 0, rest > 3 ? c[i + 3] : 0);
            to[7] = tg_pair_of(rest > 1 ? d[i + 1] : 0, rest > 3 ? d[i + 3] : 0);
        }
    }
}

/* The sum of the weights of filter `i` of four, `words` words of which are gathered. */
TG_INLINE int32_t tg_sum_of_filter(const uint32_t *w, int32_t i, int32_t words)
{
    int32_t sum = 0;
    for (; i < words; i += 4) {
        sum = tg_smlad(w[i], 0x00010001U, sum);
    }
    return sum;
}

/*
 * The same as bytes, tap by tap those of four filters, for tg_dot_4x4(); all inputs are live where there is no list.
 */
TG_INLINE void tg_gather_bytes(
    int8_t *to, const int8_t *const rows[4], const int16_t *list, int32_t live, int32_t taps, int32_t all)
{
    const int8_t *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
    for (int32_t tap = 0; tap < taps; tap++, a += all, b += all, c += all, d += all) {
        for (int32_t i = 0; i < live; i++, to += 4) {
            const int32_t p = list == NULL ? i : list[i];
            to[0] = a[p];
            to[1] = b[p];
            to[2] = c[p];
            to[3] = d[p];
        }
    }
}

/*
 * Either of both layouts, from rows of codes of `bits` bits, the first in the lowest ones, that stand for `values`.
 * `wide`: pairs of int16, inputs that fill up fours with weights of 0; else bytes. bits and `wide` must be constants.
 */
TG_INLINE void tg_gather_packed(
    void *to, const uint8_t *const rows[4], const int16_t *list, int32_t live, int32_t taps, int32_t all, int32_t bits,
    const int8_t *values, int32_t wide)
{
    const uint8_t *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
    const uint32_t mask = (1U << bits) - 1U;
    const int32_t filled = wide != 0 ? (live + 3) / 4 * 4 : live;
    int8_t *at = to;
    for (int32_t first = 0; first < taps * all; first += all) {
        for (int32_t i = 0; i < filled; i++) {
            int32_t four[4] = {0, 0, 0, 0};
            if (i < live) {
                const int32_t bit = (first + (list == NULL ? i : list[i])) * bits;
                const int32_t place = bit / 8, shift = bit % 8;
                four[0] = values[(uint32_t)a[place] >> shift & mask];
                four[1] = values[(uint32_t)b[place] >> shift & mask];
                four[2] = values[(uint32_t)c[place] >> shift & mask];
                four[3] = values[(uint32_t)d[place] >> shift & mask];
            }
            if (wide != 0) {
                /* Words of channels 0 and 2, then of 1 and 3; two bytes at a time, words to those who read them. */
                int8_t *const pair = at + i / 4 * 32 + i % 2 * 16 + i / 2 % 2 * 2;
                for (int32_t f = 0; f < 4; f++) {
                    const int16_t half = (int16_t)four[f];
                    TG_COPY(pair + 4 * f, &half, sizeof half);
                }
            } else {
                for (int32_t f = 0; f < 4; f++) {
                    at[4 * i + f] = (int8_t)four[f];
                }
            }
        }
        at += (wide != 0 ? 8 : 4) * filled;
    }
}

/* The sum of the weights of filter `i` of four, `count` bytes of which are gathered. */
TG_INLINE int32_t tg_sum_of_bytes(const int8_t *w, int32_t i, int32_t count)
{
    int32_t sum = 0;
    for (; i < count; i += 4) {
        sum += w[i];
    }
    return sum;
}

#endif
