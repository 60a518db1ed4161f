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

#endif
