/*
 * Products of the live weights of sparse rows. Where the next one stands is written as the way from the last one: a
 * byte of a word, which one instruction takes out and adds to a pointer. Loads and products are written down one by
 * one, as in tinygen_dot.h.
 */
#ifndef TINYGEN_SPARSE_H
#define TINYGEN_SPARSE_H

#include <stdint.h>

#include "tinygen_dot.h"
#include "tinygen_simd.h"

#if TG_HAVE_DSP && defined(__OPTIMIZE__)
/* to = from + byte n of `steps`, in bytes. */
#define TG_STEP(to, from, steps, n)                                                                          \
    __asm__ volatile("uxtab %0, %1, %2, ror %3" : "=r"(to) : "r"(from), "r"(steps), "i"(8 * (n)))
#define TG_STEP_0(to, from, steps) __asm__ volatile("uxtab %0, %1, %2" : "=r"(to) : "r"(from), "r"(steps))
/* value = the code at `from`, n bytes further. */
#define TG_CODE_S8(value, from, n) __asm__ volatile("ldrsb %0, [%1, %2]" : "=r"(value) : "r"(from), "i"(n))
#define TG_CODE_U8(value, from, n) __asm__ volatile("ldrb %0, [%1, %2]" : "=r"(value) : "r"(from), "i"(n))
/* to = the word at `from`, n words further. */
#define TG_WORD(to, from, n) __asm__ volatile("ldr %0, [%1, %2]" : "=r"(to) : "r"(from), "i"(4 * (n)))
#define TG_EVEN_BYTES(to, word) __asm__ volatile("sxtb16 %0, %1" : "=r"(to) : "r"(word))
#define TG_ODD_BYTES(to, word) __asm__ volatile("sxtb16 %0, %1, ror #8" : "=r"(to) : "r"(word))
#define TG_ON(words, n) __asm__ volatile("add %0, %0, %1" : "+r"(words) : "i"(4 * (n)))
#else
#define TG_STEP(to, from, steps, n) ((to) = (from) + (((steps) >> (8 * (n))) & 0xFFU))
#define TG_STEP_0(to, from, steps) ((to) = (from) + ((steps) & 0xFFU))
#define TG_CODE_S8(value, from, n) ((value) = (uint32_t)(int32_t)(from)[n])
#define TG_CODE_U8(value, from, n) ((value) = (uint32_t)(uint8_t)(from)[n])
#define TG_WORD(to, from, n) ((to) = tg_load32((const uint8_t *)(const void *)(from) + 4 * (n)))
#define TG_EVEN_BYTES(to, word) ((to) = tg_sxtb16(word))
#define TG_ODD_BYTES(to, word) ((to) = tg_sxtb16_odd(word))
#define TG_ON(words, n) ((words) += (n))
#endif

/* Four weights. Their words were loaded in the piece before; those of the next one are loaded on the way. */
#if TG_DUAL_ISSUE
/* The second two products are added in the next piece, when their activations have come. */
#define TG_STEPS_PIECE(CODE, at)                                                                             \
    TG_STEP_0(p, x, e);                                                                                      \
    tg_mac_bb(&sum, v, c);                                                                                   \
    TG_STEP(q, p, e, 2);                                                                                     \
    tg_mac_tb(&sum, v, d);                                                                                   \
    TG_ODD_BYTES(u, e);                                                                                      \
    CODE(a, p, 0);                                                                                           \
    TG_STEP_0(r, q, f);                                                                                      \
    CODE(b, q, 0);                                                                                           \
    TG_STEP(x, r, f, 2);                                                                                     \
    TG_WORD(e, w, (at) + 2);                                                                                 \
    TG_ODD_BYTES(v, f);                                                                                      \
    CODE(c, r, 0);                                                                                           \
    CODE(d, x, 0);                                                                                           \
    tg_mac_bb(&sum, u, a);                                                                                   \
    TG_WORD(f, w, (at) + 3);                                                                                 \
    tg_mac_tb(&sum, u, b)
#define TG_STEPS_END()                                                                                       \
    tg_mac_bb(&sum, v, c);                                                                                   \
    tg_mac_tb(&sum, v, d)
