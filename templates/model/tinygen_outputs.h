/*
 * Dense layers of few bits on cores without SIMD: an activation times a word that holds the weights of two outputs, 16
 * bits apart, is both products. So many of these are added up as half a word holds.
 */
#ifndef TINYGEN_OUTPUTS_H
#define TINYGEN_OUTPUTS_H

#include <stdint.h>

#include "tinygen_scalar.h"

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

#if TG_TILE_ARMV6M
/*
 * The whole words of tg_dot_two_outputs: on a Cortex-M0+ 2.75 cycles a product, 8 a pair of words and 29 a turn.
 * Compilers run out of its eight registers. r0 and r1 are where codes and weights lie, r2 masks, r3 and r4 are words of
 * weights, r7 is where a turn ends; r8 and r9 are the sums of two outputs each, r10 to r12 and lr those of one.
 */
#define TG_WHOLE_WORDS(name, bits) \
    TG_ASSEMBLY void name( \
        int32_t *sums __attribute__((unused)), \
        const int8_t *x __attribute__((unused)), \
        const uint32_t *w __attribute__((unused)), \
        int32_t words __attribute__((unused)), \
        int32_t together __attribute__((unused))) \
    { \
        __asm__ volatile( \
            ".syntax unified\n\t" \
            ".macro tg_two word, tap, both\n\t" \
            ".if \\tap\n\tlsrs r6, \\word, #\\tap*" bits "\n\t.else\n\tmovs r6, \\word\n\t.endif\n\t" \
            "ands r6, r2\n\tmuls r6, r5, r6\n\tadd \\both, r6\n\t" \
            ".endm\n\t" \
            ".macro tg_tap tap\n\t" \
            ".if \\tap < 16/" bits "\n\t" \
            "ldrb r5, [r0, #\\tap]\n\tsxtb r5, r5\n\ttg_two r3, \\tap, r8\n\ttg_two r4, \\tap, r9\n\t" \
            ".endif\n\t" \
            ".endm\n\t" \
            ".macro tg_separate both, low, high\n\t" \
            "mov r5, \\both\n\tsxth r6, r5\n\tadd \\low, r6\n\t" \
            "subs r5, r5, r6\n\tasrs r5, r5, #16\n\tadd \\high, r5\n\t" \
            ".endm\n\t" \
            "push {r0, r4, r5, r6, r7, lr}\n\t" \
            "mov r4, r8\n\tmov r5, r9\n\tmov r6, r10\n\tmov r7, r11\n\tpush {r4, r5, r6, r7}\n\t" \
            "lsls r3, r3, #3\n\tadds r3, r3, r2\n\tldr r4, [sp, #40]\n\tlsls r4, r4, #3\n\tpush {r3, r4}\n\t" \
            "ldmia r0!, {r4, r5, r6, r7}\n\tmov r10, r4\n\tmov r11, r5\n\tmov r12, r6\n\tmov lr, r7\n\t" \
            "mov r0, r1\n\tmov r1, r2\n\tmovs r2, #(1<<" bits ")-1\n\tlsls r3, r2, #16\n\torrs r2, r3\n" \
            "1:\n\t" \
            "ldr r7, [sp, #4]\n\tadds r7, r7, r1\n\tldr r6, [sp, #0]\n\tcmp r7, r6\n\tbls 2f\n\tmov r7, r6\n" \
            "2:\n\t" \
            "movs r5, #0\n\tmov r8, r5\n\tmov r9, r5\n" \
            "3:\n\t" \
            "ldmia r1!, {r3, r4}\n\t" \
            ".irp tap, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n\ttg_tap \\tap\n\t.endr\n\t" \
            "adds r0, #16/" bits "\n\tcmp r1, r7\n\tbeq 4f\n\tb 3b\n" \
            "4:\n\t" \
            "tg_separate r8, r10, r11\n\ttg_separate r9, r12, lr\n\t" \
            "ldr r6, [sp, #0]\n\tcmp r1, r6\n\tbeq 5f\n\tb 1b\n" \
            "5:\n\t" \
            "ldr r0, [sp, #24]\n\tmov r4, r10\n\tmov r5, r11\n\tmov r6, r12\n\tmov r7, lr\n\t" \
            "stmia r0!, {r4, r5, r6, r7}\n\tadd sp, #8\n\t" \
            "pop {r4, r5, r6, r7}\n\tmov r8, r4\n\tmov r9, r5\n\tmov r10, r6\n\tmov r11, r7\n\t" \
            "pop {r0, r4, r5, r6, r7, pc}\n\t" \
            ".purgem tg_two\n\t.purgem tg_tap\n\t.purgem tg_separate" \
            : \
            : \
            : "memory"); \
    }

/* clang-format off */
TG_WHOLE_WORDS(tg_whole_words_1, "1")
TG_WHOLE_WORDS(tg_whole_words_2, "2")
TG_WHOLE_WORDS(tg_whole_words_3, "3")
TG_WHOLE_WORDS(tg_whole_words_4, "4")
TG_WHOLE_WORDS(tg_whole_words_5, "5")
/* clang-format on */

/* Of at least one word. */
TG_INLINE void tg_whole_words(
    int32_t sums[4], const int8_t *x, const uint32_t *w, int32_t words, int32_t bits, int32_t together)
{
    if (bits == 1) {
        tg_whole_words_1(sums, x, w, words, together);
    } else if (bits == 2) {
        tg_whole_words_2(sums, x, w, words, together);
    } else if (bits == 3) {
        tg_whole_words_3(sums, x, w, words, together);
    } else if (bits == 4) {
        tg_whole_words_4(sums, x, w, words, together);
    } else {
        tg_whole_words_5(sums, x, w, words, together);
    }
}
#else
TG_INLINE void tg_whole_words(
    int32_t sums[4], const int8_t *x, const uint32_t *w, int32_t words, int32_t bits, int32_t together)
{
    const uint32_t mask = ((UINT32_C(1) << bits) - 1) * UINT32_C(0x10001);
    const uint32_t *const last = w + 2 * words;
    while (w != last) {
        const uint32_t *const end = last - w > 2 * together ? w + 2 * together : last;
        uint32_t first = 0, second = 0;
        TG_CLANG_NO_UNROLL
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
}
#endif

/*
 * Adds the products of 4 outputs over `words` whole words of codes of 1 to 5 bits, and over `rest` taps of one more.
 *
 * w: [words][2], a word for outputs 0 and 1, one for 2 and 3: tap i in bits i * bits of both halves. `words`, `bits`
 * and `rest` must be constants. The sums of `together` words fit 16 bits.
 */
TG_INLINE void tg_dot_two_outputs(
    int32_t sums[4], const int8_t *x, const uint32_t *w, int32_t words, int32_t rest, int32_t bits, int32_t together)
{
    if (words > 0) {
        tg_whole_words(sums, x, w, words, bits, together);
    }
    if (rest > 0) {
        const uint32_t mask = ((UINT32_C(1) << bits) - 1) * UINT32_C(0x10001);
        const uint32_t u = w[2 * words], v = w[2 * words + 1];
        uint32_t first = 0, second = 0;
        x += words * (16 / bits);
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
