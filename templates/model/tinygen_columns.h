/*
 * Depthwise windows of 3x3 down a column, on a Cortex-M0+: eight registers multiply, the other six hold weights. And
 * the codes of a column's sums, which lie in every fourth word; those of the next row are `step` further.
 */
#ifndef TINYGEN_COLUMNS_H
#define TINYGEN_COLUMNS_H

#include <stdint.h>

#include "tinygen_scalar.h"

/*
 * Rows are four words, three codes and a sum: the sum of row i + 2 becomes that of the codes in rows i, i + 1 and i + 2
 * times the weights w[0..2], w[5..7] and w[10..12], for `count` sums from i = 0 on, at least one; `rest` is count % 3.
 *
 * 35 cycles a sum. Each code is loaded once and serves three sums, which take turns in r3 to r5; r6 and r7 hold two
 * weights of the last row, r8 to r12 and lr those of the others, the stack the ninth. A loop finishes three sums, the
 * first time only the rest.
 */
#if TG_TILE_ARMV6M
TG_ASSEMBLY void tg_column_3x3(
    int32_t *rows __attribute__((unused)),
    const int32_t *w __attribute__((unused)),
    int32_t count __attribute__((unused)),
    int32_t rest __attribute__((unused)))
{
    __asm__ volatile(
        ".syntax unified\n\t"
        ".macro tg_mac sum, weight\n\t"
        "mov r2, \\weight\n\tmuls r2, r1, r2\n\tadds \\sum, \\sum, r2\n\t"
        ".endm\n\t"
        ".macro tg_row at, new, middle, old\n\t"
        "ldr r1, [r0, #\\at]\n\tmov \\new, r8\n\tmuls \\new, r1, \\new\n\ttg_mac \\middle, r9\n\t"
        "muls r1, r6, r1\n\tadds \\old, \\old, r1\n\t"
        "ldr r1, [r0, #\\at + 4]\n\ttg_mac \\new, r10\n\t"
        "tg_mac \\middle, r11\n\tmuls r1, r7, r1\n\tadds \\old, \\old, r1\n\t"
        "ldr r1, [r0, #\\at + 8]\n\ttg_mac \\new, r12\n\ttg_mac \\middle, lr\n\t"
        "ldr r2, [sp, #0]\n\tmuls r1, r2, r1\n\tadds \\old, \\old, r1\n\tstr \\old, [r0, #\\at + 12]\n\t"
        ".endm\n\t"
        "push {r4, r5, r6, r7, lr}\n\t"
        "mov r4, r8\n\tmov r5, r9\n\tmov r6, r10\n\tmov r7, r11\n\tpush {r4, r5, r6, r7}\n\tsub sp, #8\n\t"
        /* The weights, and where the last row ends. */
        "ldr r4, [r1, #0]\n\tmov r8, r4\n\tldr r4, [r1, #4]\n\tmov r10, r4\n\tldr r4, [r1, #8]\n\tmov r12, r4\n\t"
        "ldr r4, [r1, #20]\n\tmov r9, r4\n\tldr r4, [r1, #24]\n\tmov r11, r4\n\tldr r4, [r1, #28]\n\tmov lr, r4\n\t"
        "ldr r6, [r1, #40]\n\tldr r7, [r1, #44]\n\tldr r4, [r1, #48]\n\tstr r4, [sp, #0]\n\t"
        "adds r0, #32\n\tlsls r2, r2, #4\n\tadds r2, r2, r0\n\tstr r2, [sp, #4]\n\tsubs r0, #32\n\t"
        /* The first two rows begin sums: r5 is of both, r4 of the second. */
        "ldr r1, [r0, #0]\n\tmov r5, r8\n\tmuls r5, r1, r5\n\tldr r1, [r0, #4]\n\ttg_mac r5, r10\n\t"
        "ldr r1, [r0, #8]\n\ttg_mac r5, r12\n\t"
        "ldr r1, [r0, #16]\n\tmov r4, r8\n\tmuls r4, r1, r4\n\ttg_mac r5, r9\n\t"
        "ldr r1, [r0, #20]\n\ttg_mac r4, r10\n\ttg_mac r5, r11\n\t"
        "ldr r1, [r0, #24]\n\ttg_mac r4, r12\n\ttg_mac r5, lr\n\t"
        /* Behind them it goes on, with one sum, two or three. */
        "cmp r3, #1\n\tbeq 0f\n\tbgt 5f\n\tadds r0, #32\n\tb 1f\n"
        "0:\n\t"
        "movs r3, r5\n\tmovs r5, r4\n\tb 3f\n"
        "5:\n\t"
        "adds r0, #16\n\tmovs r3, r4\n\tmovs r4, r5\n\tb 2f\n"
        "1:\n\t"
        "tg_row 0, r3, r4, r5\n"
        "2:\n\t"
        "tg_row 16, r5, r3, r4\n"
        "3:\n\t"
        "tg_row 32, r4, r5, r3\n\t"
        "adds r0, #48\n\tldr r1, [sp, #4]\n\tcmp r0, r1\n\tbne 1b\n\t"
        "add sp, #8\n\tpop {r4, r5, r6, r7}\n\tmov r8, r4\n\tmov r9, r5\n\tmov r10, r6\n\tmov r11, r7\n\t"
        "pop {r4, r5, r6, r7, pc}\n\t"
        ".purgem tg_mac\n\t.purgem tg_row"
        :
        :
        : "memory");
}
#else
static inline void tg_column_3x3(int32_t *rows, const int32_t *w, int32_t count, int32_t rest)
{
    (void)rest;
    for (int32_t i = 0; i < count; i++, rows += 4) {
        int32_t sum = 0;
        for (int32_t ky = 0; ky < 3; ky++) {
            for (int32_t kx = 0; kx < 3; kx++) {
                sum += rows[4 * ky + kx] * w[5 * ky + kx];
            }
        }
        rows[11] = sum;
    }
}
#endif