#else
#define TG_STEPS_PIECE(CODE, at)                                                                             \
    TG_STEP_0(p, x, e);                                                                                      \
    TG_STEP(q, p, e, 2);                                                                                     \
    TG_STEP_0(r, q, f);                                                                                      \
    TG_STEP(x, r, f, 2);                                                                                     \
    TG_ODD_BYTES(u, e);                                                                                      \
    TG_ODD_BYTES(v, f);                                                                                      \
    CODE(a, p, 0);                                                                                           \
    CODE(b, q, 0);                                                                                           \
    CODE(c, r, 0);                                                                                           \
    CODE(d, x, 0);                                                                                           \
    TG_WORD(e, w, (at) + 2);                                                                                 \
    TG_WORD(f, w, (at) + 3);                                                                                 \
    tg_mac_bb(&sum, u, a);                                                                                   \
    tg_mac_tb(&sum, u, b);                                                                                   \
    tg_mac_bb(&sum, v, c);                                                                                   \
    tg_mac_tb(&sum, v, d)
#define TG_STEPS_END()
#endif

/*
 * sum + the products of single weights. A word has two of them, from its lowest byte: bytes from the last activation,
 * weight, bytes from there, weight.
 *
 * w: `pieces` times two words; two more may be read.
 */
#define TG_DOT_STEPS(NAME, TYPE, CODE)                                                                       \
    TG_INLINE int32_t NAME(int32_t sum, const TYPE *x, const uint32_t *w, int32_t pieces)                    \
    {                                                                                                        \
        uint32_t e, f, u, v = 0, a, b, c = 0, d = 0;                                                         \
        const TYPE *p, *q, *r;                                                                               \
        tg_fence();                                                                                          \
        TG_WORD(e, w, 0);                                                                                    \
        TG_WORD(f, w, 1);                                                                                    \
        for (int32_t i = pieces >> 1; i > 0; i--) {                                                          \
            TG_STEPS_PIECE(CODE, 0);                                                                         \
            TG_STEPS_PIECE(CODE, 2);                                                                         \
            TG_ON(w, 4);                                                                                     \
        }                                                                                                    \
        if ((pieces & 1) != 0) {                                                                             \
            TG_STEPS_PIECE(CODE, 0);                                                                         \
        }                                                                                                    \
        TG_STEPS_END();                                                                                      \
        tg_fence();                                                                                          \
        return sum;                                                                                          \
    }

TG_DOT_STEPS(tg_dot_steps, int8_t, TG_CODE_S8)
TG_DOT_STEPS(tg_dot_steps_unsigned, uint8_t, TG_CODE_U8)

#if TG_DUAL_ISSUE
#define TG_STEPS_2_PIECE(CODE)                                                                               \
    TG_STEP_0(p, x, e);                                                                                      \
    tg_mac_tb(&sum, f, c);                                                                                   \
    TG_STEP(x, p, e, 2);                                                                                     \
    tg_mac_tb(&other, f, d);                                                                                 \
    TG_ODD_BYTES(e, e);                                                                                      \
    CODE(a, p, 0);                                                                                           \
    TG_WORD(f, w, 1);                                                                                        \
    CODE(b, p, apart);                                                                                       \
    TG_STEP_0(p, x, f);                                                                                      \
    CODE(c, x, 0);                                                                                           \
    CODE(d, x, apart);                                                                                       \
    tg_mac_bb(&sum, e, a);                                                                                   \
    TG_STEP(x, p, f, 2);                                                                                     \
    tg_mac_bb(&other, e, b);                                                                                 \
    CODE(a, p, 0);                                                                                           \
    tg_mac_tb(&sum, e, c);                                                                                   \
    TG_ODD_BYTES(f, f);                                                                                      \
    CODE(b, p, apart);                                                                                       \
    CODE(c, x, 0);                                                                                           \
    tg_mac_tb(&other, e, d);                                                                                 \
    TG_WORD(e, w, 2);                                                                                        \
    tg_mac_bb(&sum, f, a);                                                                                   \
    CODE(d, x, apart);                                                                                       \
    tg_mac_bb(&other, f, b)
#define TG_STEPS_2_END()                                                                                     \
    tg_mac_tb(&sum, f, c);                                                                                   \
    tg_mac_tb(&other, f, d)
#else
#define TG_STEPS_2_PIECE(CODE)                                                                               \
    TG_STEP_0(p, x, e);                                                                                      \
    TG_STEP(x, p, e, 2);                                                                                     \
    TG_ODD_BYTES(e, e);                                                                                      \
    CODE(a, p, 0);                                                                                           \
    CODE(b, p, apart);                                                                                       \
    CODE(c, x, 0);                                                                                           \
    CODE(d, x, apart);                                                                                       \
    TG_WORD(f, w, 1);                                                                                        \
    tg_mac_bb(&sum, e, a);                                                                                   \
    tg_mac_bb(&other, e, b);                                                                                 \
    tg_mac_tb(&sum, e, c);                                                                                   \
    tg_mac_tb(&other, e, d);                                                                                 \
    TG_STEP_0(p, x, f);                                                                                      \
    TG_STEP(x, p, f, 2);                                                                                     \
    TG_ODD_BYTES(f, f);                                                                                      \
    CODE(a, p, 0);                                                                                           \
    CODE(b, p, apart);                                                                                       \
    CODE(c, x, 0);                                                                                           \
    CODE(d, x, apart);                                                                                       \
    TG_WORD(e, w, 2);                                                                                        \
    tg_mac_bb(&sum, f, a);                                                                                   \
    tg_mac_bb(&other, f, b);                                                                                 \
    tg_mac_tb(&sum, f, c);                                                                                   \
    tg_mac_tb(&other, f, d)
