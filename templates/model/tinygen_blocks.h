/*
 * Products of the live blocks of sparse rows: pairs and fours of neighbours in a row, squares and tiles of several
 * rows.
 */
#ifndef TINYGEN_BLOCKS_H
#define TINYGEN_BLOCKS_H

#include <stdint.h>

#include "tinygen_dot.h"
#include "tinygen_simd.h"
#include "tinygen_sparse.h"

/*
 * Blocks of neighbouring weights, four at a time: their activations are pairs of int16, and a byte is how many bytes
 * the block's first pair is behind that of the block before. The word of bytes stands before the weights' words; one
 * group of words behind the last may be read.
 *
 * tg_dot_pairs: blocks of 1 x 2; a word has two blocks, as bytes 0 and 2, and 1 and 3.
 * tg_dot_fours: blocks of 1 x 4, a word each, as 0, 2, 1, 3.
 * tg_dot_squares: blocks of 2 outputs x 2 inputs, a word each: bytes 0 and 2 are the first output's.
 */
TG_INLINE int32_t tg_dot_pairs(int32_t sum, const uint8_t *x, const uint32_t *w, int32_t pieces)
{
    uint32_t d, u, v, a, b, c, e, t;
    const uint8_t *p, *q, *r;
    tg_fence();
    TG_WORD(d, w, 0);
    TG_WORD(u, w, 1);
    TG_WORD(v, w, 2);
    for (; pieces > 0; pieces--) {
        TG_STEP_0(p, x, d);
        TG_STEP(q, p, d, 1);
#if TG_DUAL_ISSUE
        TG_EVEN_BYTES(t, u);
        TG_WORD(a, p, 0);
        TG_STEP(r, q, d, 2);
        TG_WORD(b, q, 0);
        TG_STEP(x, r, d, 3);
        tg_mac(&sum, t, a);
        TG_ODD_BYTES(u, u);
        TG_WORD(c, r, 0);
        TG_EVEN_BYTES(t, v);
        TG_WORD(e, x, 0);
        TG_ODD_BYTES(v, v);
        tg_mac(&sum, u, b);
        TG_WORD(d, w, 3);
        TG_WORD(u, w, 4);
        tg_mac(&sum, t, c);
        TG_ON(w, 3);
        tg_mac(&sum, v, e);
        TG_WORD(v, w, 2);
#else
        TG_STEP(r, q, d, 2);
        TG_STEP(x, r, d, 3);
        TG_EVEN_BYTES(t, u);
        TG_ODD_BYTES(u, u);
        TG_WORD(a, p, 0);
        TG_WORD(b, q, 0);
        TG_WORD(c, r, 0);
        TG_WORD(e, x, 0);
        TG_WORD(d, w, 3);
        tg_mac(&sum, t, a);
        TG_EVEN_BYTES(t, v);
        tg_mac(&sum, u, b);
        TG_ODD_BYTES(v, v);
        tg_mac(&sum, t, c);
        tg_mac(&sum, v, e);
        TG_WORD(u, w, 4);
        TG_WORD(v, w, 5);
        TG_ON(w, 3);
#endif
    }
    tg_fence();
    return sum;
}

TG_INLINE int32_t tg_dot_fours(int32_t sum, const uint8_t *x, const uint32_t *w, int32_t pieces)
{
#if TG_DUAL_ISSUE
    /* The last product is added when the next piece has begun. */
    uint32_t d, u, v = 0, a, b = 0, t;
    const uint8_t *p;
    tg_fence();
    TG_WORD(d, w, 0);
    TG_WORD(u, w, 1);
    for (; pieces > 0; pieces--) {
        TG_STEP_0(p, x, d);
        tg_mac(&sum, v, b);
        TG_EVEN_BYTES(t, u);
        TG_WORD(v, w, 2);
        TG_ODD_BYTES(u, u);
        TG_WORD(a, p, 0);
        TG_STEP(x, p, d, 1);
        TG_WORD(b, p, 1);
        tg_mac(&sum, t, a);
        TG_EVEN_BYTES(t, v);
        tg_mac(&sum, u, b);
        TG_ODD_BYTES(v, v);
        TG_WORD(a, x, 0);
        TG_STEP(p, x, d, 2);
        TG_WORD(b, x, 1);
        TG_WORD(u, w, 3);
        tg_mac(&sum, t, a);
        TG_EVEN_BYTES(t, u);
        tg_mac(&sum, v, b);
        TG_ODD_BYTES(u, u);
        TG_WORD(a, p, 0);
        TG_STEP(x, p, d, 3);
        TG_WORD(b, p, 1);
        TG_WORD(v, w, 4);
        tg_mac(&sum, t, a);
        TG_EVEN_BYTES(t, v);
        tg_mac(&sum, u, b);
        TG_ODD_BYTES(v, v);
        TG_WORD(a, x, 0);
        TG_WORD(b, x, 1);
        TG_WORD(d, w, 5);
        TG_WORD(u, w, 6);
        tg_mac(&sum, t, a);
        TG_ON(w, 5);
    }
    tg_mac(&sum, v, b);
#else
    uint32_t d, u, v, a, b, c, e, t;
    const uint8_t *p;
    tg_fence();
    for (; pieces > 0; pieces--) {
        TG_WORD(d, w, 0);
        TG_WORD(u, w, 1);
        TG_WORD(v, w, 2);
        TG_STEP_0(p, x, d);
        TG_STEP(x, p, d, 1);
        TG_EVEN_BYTES(t, u);
        TG_WORD(a, p, 0);
        TG_WORD(b, p, 1);
        TG_WORD(c, x, 0);
        TG_WORD(e, x, 1);
        TG_ODD_BYTES(u, u);
        tg_mac(&sum, t, a);
        tg_mac(&sum, u, b);
        TG_EVEN_BYTES(t, v);
        TG_ODD_BYTES(v, v);
        tg_mac(&sum, t, c);
        tg_mac(&sum, v, e);
        TG_STEP(p, x, d, 2);
        TG_STEP(x, p, d, 3);
        TG_WORD(u, w, 3);
        TG_WORD(v, w, 4);
        TG_WORD(a, p, 0);
        TG_WORD(b, p, 1);
        TG_WORD(c, x, 0);
        TG_WORD(e, x, 1);
        TG_EVEN_BYTES(t, u);
        TG_ODD_BYTES(u, u);
        tg_mac(&sum, t, a);
        tg_mac(&sum, u, b);
        TG_EVEN_BYTES(t, v);
        TG_ODD_BYTES(v, v);
        tg_mac(&sum, t, c);
        tg_mac(&sum, v, e);
        TG_ON(w, 5);
    }
#endif
    tg_fence();
    return sum;
}

