/*
 * Products of many taps: the inner loops of convolutions and dense layers. Each has a portable twin beside the one for
 * Armv7E-M, whose loads and products are written down one by one.
 */
#ifndef TINYGEN_DOT_H
#define TINYGEN_DOT_H

#include <stdint.h>

#include "tinygen_simd.h"

#if TG_HAVE_DSP && defined(__OPTIMIZE__)
#define TG_IN_REGISTERS 1
#define TG_LOAD(to, words, n) ((to) = tg_load(words, n))
#define TG_MAC(sum, a, b) tg_mac(&(sum), a, b)
#define TG_EXTEND(word) __asm__ volatile("sxtb16 %0, %0" : "+r"(word))
/* pointer += n, and no second counter beside it. */
#define TG_ADVANCE(words, n) __asm__ volatile("add %0, %0, %1" : "+r"(words) : "i"(4 * (n)))
/* The end of a loop is kept where it takes no core register: in the FPU, if there is one. */
#if defined(__ARM_FP)
#define TG_KEEP(name, pointer)                                                                               \
    float name;                                                                                              \
    __asm__("vmov %0, %1" : "=t"(name) : "r"(pointer))
#define TG_RECALL(word, name) __asm__ volatile("vmov %0, %1" : "=r"(word) : "t"(name))
#else
#define TG_KEEP(name, pointer) const uint32_t name = (uint32_t)(pointer)
#define TG_RECALL(word, name) ((word) = (name))
#endif
/* Whether a loop goes on, its end being recalled to `word`. */
#define TG_BEFORE(words, end, word) ((uint32_t)(words) != (word))
#else
#define TG_IN_REGISTERS 0
#define TG_LOAD(to, words, n) ((to) = (words)[n])
#define TG_MAC(sum, a, b) tg_mac(&(sum), a, b)
#define TG_ADVANCE(words, n) ((words) += (n))
#define TG_KEEP(name, pointer) (void)(pointer)
#define TG_RECALL(word, name) (void)(word)
#define TG_BEFORE(words, end, word) ((words) != (end))
#endif

#if TG_IN_REGISTERS
/* The same into the register that `to` has had before: a choice less for compilers, where all registers are taken. */
#define TG_RELOAD(to, words, n)                                                                              \
    __asm__ volatile("ldr %0, [%1, %2]" : "+r"(to) : "r"(words), "i"(4 * (n)))
/* The same, then words += n; n must be below 64. */
#define TG_RELOAD_AND_MOVE(to, words, n)                                                                     \
    __asm__ volatile("ldr %0, [%1, %2]!" : "+r"(to), "+r"(words) : "i"(4 * (n)))
/* A word behind its pointer, which moves there; n must be below 64. */
#define TG_LOAD_AND_MOVE(to, words, n)                                                                       \
    __asm__ volatile("ldr %0, [%1, %2]!" : "=&r"(to), "+&r"(words) : "i"(4 * (n)))
/* A word, which moves its pointer along. */
#define TG_TAKE(to, words) __asm__ volatile("ldr %0, [%1], #4" : "=&r"(to), "+&r"(words))
/* One instruction for two words that lie side by side, which moves its pointer along: by them, or by n words. */
#define TG_TAKE_TWO(first, second, words) TG_TAKE_TWO_OF(first, second, words, 2)
#define TG_TAKE_TWO_OF(first, second, words, n)                                                              \
    __asm__ volatile("ldrd %0, %1, [%2], %3" : "=&r"(first), "=&r"(second), "+&r"(words) : "i"(4 * (n)))
#endif

#if TG_IN_REGISTERS && TG_DUAL_ISSUE
/*
 * Pair n of the taps beside loads for what comes two cycles later, in the end for the next pair; the last pair of a
 * turn moves the pointers along.
 */
#define TG_DOT_2X4_START() (void)0
#define TG_DOT_2X4_BEGIN()                                                                                   \
    TG_LOAD(x0, x, 0);                                                                                       \
    TG_LOAD(x1, x, apart);                                                                                   \
    TG_LOAD(u, w, 0)
#define TG_DOT_2X4_LAST(end)                                                                                 \
    "smlad %[c0], %[u], %[x0], %[c0]\n\tldr %[v], [%[w], %[at] + 12]\n\t"                                    \
    "smlad %[c1], %[u], %[x1], %[c1]\n\tldr %[u], [%[w], %[at] + 16" end "\n\t"                              \
    "smlad %[d0], %[v], %[x0], %[d0]\n\tldr %[x0], [%[x], %[next]" end "\n\t"                                \
    "smlad %[d1], %[v], %[x1], %[d1]\n\tldr %[x1], [%[x], %[other]]"