/*
 * TG_GUESSED_CODES(name, type of a code, cut, bits, low, high): guesses k[3] + ((sum - k[0]) >> cut) * k[2] of the sums
 * from `from` to `end`. The upper `bits` of a guess are a code less `low`, up to the first that is to be doubted: its
 * lower bits are less than those of k[4]. Sums beyond k[0] by more than k[1] are `high`. Returns where the doubted sum
 * is, or `end`.
 */
#if TG_TILE_ARMV6M
/* 20 cycles a code. r4 is the first place, r5 the span, r6 the multiplier, r7 the doubt, r8 the offset, r12 the
   step. */
#define TG_GUESSED_CODES(name, type, cut, bits, low, high) \
    TG_ASSEMBLY const int32_t *name( \
        type *y __attribute__((unused)), \
        const int32_t *from __attribute__((unused)), \
        const int32_t *end __attribute__((unused)), \
        const int32_t *k __attribute__((unused)), \
        int32_t step __attribute__((unused))) \
    { \
        __asm__ volatile( \
            ".syntax unified\n\tpush {r4, r5, r6, r7, lr}\n\tmov r4, r8\n\tpush {r4}\n\t" \
            "ldr r4, [sp, #24]\n\tmov r12, r4\n\tmov lr, r2\n\t" \
            "ldr r4, [r3, #12]\n\tmov r8, r4\n\tldr r7, [r3, #16]\n\tldmia r3!, {r4, r5, r6}\n\t" \
            "cmp r1, lr\n\tbeq 3f\n" \
            "1:\n\t" \
            "ldr r2, [r1, #0]\n\tsubs r2, r2, r4\n\tcmp r2, r5\n\tbhi 4f\n\t" \
            ".if " #cut "\n\tlsrs r2, r2, #" #cut "\n\t.endif\n\t" \
            "muls r2, r6, r2\n\tadd r2, r8\n\tlsls r3, r2, #" #bits "\n\tcmp r3, r7\n\tblo 3f\n\t" \
            "lsrs r2, r2, #32-" #bits "\n\t" \
            ".if " #low " > 0\n\tadds r2, #" #low "\n\t.endif\n\t" \
            ".if " #low " < 0\n\tsubs r2, #-(" #low ")\n\t.endif\n" \
            "2:\n\t" \
            "strb r2, [r0, #0]\n\tadd r0, r12\n\tadds r1, #16\n\tcmp r1, lr\n\tbne 1b\n" \
            "3:\n\t" \
            "mov r0, r1\n\tpop {r4}\n\tmov r8, r4\n\tpop {r4, r5, r6, r7, pc}\n" \
            "4:\n\t" \
            "cmp r2, #0\n\tblt 5f\n\tmovs r2, #(" #high ")&255\n\tb 2b\n" \
            "5:\n\t" \
            "movs r2, #(" #low ")&255\n\tb 2b" \
            : \
            : \
            : "memory"); \
    }
#else
#define TG_GUESSED_CODES(name, type, cut, bits, low, high) \
    static inline const int32_t *name( \
        type *y, const int32_t *from, const int32_t *end, const int32_t *k, int32_t step) \
    { \
        for (; from != end; from += 4, y += step) { \
            const uint32_t place = (uint32_t)*from - (uint32_t)k[0]; \
            const uint32_t guess = (uint32_t)k[3] + (place >> (cut)) * (uint32_t)k[2]; \
            if (place > (uint32_t)k[1]) { \
                *y = *from < k[0] ? (low) : (high); \
            } else if (guess << (bits) < (uint32_t)k[4]) { \
                return from; \
            } else { \
                *y = (type)((int32_t)(guess >> (32 - (bits))) + (low)); \
            } \
        } \
        return end; \
    }
#endif

#endif
