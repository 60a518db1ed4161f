/*
 * The loops of tinygen_scalar.h with weights that are 128 more than they should be, as uint8_t. A Cortex-M0+ loads
 * those of two filters at once: their halfword is w0 + 256 * w1.
 */
#ifndef TINYGEN_OFFSET_H
#define TINYGEN_OFFSET_H

#include <stdint.h>

#include "tinygen_scalar.h"

#if TG_TILE_RV32
#error "this core loads bytes as signed as fast: tinygen_scalar.h"
#endif

#if TG_TILE_ARMV6M
/* Taps whose sums fit 24 bits, whatever the codes and weights: 256 * 128 * 255 < 2^23. */
#define TG_OFFSET_TAPS 256

/*
 * sums[4 * f + p] += x[p][i] * w[4 * i + f] for two pixels and two filters, 4.4 cycles a product on a Cortex-M0+. What
 * x times the halfword adds up to, less what x times its lower byte does, is 256 times the sum of the other filter.
 * Registers are those of TG_DOT_2X2: the lower byte's sums in r8 and r9, the halfword's in r10 and r11.
 */
TG_ASSEMBLY void tg_dot_2x2_offset(
    int32_t *sums __attribute__((unused)),
    const void *x0 __attribute__((unused)),
    const void *x1 __attribute__((unused)),
    const void *w __attribute__((unused)),
    int32_t length __attribute__((unused)))
{
    __asm__ volatile(
        ".syntax unified\n\t"
        ".macro tg_tap at\n\t"
        "ldrsb r4, [r0, r2]\n\tldrsb r5, [r1, r2]\n\tadds r2, #1\n\tldrh r6, [r3, #\\at]\n\t"
        "uxtb r7, r6\n\tmuls r7, r4, r7\n\tadd r8, r7\n\tuxtb r7, r6\n\tmuls r7, r5, r7\n\tadd r9, r7\n\t"
        "muls r4, r6, r4\n\tadd r10, r4\n\tmuls r5, r6, r5\n\tadd r11, r5\n\t"
        ".endm\n\t"
        "push {r4, r5, r6, r7, lr}\n\t"
        "mov r4, r8\n\tmov r5, r9\n\tmov r6, r10\n\tmov r7, r11\n\tpush {r4, r5, r6, r7}\n\t"
        "mov lr, r0\n\tmov r0, r1\n\tmov r1, r2\n\tmovs r2, #0\n\t"
        "mov r8, r2\n\tmov r9, r2\n\tmov r10, r2\n\tmov r11, r2\n\t"
        "ldr r4, [sp, #36]\n\tlsrs r4, r4, #3\n\tlsls r4, r4, #3\n\tmov r12, r4\n\tbeq 2f\n"
        "1:\n\t"
        "tg_tap 0\n\ttg_tap 4\n\ttg_tap 8\n\ttg_tap 12\n\ttg_tap 16\n\ttg_tap 20\n\ttg_tap 24\n\ttg_tap 28\n\t"
        "adds r3, #32\n\tcmp r2, r12\n\tbne 1b\n"
        "2:\n\t"
        "ldr r4, [sp, #36]\n\tmov r12, r4\n"
        "3:\n\t"
        "cmp r2, r12\n\tbeq 4f\n\ttg_tap 0\n\tadds r3, #4\n\tb 3b\n"
        "4:\n\t"
        "mov r0, lr\n\tmov r4, r8\n\tmov r5, r9\n\tmov r6, r10\n\tmov r7, r11\n\t"
        "subs r6, r6, r4\n\tasrs r6, r6, #8\n\tsubs r7, r7, r5\n\tasrs r7, r7, #8\n\t"
        "ldr r1, [r0, #0]\n\tadds r4, r4, r1\n\tstr r4, [r0, #0]\n\t"
        "ldr r1, [r0, #4]\n\tadds r5, r5, r1\n\tstr r5, [r0, #4]\n\t"
        "ldr r1, [r0, #16]\n\tadds r6, r6, r1\n\tstr r6, [r0, #16]\n\t"
        "ldr r1, [r0, #20]\n\tadds r7, r7, r1\n\tstr r7, [r0, #20]\n\t"
        "pop {r4, r5, r6, r7}\n\tmov r8, r4\n\tmov r9, r5\n\tmov r10, r6\n\tmov r11, r7\n\t"
        "pop {r4, r5, r6, r7, pc}\n\t"
        ".purgem tg_tap"
        :
        :
        : "memory");
}

/* sums[f] += x[i] * w[4 * i + f] for four filters, the same way. Sums: r8 and r10 of lower bytes, r9 and r11 of
   halfwords. */
