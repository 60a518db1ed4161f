/* Convolutions whose numbers of live channels are known when they run: the loop that multiplies them. */
#ifndef TINYGEN_LIVE_H
#define TINYGEN_LIVE_H

#include <stdint.h>

#include "tinygen_dot.h"
#include "tinygen_simd.h"

/*
 * tg_dot_2x4() for pixels that lie side by side, and `pairs` that only the program knows: a multiple of `unit`. `rows`
 * and `unit` must be constants, `unit` even.
 */
TG_INLINE void tg_dot_live(
    int32_t sums[8], const uint32_t *x, const uint32_t *w, int32_t rows, int32_t pairs, int32_t pitch, int32_t unit)
{
#if TG_IN_REGISTERS
    int32_t a0 = sums[0], a1 = sums[1], b0 = sums[2], b1 = sums[3];
    int32_t c0 = sums[4], c1 = sums[5], d0 = sums[6], d1 = sums[7];
    uint32_t x0, x1, u, v;
    const int32_t step = 2, apart = 1;
    const int32_t together = unit % 8 == 0    ? 8
                             : unit % 10 == 0 ? 10
                             : unit % 14 == 0 ? 7
                             : unit % 4 == 0  ? 4
                             : unit % 6 == 0  ? 6
                                              : 2;
    TG_DOT_2X4_START();
    TG_KEEP(last, (uint32_t)w + (uint32_t)(16 * pairs * rows));
    TG_KEEP(piece, 16 * pairs);
    TG_KEEP(jump, 4 * (pitch - (pairs + TG_DOT_2X4_MOVED) * step));
    tg_fence();
    do {
        TG_RECALL(v, piece);
        v += (uint32_t)w;
        TG_KEEP(end, v);
        TG_DOT_2X4_BEGIN();
        do {
            TG_DOT_2X4_STEP(0);
            TG_DOT_2X4_STEP(1);
            if (together > 2) {
                TG_DOT_2X4_STEP(2);
                TG_DOT_2X4_STEP(3);
            }
            if (together > 4) {
                TG_DOT_2X4_STEP(4);
                TG_DOT_2X4_STEP(5);
            }
            if (together > 6) {
                TG_DOT_2X4_STEP(6);
            }
            if (together > 7) {
                TG_DOT_2X4_STEP(7);
            }
            if (together > 8) {
                TG_DOT_2X4_STEP(8);
                TG_DOT_2X4_STEP(9);
            }
            TG_RECALL(v, end);
        } while ((uint32_t)w != v);
        if (rows > 1) {
            TG_RECALL(v, jump);
            x = (const uint32_t *)((uint32_t)x + v);
            TG_RECALL(v, last);
        }
    } while (rows > 1 && (uint32_t)w != v);
    tg_fence();
    sums[0] = a0, sums[1] = a1, sums[2] = b0, sums[3] = b1;
    sums[4] = c0, sums[5] = c1, sums[6] = d0, sums[7] = d1;
#else
    (void)unit;
    tg_dot_2x4(sums, x, w, rows, pairs, pitch, 2, 1);
#endif
}

#endif