#define TG_DOT_2X4_SUMS                                                                                      \
    [c0] "+r"(c0), [c1] "+r"(c1), [d0] "+r"(d0), [d1] "+r"(d1), [x0] "+r"(x0), [x1] "+r"(x1), [u] "+r"(u),   \
        [v] "=&r"(v)
#define TG_DOT_2X4_HALVES(n)                                                                                 \
    __asm__ volatile("smlad %[a0], %[u], %[x0], %[a0]\n\tldr %[v], [%[w], %[at] + 4]\n\t"                    \
                     "smlad %[a1], %[u], %[x1], %[a1]\n\tsmlad %[b0], %[v], %[x0], %[b0]\n\t"                \
                     "ldr %[u], [%[w], %[at] + 8]\n\tsmlad %[b1], %[v], %[x1], %[b1]"                        \
                     : [a0] "+r"(a0), [a1] "+r"(a1), [b0] "+r"(b0), [b1] "+r"(b1), [u] "+r"(u), [v] "=&r"(v) \
                     : [x0] "r"(x0), [x1] "r"(x1), [w] "r"(w), [at] "i"(16 * (n)));                          \
    if ((n) + 1 == together) {                                                                               \
        __asm__ volatile(TG_DOT_2X4_LAST("]!")                                                               \
                         : TG_DOT_2X4_SUMS, [w] "+r"(w), [x] "+r"(x)                                         \
                         : [at] "i"(16 * (n)), [next] "i"(4 * together * step), [other] "i"(4 * apart));     \
    } else {                                                                                                 \
        __asm__ volatile(TG_DOT_2X4_LAST("]")                                                                \
                         : TG_DOT_2X4_SUMS                                                                   \
                         : [w] "r"(w), [x] "r"(x), [at] "i"(16 * (n)), [next] "i"(4 * ((n) + 1) * step),     \
                           [other] "i"(4 * (((n) + 1) * step + apart)));                                     \
    }
#define TG_DOT_2X4_SINGLE(n)                                                                                 \
    TG_MAC(a0, u, x0);                                                                                       \
    TG_LOAD(v, w, 4 * (n) + 1);                                                                              \
    TG_MAC(a1, u, x1);                                                                                       \
    TG_MAC(b0, v, x0);                                                                                       \
    TG_LOAD(u, w, 4 * (n) + 2);                                                                              \
    TG_MAC(b1, v, x1);                                                                                       \
    TG_MAC(c0, u, x0);                                                                                       \
    TG_LOAD(v, w, 4 * (n) + 3);                                                                              \
    TG_MAC(c1, u, x1);                                                                                       \
    if ((n) + 1 == together) {                                                                               \
        TG_RELOAD_AND_MOVE(u, w, 4 * together);                                                              \
    } else {                                                                                                 \
        TG_RELOAD(u, w, 4 * (n) + 4);                                                                        \
    }                                                                                                        \
    TG_MAC(d0, v, x0);                                                                                       \
    if ((n) + 1 == together) {                                                                               \
        TG_RELOAD_AND_MOVE(x0, x, together * step);                                                          \
    } else {                                                                                                 \
        TG_RELOAD(x0, x, ((n) + 1) * step);                                                                  \
    }                                                                                                        \
    TG_MAC(d1, v, x1);                                                                                       \
    TG_RELOAD(x1, x, ((n) + 1 == together ? 0 : ((n) + 1) * step) + apart)
/*
 * Clang spills a pointer if it may choose a register for each load: there a pair is two statements, of which `v` does
 * not outlive one. GCC spills with these.
 */
#if defined(__clang__)
#define TG_DOT_2X4_STEP TG_DOT_2X4_HALVES
#else
#define TG_DOT_2X4_STEP TG_DOT_2X4_SINGLE
#endif
#elif TG_IN_REGISTERS && !defined(__ARM_ARCH_7EM__)
/* Where loads are not pipelined, two words are one instruction; activations are read a pair ahead. */
#define TG_TAKE_X()                                                                                          \
    if (apart == 1 && step == 2) {                                                                           \
        TG_TAKE_TWO(x0, x1, x);                                                                              \
    } else {                                                                                                 \
        TG_LOAD(x1, x, apart);                                                                               \
        __asm__ volatile("ldr %0, [%1], %2" : "=&r"(x0), "+&r"(x) : "i"(4 * step));                          \
    }