TG_ASSEMBLY void tg_dot_1x4_offset(
    int32_t *sums __attribute__((unused)),
    const void *x __attribute__((unused)),
    const void *w __attribute__((unused)),
    int32_t length __attribute__((unused)))
{
    __asm__ volatile(
        ".syntax unified\n\t"
        ".macro tg_two at, low, both\n\t"
        "ldrh r5, [r2, #\\at]\n\tuxtb r6, r5\n\tmuls r6, r4, r6\n\tadd \\low, r6\n\t"
        "muls r5, r4, r5\n\tadd \\both, r5\n\t"
        ".endm\n\t"
        ".macro tg_tap at\n\t"
        "ldrsb r4, [r1, r3]\n\tadds r3, #1\n\ttg_two \\at, r8, r9\n\ttg_two \\at + 2, r10, r11\n\t"
        ".endm\n\t"
        "push {r4, r5, r6, r7, lr}\n\t"
        "mov r4, r8\n\tmov r5, r9\n\tmov r6, r10\n\tmov r7, r11\n\tpush {r4, r5, r6, r7}\n\t"
        "mov r12, r3\n\tmovs r7, #7\n\tbics r3, r3, r7\n\tmov r7, r3\n\tmovs r3, #0\n\t"
        "mov r8, r3\n\tmov r9, r3\n\tmov r10, r3\n\tmov r11, r3\n\tcmp r7, #0\n\tbeq 2f\n"
        "1:\n\t"
        "tg_tap 0\n\ttg_tap 4\n\ttg_tap 8\n\ttg_tap 12\n\ttg_tap 16\n\ttg_tap 20\n\ttg_tap 24\n\ttg_tap 28\n\t"
        "adds r2, #32\n\tcmp r3, r7\n\tbne 1b\n"
        "2:\n\t"
        "cmp r3, r12\n\tbeq 3f\n\ttg_tap 0\n\tadds r2, #4\n\tb 2b\n"
        "3:\n\t"
        "mov r4, r8\n\tmov r5, r9\n\tmov r6, r10\n\tmov r7, r11\n\t"
        "subs r5, r5, r4\n\tasrs r5, r5, #8\n\tsubs r7, r7, r6\n\tasrs r7, r7, #8\n\t"
        "ldr r1, [r0, #0]\n\tadds r4, r4, r1\n\tldr r1, [r0, #4]\n\tadds r5, r5, r1\n\t"
        "ldr r1, [r0, #8]\n\tadds r6, r6, r1\n\tldr r1, [r0, #12]\n\tadds r7, r7, r1\n\t"
        "stmia r0!, {r4, r5, r6, r7}\n\t"
        "pop {r4, r5, r6, r7}\n\tmov r8, r4\n\tmov r9, r5\n\tmov r10, r6\n\tmov r11, r7\n\t"
        "pop {r4, r5, r6, r7, pc}\n\t"
        ".purgem tg_tap\n\t.purgem tg_two"
        :
        :
        : "memory");
}

static inline void tg_dot_4x4_offset(tg_tile *tile)
{
    const uint8_t *w = tile->w;
    const int32_t length = tile->eights + tile->rest;
    ptrdiff_t at = 0;
    for (int32_t i = 0; i < 16; i++) {
        tile->sums[i] = 0;
    }
    for (int32_t row = 0; row < tile->rows; row++, at += tile->skip) {
        for (int32_t left = length; left > 0; left -= TG_OFFSET_TAPS) {
            const int32_t taps = left < TG_OFFSET_TAPS ? left : TG_OFFSET_TAPS;
            for (int32_t f = 0; f < 4; f += 2) {
                for (int32_t p = 0; p < 4; p += 2) {
                    const int8_t *const x0 = (const int8_t *)tile->x[p] + at;
                    const int8_t *const x1 = (const int8_t *)tile->x[p + 1] + at;
                    tg_dot_2x2_offset(tile->sums + 4 * f + p, x0, x1, w + f, taps);
                }
            }
            at += taps;
            w += 4 * taps;
        }
    }
}

static inline void tg_tile_1x4_offset(tg_tile *tile)
{
    const int8_t *x = tile->x[0];
    const uint8_t *w = tile->w;
    const int32_t length = tile->eights + tile->rest;
    for (int32_t i = 0; i < 4; i++) {
        tile->sums[i] = 0;
    }
    for (int32_t row = 0; row < tile->rows; row++, x += tile->skip) {
        for (int32_t left = length; left > 0; left -= TG_OFFSET_TAPS) {
            const int32_t taps = left < TG_OFFSET_TAPS ? left : TG_OFFSET_TAPS;
            tg_dot_1x4_offset(tile->sums, x, w, taps);
            x += taps;
            w += 4 * taps;
        }
    }
}
#else
TG_DOT_4X4(tg_dot_4x4_offset, int8_t, uint8_t, TG_OF_BYTE, TG_OF_BYTE)
TG_TILE_1X4(tg_tile_1x4_offset, int8_t, uint8_t, TG_OF_BYTE, TG_OF_BYTE)
#endif

#endif