TG_INLINE void tg_dot_squares(int32_t sums[2], const uint8_t *x, const uint32_t *w, int32_t pieces)
{
    uint32_t d, u, v, a, b, t;
    int32_t first = sums[0], second = sums[1];
    tg_fence();
    for (; pieces > 0; pieces--) {
        TG_WORD(d, w, 0);
        TG_WORD(u, w, 1);
        TG_WORD(v, w, 2);
        TG_STEP_0(x, x, d);
        TG_EVEN_BYTES(t, u);
        TG_WORD(a, x, 0);
        TG_STEP(x, x, d, 1);
        TG_ODD_BYTES(u, u);
        TG_WORD(b, x, 0);
        TG_STEP(x, x, d, 2);
        tg_mac(&first, t, a);
        TG_EVEN_BYTES(t, v);
        tg_mac(&second, u, a);
        TG_WORD(u, w, 3);
        TG_ODD_BYTES(v, v);
        tg_mac(&first, t, b);
        TG_WORD(a, x, 0);
        tg_mac(&second, v, b);
        TG_STEP(x, x, d, 3);
        TG_WORD(v, w, 4);
        TG_EVEN_BYTES(t, u);
        TG_WORD(b, x, 0);
        TG_ODD_BYTES(u, u);
        tg_mac(&first, t, a);
        TG_EVEN_BYTES(t, v);
        tg_mac(&second, u, a);
        TG_ODD_BYTES(v, v);
        tg_mac(&first, t, b);
        TG_ON(w, 5);
        tg_mac(&second, v, b);
    }
    tg_fence();
    sums[0] = first, sums[1] = second;
}

/*
 * Adds 256 times the products of 4 outputs over `tiles` tiles of 4 x 4, modulo 2^32: tg_dot_1x4() with gaps.
 *
 * x: from tg_extend_dense(); steps: how many fours each tile is behind the last; weights: [tiles][4 outputs], see
 * there. One step behind the last may be read.
 */
TG_INLINE void tg_dot_tiles(
    int32_t sums[4], const uint32_t *x, const uint8_t *steps, const int8_t *weights, int32_t tiles)
{
#if TG_IN_REGISTERS
    const uint32_t *w = (const uint32_t *)(const void *)weights;
    int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
    uint32_t x0, x1, u, v, s, t;
    x += 2 * *steps++;
    TG_KEEP(end, w + 4 * tiles);
    tg_fence();
    do {
        TG_LOAD(x0, x, 0);
        TG_LOAD(x1, x, 1);
        TG_LOAD(u, w, 0);
        TG_LOAD(v, w, 1);
        TG_LOAD(s, w, 2);
        TG_LOAD(t, w, 3);
        TG_MAC(a, u, x0);
        TG_EXTEND(u);
        TG_MAC(b, v, x0);
        TG_EXTEND(v);
        TG_MAC(c, s, x0);
        TG_EXTEND(s);
        TG_MAC(d, t, x0);
        TG_EXTEND(t);
        __asm__ volatile("ldrb %0, [%1], #1" : "=r"(x0), "+r"(steps));
        TG_MAC(a, u, x1);
        TG_ADVANCE(w, 4);
        TG_MAC(b, v, x1);
        TG_MAC(c, s, x1);
        __asm__ volatile("add %0, %0, %1, lsl #3" : "+r"(x) : "r"(x0));
        TG_MAC(d, t, x1);
        TG_RECALL(x1, end);
    } while ((uint32_t)w != x1);
    tg_fence();
    sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
#else
    for (int32_t tile = 0; tile < tiles; tile++) {
        x += 2 * steps[tile];
        for (int32_t i = 0; i < 4; i++) {
            const uint32_t word = tg_load32(weights + 16 * tile + 4 * i);
            sums[i] = tg_smlad(word, x[0], sums[i]);
            sums[i] = tg_smlad(tg_sxtb16(word), x[1], sums[i]);
        }
    }
#endif
}

#endif