#define TG_DOT_2X4_START() (void)0
#define TG_DOT_2X4_MOVED 1
#define TG_DOT_2X4_BEGIN() TG_TAKE_X()
#define TG_DOT_2X4_STEP(n)                                                                                   \
    TG_TAKE_TWO(u, v, w);                                                                                    \
    TG_MAC(a0, u, x0);                                                                                       \
    TG_MAC(a1, u, x1);                                                                                       \
    TG_MAC(b0, v, x0);                                                                                       \
    TG_MAC(b1, v, x1);                                                                                       \
    TG_TAKE_TWO(u, v, w);                                                                                    \
    TG_MAC(c0, u, x0);                                                                                       \
    TG_MAC(c1, u, x1);                                                                                       \
    TG_MAC(d0, v, x0);                                                                                       \
    TG_MAC(d1, v, x1);                                                                                       \
    TG_TAKE_X()
#elif TG_IN_REGISTERS
#define TG_DOT_2X4_START() (x -= step, w -= 1)
#define TG_DOT_2X4_BEGIN()
/*
 * Pair n of the taps. Loads cost a cycle less behind another load, whatever their pointers; so four stand together. The
 * pointers start a pair of taps and a word behind: the last pair of a turn moves them along with what it loads.
 */
#define TG_DOT_2X4_STEP(n)                                                                                   \
    TG_LOAD(x1, x, ((n) + 1) * step + apart);                                                                \
    if ((n) + 1 == together) {                                                                               \
        TG_LOAD_AND_MOVE(x0, x, together * step);                                                            \
    } else {                                                                                                 \
        TG_LOAD(x0, x, ((n) + 1) * step);                                                                    \
    }                                                                                                        \
    TG_LOAD(u, w, 4 * (n) + 1);                                                                              \
    TG_LOAD(v, w, 4 * (n) + 2);                                                                              \
    TG_MAC(a0, u, x0);                                                                                       \
    TG_MAC(a1, u, x1);                                                                                       \
    TG_MAC(b0, v, x0);                                                                                       \
    TG_MAC(b1, v, x1);                                                                                       \
    TG_LOAD(u, w, 4 * (n) + 3);                                                                              \
    if ((n) + 1 == together) {                                                                               \
        TG_LOAD_AND_MOVE(v, w, 4 * together);                                                                \
    } else {                                                                                                 \
        TG_LOAD(v, w, 4 * (n) + 4);                                                                          \
    }                                                                                                        \
    TG_MAC(c0, u, x0);                                                                                       \
    TG_MAC(c1, u, x1);                                                                                       \
    TG_MAC(d0, v, x0);                                                                                       \
    TG_MAC(d1, v, x1)
#endif

#ifndef TG_DOT_2X4_MOVED
#define TG_DOT_2X4_MOVED 0
#endif

/*
 * Adds the products of 2 pixels and 4 filters over `rows` times `pairs` pairs of taps, `pairs` an even number.
 *
 * Pair n of a row is x[n * step] of the first pixel, x[n * step + apart] of the second; rows are `pitch` words apart.
 * w: [rows][pairs][4 filters]; sums: [4 filters][2 pixels]. Eight sums, two pixels and two weights in flight are all
 * the registers there are. What follows the last pair of a row is read, and not used. All but the pointers must be
 * constants.
 */
TG_INLINE void tg_dot_2x4(
    int32_t sums[8], const uint32_t *x, const uint32_t *w, int32_t rows, int32_t pairs, int32_t pitch, int32_t step,
    int32_t apart)
{
#if TG_IN_REGISTERS
    int32_t a0 = sums[0], a1 = sums[1], b0 = sums[2], b1 = sums[3];
    int32_t c0 = sums[4], c1 = sums[5], d0 = sums[6], d1 = sums[7];
    uint32_t x0, x1, u, v;
    /* Pairs in one turn of the loop: a constant, as `pairs` is. */
    const int32_t together = pairs % 8 == 0    ? 8
                             : pairs % 10 == 0 ? 10
                             : pairs % 14 == 0 ? 7
                             : pairs % 4 == 0  ? 4
                             : pairs % 6 == 0  ? 6
                                               : 2;
    TG_DOT_2X4_START();
    TG_KEEP(last, w + 4 * pairs * rows);
    tg_fence();
    do {
        TG_KEEP(end, w + 4 * pairs);
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
            x += pitch - (pairs + TG_DOT_2X4_MOVED) * step;
            TG_RECALL(v, last);
        }
    } while (rows > 1 && (uint32_t)w != v);
    tg_fence();
    sums[0] = a0, sums[1] = a1, sums[2] = b0, sums[3] = b1;
    sums[4] = c0, sums[5] = c1, sums[6] = d0, sums[7] = d1;