#define TG_STEPS_2_END()
#endif

/* The same for two rows of activations, `apart` codes from each other: a constant of at most 4095. */
#define TG_DOT_STEPS_2(NAME, TYPE, CODE)                                                                     \
    TG_INLINE void NAME(                                                                                     \
        int32_t *first, int32_t *second, const TYPE *x, int32_t apart, const uint32_t *w, int32_t pieces)    \
    {                                                                                                        \
        int32_t sum = *first, other = *second;                                                               \
        uint32_t e, f = 0, a, b, c = 0, d = 0;                                                               \
        const TYPE *p;                                                                                       \
        tg_fence();                                                                                          \
        TG_WORD(e, w, 0);                                                                                    \
        for (; pieces > 0; pieces--) {                                                                       \
            TG_STEPS_2_PIECE(CODE);                                                                          \
            TG_ON(w, 2);                                                                                     \
        }                                                                                                    \
        TG_STEPS_2_END();                                                                                    \
        tg_fence();                                                                                          \
        *first = sum, *second = other;                                                                       \
    }

TG_DOT_STEPS_2(tg_dot_steps_2, int8_t, TG_CODE_S8)
TG_DOT_STEPS_2(tg_dot_steps_unsigned_2, uint8_t, TG_CODE_U8)

/*
 * Blocks of neighbouring weights, four at a time: their activations are pairs of int16, and a byte is how many bytes the
 * block's first pair is behind that of the block before. The word of bytes stands before the weights' words; one
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
 * x: from tg_spread_dense(); steps: how many fours each tile is behind the last; weights: [tiles][4 outputs], see there.
 * One step behind the last may be read.
 */
TG_INLINE void tg_dot_tiles(int32_t sums[4], const uint32_t *x, const uint8_t *steps, const int8_t *weights, int32_t tiles)
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

/*
 * Four weights of groups of which only some are alive: where they stand in their groups is in the bytes of `at`, the
 * groups are n0 to n3 bytes behind x. `word` has the weights as 0, 2, 1, 3; the second two products are added by the
 * next four, or by TG_CHOSEN_END. They are added to sum0.
 */
#if TG_DUAL_ISSUE
#define TG_CHOSEN_LOCALS(TYPE)                                                                               \
    const TYPE *p, *q;                                                                                       \
    uint32_t a, b, c = 0, d = 0, u, v = 0, e, at, places
#define TG_CHOSEN(CODE, x, at, word, n0, n1, n2, n3)                                                         \
    TG_STEP_0(p, x, at);                                                                                     \
    tg_mac_bb(&sum0, v, c);                                                                                   \
    TG_STEP(q, x, at, 1);                                                                                    \
    tg_mac_tb(&sum0, v, d);                                                                                   \
    TG_EVEN_BYTES(u, word);                                                                                  \
    CODE(a, p, n0);                                                                                          \
    TG_STEP(p, x, at, 2);                                                                                    \
    CODE(b, q, n1);                                                                                          \
    TG_STEP(q, x, at, 3);                                                                                    \
    tg_mac_bb(&sum0, u, a);                                                                                   \
    TG_ODD_BYTES(v, word);                                                                                   \
    CODE(c, p, n2);                                                                                          \
    tg_mac_tb(&sum0, u, b);                                                                                   \
    CODE(d, q, n3)
#define TG_CHOSEN_END()                                                                                      \
    tg_mac_bb(&sum0, v, c);                                                                                   \
    tg_mac_tb(&sum0, v, d)
#else
#define TG_CHOSEN_LOCALS(TYPE)                                                                               \
    const TYPE *p, *q, *r, *s;                                                                               \
    uint32_t a, b, c, d, u, v, e, at, places