#else
    for (int32_t row = 0; row < rows; row++, x += pitch, w += 4 * pairs) {
        for (int32_t pair = 0; pair < pairs; pair++) {
            for (int32_t filter = 0; filter < 4; filter++) {
                const uint32_t weight = w[4 * pair + filter];
                sums[2 * filter] = tg_smlad(weight, x[pair * step], sums[2 * filter]);
                sums[2 * filter + 1] = tg_smlad(weight, x[pair * step + apart], sums[2 * filter + 1]);
            }
        }
    }
#endif
}

#if TG_IN_REGISTERS
/* Four taps of four outputs, weights in bytes: of each word first taps 0 and 2, then 1 and 3. */
#define TG_EXTEND_TO(to, word) __asm__ volatile("sxtb16 %0, %1" : "=r"(to) : "r"(word))
#define TG_EXTEND_ODD(word) __asm__ volatile("sxtb16 %0, %0, ror #8" : "+r"(word))
#define TG_DOT_BYTES_STEP(n)                                                                                 \
    TG_LOAD(u, w, 4 * (n));                                                                                  \
    TG_LOAD(v, w, 4 * (n) + 1);                                                                              \
    TG_LOAD(s, w, 4 * (n) + 2);                                                                              \
    TG_LOAD(t, w, 4 * (n) + 3);                                                                              \
    TG_LOAD(x0, x, 2 * (n));                                                                                 \
    TG_LOAD(x1, x, 2 * (n) + 1);                                                                             \
    TG_EXTEND_TO(p, u);                                                                                      \
    TG_EXTEND_TO(q, v);                                                                                      \
    TG_MAC(a, p, x0);                                                                                        \
    TG_EXTEND_ODD(u);                                                                                        \
    TG_MAC(b, q, x0);                                                                                        \
    TG_EXTEND_ODD(v);                                                                                        \
    TG_MAC(a, u, x1);                                                                                        \
    TG_EXTEND_TO(p, s);                                                                                      \
    TG_MAC(b, v, x1);                                                                                        \
    TG_EXTEND_TO(q, t);                                                                                      \
    TG_MAC(c, p, x0);                                                                                        \
    TG_EXTEND_ODD(s);                                                                                        \
    TG_MAC(d, q, x0);                                                                                        \
    TG_EXTEND_ODD(t);                                                                                        \
    TG_MAC(c, s, x1);                                                                                        \
    TG_MAC(d, t, x1)
#define TG_DOT_PAIRS_LOOP(step, words)                                                                       \
    if (fours % 4 == 0) {                                                                                    \
        do {                                                                                                 \
            step(0);                                                                                         \
            step(1);                                                                                         \
            step(2);                                                                                         \
            step(3);                                                                                         \
            TG_ADVANCE(x, 8);                                                                                \
            TG_ADVANCE(w, 4 * (words));                                                                      \
            TG_RECALL(x1, end);                                                                              \
        } while ((uint32_t)w != x1);                                                                         \
    } else {                                                                                                 \
        do {                                                                                                 \
            step(0);                                                                                         \
            TG_ADVANCE(x, 2);                                                                                \
            TG_ADVANCE(w, words);                                                                            \
            TG_RECALL(x1, end);                                                                              \
        } while ((uint32_t)w != x1);                                                                         \
    }
/* Two pairs of taps of four outputs, weights as they are multiplied; loads from one memory follow each other. */
#define TG_DOT_HALVES_STEP(n)                                                                                \
    TG_LOAD(x0, x, 2 * (n));                                                                                 \
    TG_LOAD(x1, x, 2 * (n) + 1);                                                                             \
    TG_LOAD(u, w, 8 * (n));                                                                                  \
    TG_LOAD(v, w, 8 * (n) + 1);                                                                              \
    TG_LOAD(s, w, 8 * (n) + 2);                                                                              \
    TG_LOAD(t, w, 8 * (n) + 3);                                                                              \
    TG_MAC(a, u, x0);                                                                                        \
    TG_MAC(b, v, x0);                                                                                        \
    TG_MAC(c, s, x0);                                                                                        \
    TG_MAC(d, t, x0);                                                                                        \
    TG_LOAD(u, w, 8 * (n) + 4);                                                                              \
    TG_LOAD(v, w, 8 * (n) + 5);                                                                              \
    TG_LOAD(s, w, 8 * (n) + 6);                                                                              \
    TG_LOAD(t, w, 8 * (n) + 7);                                                                              \
    TG_MAC(a, u, x1);                                                                                        \
    TG_MAC(b, v, x1);                                                                                        \
    TG_MAC(c, s, x1);                                                                                        \
    TG_MAC(d, t, x1)
#if TG_DUAL_ISSUE
/* The same, each product beside a load for the next pair, which it does not wait for. */
#define TG_DOT_AHEAD_STEP(n)                                                                                 \
    TG_MAC(a, u, x0);                                                                                        \
    TG_RELOAD(u, w, 8 * (n) + 4);                                                                            \
    TG_MAC(b, v, x0);                                                                                        \
    TG_RELOAD(v, w, 8 * (n) + 5);                                                                            \
    TG_MAC(c, s, x0);                                                                                        \
    TG_RELOAD(s, w, 8 * (n) + 6);                                                                            \
    TG_MAC(d, t, x0);                                                                                        \
    TG_RELOAD(t, w, 8 * (n) + 7);                                                                            \
    TG_RELOAD(x0, x, 2 * (n) + 2);                                                                           \
    TG_MAC(a, u, x1);                                                                                        \
    TG_RELOAD(u, w, 8 * (n) + 8);                                                                            \
    TG_MAC(b, v, x1);                                                                                        \
    TG_RELOAD(v, w, 8 * (n) + 9);                                                                            \
    TG_MAC(c, s, x1);                                                                                        \
    TG_RELOAD(s, w, 8 * (n) + 10);                                                                           \
    TG_MAC(d, t, x1);                                                                                        \
    TG_RELOAD(t, w, 8 * (n) + 11);                                                                           \
    TG_RELOAD(x1, x, 2 * (n) + 3)
#define TG_DOT_AHEAD_LOOP()                                                                                  \
    TG_LOAD(x0, x, 0);                                                                                       \
    TG_LOAD(u, w, 0);                                                                                        \
    TG_LOAD(v, w, 1);                                                                                        \
    TG_LOAD(s, w, 2);                                                                                        \
    TG_LOAD(t, w, 3);                                                                                        \
    TG_LOAD(x1, x, 1);                                                                                       \
    do {                                                                                                     \
        TG_DOT_AHEAD_STEP(0);                                                                                \
        TG_DOT_AHEAD_STEP(1);                                                                                \
        TG_RECALL(p, end);                                                                                   \
        TG_DOT_AHEAD_STEP(2);                                                                                \
        TG_DOT_AHEAD_STEP(3);                                                                                \
        TG_ADVANCE(x, 8);                                                                                    \
        TG_ADVANCE(w, 32);                                                                                   \
    } while ((uint32_t)w != p)
#endif
#endif

/*
 * Adds the products of 4 outputs over `fours` times four taps; activations in pairs, taps 0 and 2 before 1 and 3.
 *
 * weights: [fours][4 outputs] words of four bytes, taps in order; or where they are `wide` pairs like the activations,
 * [2 fours][4 outputs]. Both numbers must be constants. Where `fours` is a multiple of four, four
 * words are read behind pairs, and two behind their activations.
 */
TG_INLINE void tg_dot_widened(int32_t sums[4], const uint32_t *x, const uint32_t *w, int32_t fours, int32_t wide)
{
#if TG_IN_REGISTERS
    int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
    uint32_t x0, x1, u, v, s, t, p, q;
    TG_KEEP(end, w + (wide != 0 ? 8 : 4) * fours);
    tg_fence();
#if TG_DUAL_ISSUE
    if (wide != 0 && fours % 4 == 0) {
        TG_DOT_AHEAD_LOOP();
    } else
#endif
    if (wide != 0) {
        TG_DOT_PAIRS_LOOP(TG_DOT_HALVES_STEP, 8)
    } else {
        TG_DOT_PAIRS_LOOP(TG_DOT_BYTES_STEP, 4)
    }
    tg_fence();
    sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
#else
    for (int32_t four = 0; four < fours; four++, x += 2) {
        for (int32_t i = 0; i < 4; i++) {
            const uint32_t first = w[(wide != 0 ? 8 : 4) * four + i];
            const uint32_t second = wide != 0 ? w[8 * four + 4 + i] : tg_sxtb16_odd(first);
            sums[i] = tg_smlad(wide != 0 ? first : tg_sxtb16(first), x[0], sums[i]);
            sums[i] = tg_smlad(second, x[1], sums[i]);
        }
    }
#endif
}

#endif