#define TG_CHOSEN(CODE, x, at, word, n0, n1, n2, n3)                                                         \
    TG_STEP_0(p, x, at);                                                                                     \
    TG_STEP(q, x, at, 1);                                                                                    \
    TG_STEP(r, x, at, 2);                                                                                    \
    TG_STEP(s, x, at, 3);                                                                                    \
    TG_EVEN_BYTES(u, word);                                                                                  \
    TG_ODD_BYTES(v, word);                                                                                   \
    CODE(a, p, n0);                                                                                          \
    CODE(b, q, n1);                                                                                          \
    CODE(c, r, n2);                                                                                          \
    CODE(d, s, n3);                                                                                          \
    tg_mac_bb(&sum0, u, a);                                                                                   \
    tg_mac_tb(&sum0, u, b);                                                                                   \
    tg_mac_bb(&sum0, v, c);                                                                                   \
    tg_mac_tb(&sum0, v, d)
#define TG_CHOSEN_END()
#endif

/*
 * Each four codes as the six pairs that can be chosen of them: 0 1, 0 2, 0 3, 1 2, 1 3, 2 3. The last four are filled
 * with zeros.
 */
TG_INLINE void tg_spread_choices(uint32_t *to, const int8_t *from, int32_t count)
{
    for (int32_t i = 0; i < count; i += 4, to += 6) {
        uint32_t word = 0;
        TG_COPY(&word, from + i, count - i < 4 ? (uint32_t)(count - i) : 4U);
        const uint32_t even = tg_sxtb16(word);
        const uint32_t odd = tg_sxtb16_odd(word);
        to[0] = (even & 0xFFFFU) | (odd << 16);
        to[1] = even;
        to[2] = (even & 0xFFFFU) | (odd & 0xFFFF0000U);
        to[3] = (odd & 0xFFFFU) | (even & 0xFFFF0000U);
        to[4] = odd;
        to[5] = (even >> 16) | (odd & 0xFFFF0000U);
    }
}

/*
 * Two weights each of four groups of four: the bytes of `at` say which of their six pairs, from tg_spread_choices().
 * The words have two groups each, as bytes 0 and 2, and 1 and 3. They are added to sum0.
 */
#if TG_DUAL_ISSUE
#define TG_CHOSEN_PAIRS_LOCALS()                                                                             \
    const uint8_t *p, *q;                                                                                    \
    uint32_t a, b, u, v, e, f, at, places
#define TG_CHOSEN_PAIRS(x, at, g, first, second)                                                             \
    TG_STEP_0(p, x, at);                                                                                     \
    TG_STEP(q, x, at, 1);                                                                                    \
    TG_EVEN_BYTES(u, first);                                                                                 \
    TG_WORD(a, p, 6 * (g));                                                                                  \
    TG_STEP(p, x, at, 2);                                                                                    \
    TG_WORD(b, q, 6 * (g) + 6);                                                                              \
    TG_STEP(q, x, at, 3);                                                                                    \
    tg_mac(&sum0, u, a);                                                                                      \
    TG_ODD_BYTES(v, first);                                                                                  \
    TG_WORD(a, p, 6 * (g) + 12);                                                                             \
    TG_EVEN_BYTES(u, second);                                                                                \
    tg_mac(&sum0, v, b);                                                                                      \
    TG_ODD_BYTES(v, second);                                                                                 \
    TG_WORD(b, q, 6 * (g) + 18);                                                                             \
    tg_mac(&sum0, u, a);                                                                                      \
    tg_mac(&sum0, v, b)
#else
#define TG_CHOSEN_PAIRS_LOCALS()                                                                             \
    const uint8_t *p, *q, *r, *s;                                                                            \
    uint32_t a, b, c, d, u, v, e, f, at, places
#define TG_CHOSEN_PAIRS(x, at, g, first, second)                                                             \
    TG_STEP_0(p, x, at);                                                                                     \
    TG_STEP(q, x, at, 1);                                                                                    \
    TG_STEP(r, x, at, 2);                                                                                    \
    TG_STEP(s, x, at, 3);                                                                                    \
    TG_EVEN_BYTES(u, first);                                                                                 \
    TG_ODD_BYTES(v, first);                                                                                  \
    TG_WORD(a, p, 6 * (g));                                                                                  \
    TG_WORD(b, q, 6 * (g) + 6);                                                                              \
    TG_WORD(c, r, 6 * (g) + 12);                                                                             \
    TG_WORD(d, s, 6 * (g) + 18);                                                                             \
    tg_mac(&sum0, u, a);                                                                                      \
    TG_EVEN_BYTES(u, second);                                                                                \
    tg_mac(&sum0, v, b);                                                                                      \
    TG_ODD_BYTES(v, second);                                                                                 \
    tg_mac(&sum0, u, c);                                                                                      \
    tg_mac(&sum0, v, d)
#endif

#endif
