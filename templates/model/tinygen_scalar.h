/*
 * Inner loops of cores without SIMD: sums of products of four pixels and four filters, int8 each.
 *
 * Sixteen sums stay in registers, so that eight loads serve sixteen products. Compilers spill some of them, whatever
 * one tells them; so the loop is one piece of assembly where there is one, and plain C elsewhere.
 */
#ifndef TINYGEN_SCALAR_H
#define TINYGEN_SCALAR_H

#include <stddef.h>
#include <stdint.h>

#include "tinygen_simd.h"

#if defined(__riscv) && defined(__riscv_mul) && __riscv_xlen == 32 && !defined(__riscv_32e)
#define TG_TILE_RV32 1
#else
#define TG_TILE_RV32 0
#endif

/*
 * Four windows and the weights of four filters. A window is `rows` pieces of codes, `eights` and `rest` bytes long;
 * weights are those of four filters, tap by tap. Codes and weights are int8_t, or int16_t in the functions that
 * tinygen_halves.h has. The assembly below knows where the members are.
 */
typedef struct {
    int32_t sums[16]; /* by filter, then by pixel */
    const void *x[4]; /* where windows begin */
    const void *w;
    int32_t rows;   /* at least 1 */
    int32_t eights; /* bytes of a piece in whole eights of codes */
    int32_t rest;   /* bytes of a piece beyond */
    int32_t skip;   /* bytes from the end of a piece to the next */
} tg_tile;

#if defined(__thumb__) && !defined(__thumb2__)
#define TG_TILE_ARMV6M 1
#else
#define TG_TILE_ARMV6M 0
#endif

#if TG_TILE_RV32 || TG_TILE_ARMV6M

/* Nothing of these functions is visible to compilers but that they are called. */
#if defined(__clang__)
#define TG_ASSEMBLY static __attribute__((naked, noinline, unused))
#else
#define TG_ASSEMBLY static __attribute__((naked, noipa, unused))
#endif

#endif

/*
 * The functions below are written once, for codes X and weights W: TG_DOT_4X4(name, X, W, load of a code, bytes of it,
 * load of a weight, bytes of it). On RV32 loads are `lb` and `lh`; on Armv6-M they are what follows `ldr`: a code's
 * `sb` or `sh`, a weight's `b` or `h`, which another instruction extends.
 */
#if TG_TILE_RV32
#define TG_OF_BYTE "lb", "1"
#define TG_OF_HALF "lh", "2"

/*
 * 3.06 cycles a product where a load takes two: s0 to s11 and a2 to a5 are sums, a0, a1, a6 and a7 windows, t6 weights,
 * ra is where a piece ends.
 */
#define TG_DOT_4X4_(name, X, W, lx, sx, lw, sw) \
    TG_ASSEMBLY void name(tg_tile *tile __attribute__((unused))) \
    { \
        __asm__ volatile( \
            ".macro tg_mac4 a, b, c, d\n\t" \
            "mul t5, t0, t4\n\tadd \\a, \\a, t5\n\tmul t5, t1, t4\n\tadd \\b, \\b, t5\n\t" \
            "mul t5, t2, t4\n\tadd \\c, \\c, t5\n\tmul t5, t3, t4\n\tadd \\d, \\d, t5\n\t" \
            ".endm\n\t" \
            ".macro tg_tap x, w0, w1, w2, w3\n\t" \
            lx " t0, \\x*" sx "(a0)\n\t" lx " t1, \\x*" sx "(a1)\n\t" \
            lx " t2, \\x*" sx "(a6)\n\t" lx " t3, \\x*" sx "(a7)\n\t" \
            lw " t4, \\w0*" sw "(t6)\n\ttg_mac4 s0, s1, s2, s3\n\t" \
            lw " t4, \\w1*" sw "(t6)\n\ttg_mac4 s4, s5, s6, s7\n\t" \
            lw " t4, \\w2*" sw "(t6)\n\ttg_mac4 s8, s9, s10, s11\n\t" \
            lw " t4, \\w3*" sw "(t6)\n\ttg_mac4 a2, a3, a4, a5\n\t" \
            ".endm\n\t" \
            ".macro tg_forward codes, weights\n\t" \
            "addi a0, a0, \\codes*" sx "\n\taddi a1, a1, \\codes*" sx "\n\t" \
            "addi a6, a6, \\codes*" sx "\n\taddi a7, a7, \\codes*" sx "\n\t" \
            "addi t6, t6, \\weights*" sw "\n\t" \
            ".endm\n\t" \
            "addi sp, sp, -64\n\t" \
            "sw s0, 0(sp)\n\tsw s1, 4(sp)\n\tsw s2, 8(sp)\n\tsw s3, 12(sp)\n\tsw s4, 16(sp)\n\tsw s5, 20(sp)\n\t" \
            "sw s6, 24(sp)\n\tsw s7, 28(sp)\n\tsw s8, 32(sp)\n\tsw s9, 36(sp)\n\tsw s10, 40(sp)\n\tsw s11, 44(sp)\n\t" \
            "sw ra, 48(sp)\n\tsw a0, 52(sp)\n\tlw t0, 84(a0)\n\tsw t0, 56(sp)\n\t" \
            "lw t6, 80(a0)\n\tlw a1, 68(a0)\n\tlw a6, 72(a0)\n\tlw a7, 76(a0)\n\tmv t5, a0\n\tlw a0, 64(a0)\n\t" \
            "li s0, 0\n\tli s1, 0\n\tli s2, 0\n\tli s3, 0\n\tli s4, 0\n\tli s5, 0\n\tli s6, 0\n\tli s7, 0\n\t" \
            "li s8, 0\n\tli s9, 0\n\tli s10, 0\n\tli s11, 0\n\tli a2, 0\n\tli a3, 0\n\tli a4, 0\n\tli a5, 0\n" \
            "1:\n\t" \
            "lw ra, 88(t5)\n\tbeqz ra, 3f\n\tadd ra, ra, a0\n" \
            "2:\n\t" \
            "tg_tap 0, 0, 1, 2, 3\n\ttg_tap 1, 4, 5, 6, 7\n\ttg_tap 2, 8, 9, 10, 11\n\ttg_tap 3, 12, 13, 14, 15\n\t" \
            "tg_tap 4, 16, 17, 18, 19\n\ttg_tap 5, 20, 21, 22, 23\n\ttg_tap 6, 24, 25, 26, 27\n\t" \
            "tg_tap 7, 28, 29, 30, 31\n\ttg_forward 8, 32\n\t" \
            "bne a0, ra, 2b\n\tlw t5, 52(sp)\n" \
            "3:\n\t" \
            "lw ra, 92(t5)\n\tbeqz ra, 5f\n\tadd ra, ra, a0\n" \
            "4:\n\t" \
            "tg_tap 0, 0, 1, 2, 3\n\ttg_forward 1, 4\n\t" \
            "bne a0, ra, 4b\n" \
            "5:\n\t" \
            "lw t0, 56(sp)\n\tlw t5, 52(sp)\n\taddi t0, t0, -1\n\tbeqz t0, 6f\n\tsw t0, 56(sp)\n\tlw t0, 96(t5)\n\t" \
            "add a0, a0, t0\n\tadd a1, a1, t0\n\tadd a6, a6, t0\n\tadd a7, a7, t0\n\tj 1b\n" \
            "6:\n\t" \
            "sw s0, 0(t5)\n\tsw s1, 4(t5)\n\tsw s2, 8(t5)\n\tsw s3, 12(t5)\n\tsw s4, 16(t5)\n\tsw s5, 20(t5)\n\t" \
            "sw s6, 24(t5)\n\tsw s7, 28(t5)\n\tsw s8, 32(t5)\n\tsw s9, 36(t5)\n\tsw s10, 40(t5)\n\tsw s11, 44(t5)\n\t" \
            "sw a2, 48(t5)\n\tsw a3, 52(t5)\n\tsw a4, 56(t5)\n\tsw a5, 60(t5)\n\t" \
            "lw s0, 0(sp)\n\tlw s1, 4(sp)\n\tlw s2, 8(sp)\n\tlw s3, 12(sp)\n\tlw s4, 16(sp)\n\tlw s5, 20(sp)\n\t" \
            "lw s6, 24(sp)\n\tlw s7, 28(sp)\n\tlw s8, 32(sp)\n\tlw s9, 36(sp)\n\tlw s10, 40(sp)\n\tlw s11, 44(sp)\n\t" \
            "lw ra, 48(sp)\n\taddi sp, sp, 64\n\tret\n\t" \
            ".purgem tg_tap\n\t.purgem tg_mac4\n\t.purgem tg_forward" \
            : \
            : \
            : "memory"); \
    }

#elif TG_TILE_ARMV6M
#define TG_OF_BYTE "b", "1"
#define TG_OF_HALF "h", "2"

/*
 * sums[4 * f + p] += x[p][i] * w[4 * i + f] for two pixels and two filters, 5.2 cycles a product on a Cortex-M0+: only
 * eight registers multiply, so that sums live in r8 to r11; r2 counts bytes of codes, r12 is where it ends.
 */
#define TG_DOT_2X2(name, lx, sx, lw, sw) \
    TG_ASSEMBLY void name( \
        int32_t *sums __attribute__((unused)), \
        const void *x0 __attribute__((unused)), \
        const void *x1 __attribute__((unused)), \
        const void *w __attribute__((unused)), \
        int32_t length __attribute__((unused))) \
    { \
        __asm__ volatile( \
            ".syntax unified\n\t" \
            ".macro tg_tap w0, w1\n\t" \
            "ldrs" lx " r4, [r0, r2]\n\tldrs" lx " r5, [r1, r2]\n\tadds r2, #" sx "\n\t" \
            "ldr" lw " r6, [r3, #\\w0*" sw "]\n\tsxt" lw " r6, r6\n\tmov r7, r4\n\tmuls r7, r6, r7\n\tadd r8, r7\n\t" \
            "muls r6, r5, r6\n\tadd r9, r6\n\t" \
            "ldr" lw " r6, [r3, #\\w1*" sw "]\n\tsxt" lw " r6, r6\n\tmuls r4, r6, r4\n\tadd r10, r4\n\t" \
            "muls r5, r6, r5\n\tadd r11, r5\n\t" \
            ".endm\n\t" \
            "push {r4, r5, r6, r7, lr}\n\t" \
            "mov r4, r8\n\tmov r5, r9\n\tmov r6, r10\n\tmov r7, r11\n\tpush {r4, r5, r6, r7}\n\t" \
            "ldr r4, [r0, #0]\n\tmov r8, r4\n\tldr r4, [r0, #4]\n\tmov r9, r4\n\t" \
            "ldr r4, [r0, #16]\n\tmov r10, r4\n\tldr r4, [r0, #20]\n\tmov r11, r4\n\t" \
            "mov lr, r0\n\tmov r0, r1\n\tmov r1, r2\n\tmovs r2, #0\n\t" \
            "ldr r4, [sp, #36]\n\tlsrs r4, r4, #2+" sx "\n\tlsls r4, r4, #2+" sx "\n\tmov r12, r4\n\tbne 1f\n\tb 2f\n" \
            "1:\n\t" \
            "tg_tap 0, 1\n\ttg_tap 4, 5\n\ttg_tap 8, 9\n\ttg_tap 12, 13\n\t" \
            "tg_tap 16, 17\n\ttg_tap 20, 21\n\ttg_tap 24, 25\n\ttg_tap 28, 29\n\t" \
            "adds r3, #32*" sw "\n\tcmp r2, r12\n\tbeq 2f\n\tb 1b\n" \
            "2:\n\t" \
            "ldr r4, [sp, #36]\n\tmov r12, r4\n" \
            "3:\n\t" \
            "cmp r2, r12\n\tbeq 4f\n\ttg_tap 0, 1\n\tadds r3, #4*" sw "\n\tb 3b\n" \
            "4:\n\t" \
            "mov r0, lr\n\tmov r4, r8\n\tmov r5, r9\n\tmov r6, r10\n\tmov r7, r11\n\t" \
            "str r4, [r0, #0]\n\tstr r5, [r0, #4]\n\tstr r6, [r0, #16]\n\tstr r7, [r0, #20]\n\t" \
            "pop {r4, r5, r6, r7}\n\tmov r8, r4\n\tmov r9, r5\n\tmov r10, r6\n\tmov r11, r7\n\t" \
            "pop {r4, r5, r6, r7, pc}\n\t" \
            ".purgem tg_tap" \
            : \
            : \
            : "memory"); \
    }

#define TG_DOT_4X4_(name, X, W, lx, sx, lw, sw) \
    TG_DOT_2X2(name##_2x2, lx, sx, lw, sw) \
    static inline void name(tg_tile *tile) \
    { \
        const W *w = tile->w; \
        const int32_t length = tile->eights + tile->rest; \
        const int32_t weights = 4 * length / (int32_t)sizeof(X); \
        ptrdiff_t at = 0; \
        for (int32_t i = 0; i < 16; i++) { \
            tile->sums[i] = 0; \
        } \
        for (int32_t row = 0; row < tile->rows; row++, at += length + tile->skip, w += weights) { \
            for (int32_t f = 0; f < 4; f += 2) { \
                for (int32_t p = 0; p < 4; p += 2) { \
                    const int8_t *const x0 = (const int8_t *)tile->x[p] + at; \
                    const int8_t *const x1 = (const int8_t *)tile->x[p + 1] + at; \
                    name##_2x2(tile->sums + 4 * f + p, x0, x1, w + f, length); \
                } \
            } \
        } \
    }

#else
#define TG_OF_BYTE "", ""
#define TG_OF_HALF "", ""

#define TG_DOT_4X4_(name, X, W, lx, sx, lw, sw) \
    static inline void name(tg_tile *tile) \
    { \
        const W *w = tile->w; \
        const int32_t length = (tile->eights + tile->rest) / (int32_t)sizeof(X); \
        ptrdiff_t at = 0; \
        for (int32_t i = 0; i < 16; i++) { \
            tile->sums[i] = 0; \
        } \
        for (int32_t row = 0; row < tile->rows; row++, at += length + tile->skip / (int32_t)sizeof(X)) { \
            for (int32_t i = 0; i < length; i++, w += 4) { \
                for (int32_t j = 0; j < 16; j++) { \
                    tile->sums[j] += ((const X *)tile->x[j & 3])[at + i] * w[j >> 2]; \
                } \
            } \
        } \
    }

#endif

/* sums[f] += x[i] * w[4 * i + f] for eight codes: one statement, so that nothing is loaded before there is a
   register. */
#if TG_TILE_RV32
#define TG_TAP(lx, sx, lw, sw, x, w0, w1, w2, w3) \
    lx " %4, " x "*" sx "(%6)\n\t" \
    lw " %5, " w0 "*" sw "(%7)\n\tmul %5, %5, %4\n\tadd %0, %0, %5\n\t" \
    lw " %5, " w1 "*" sw "(%7)\n\tmul %5, %5, %4\n\tadd %1, %1, %5\n\t" \
    lw " %5, " w2 "*" sw "(%7)\n\tmul %5, %5, %4\n\tadd %2, %2, %5\n\t" \
    lw " %5, " w3 "*" sw "(%7)\n\tmul %5, %5, %4\n\tadd %3, %3, %5\n\t"
#define TG_EIGHT_BY_FOUR(sums, x, w, X, W, lx, sx, lw, sw) \
    do { \
        int32_t code_; \
        int32_t weight_; \
        __asm__ volatile( \
            TG_TAP(lx, sx, lw, sw, "0", "0", "1", "2", "3") TG_TAP(lx, sx, lw, sw, "1", "4", "5", "6", "7") \
            TG_TAP(lx, sx, lw, sw, "2", "8", "9", "10", "11") TG_TAP(lx, sx, lw, sw, "3", "12", "13", "14", "15") \
            TG_TAP(lx, sx, lw, sw, "4", "16", "17", "18", "19") TG_TAP(lx, sx, lw, sw, "5", "20", "21", "22", "23") \
            TG_TAP(lx, sx, lw, sw, "6", "24", "25", "26", "27") TG_TAP(lx, sx, lw, sw, "7", "28", "29", "30", "31") \
            : "+r"((sums)[0]), "+r"((sums)[1]), "+r"((sums)[2]), "+r"((sums)[3]), "=&r"(code_), "=&r"(weight_) \
            : "r"(x), "r"(w) \
            : "memory"); \
    } while (0)
#else
#define TG_EIGHT_BY_FOUR(sums, x, w, X, W, lx, sx, lw, sw) \
    for (int32_t i = 0; i < 8; i++) { \
        const int32_t code_ = (x)[i]; \
        (sums)[0] += code_ * (w)[4 * i]; \
        (sums)[1] += code_ * (w)[4 * i + 1]; \
        (sums)[2] += code_ * (w)[4 * i + 2]; \
        (sums)[3] += code_ * (w)[4 * i + 3]; \
    }
#endif

/* Once in a model, and rolled up: code comes from flash, too. Only the shortest loops are written out, twice. */
#if defined(__GNUC__)
#define TG_ONCE static __attribute__((noinline, unused))
#else
#define TG_ONCE static inline
#endif
/* One window and four filters: the first four sums. */
#if TG_TILE_ARMV6M
/*
 * sums[f] += x[i] * w[4 * i + f] for four filters, 4.9 cycles a product: weights, which begin at a multiple of four
 * bytes, are loaded by the word. Sums are in r8 to r11; r3 counts bytes of codes, to r7 those of whole eights, to r12
 * all.
 */
#define TG_DOT_1X4(name, lx, sx, sw) \
    TG_ASSEMBLY void name( \
        int32_t *sums __attribute__((unused)), \
        const void *x __attribute__((unused)), \
        const void *w __attribute__((unused)), \
        int32_t length __attribute__((unused))) \
    { \
        __asm__ volatile( \
            ".syntax unified\n\t" \
            ".macro tg_last sum\n\tmuls r5, r4, r5\n\tadd \\sum, r5\n\t.endm\n\t" \
            ".macro tg_other sum\n\tmuls r6, r4, r6\n\tadd \\sum, r6\n\t.endm\n\t" \
            ".macro tg_tap at\n\t" \
            "ldrs" lx " r4, [r1, r3]\n\tadds r3, #" sx "\n\tldr r5, [r2, #4*" sw "*\\at]\n\t" \
            ".if " sw " == 1\n\t" \
            "sxtb r6, r5\n\ttg_other r8\n\tlsls r6, r5, #16\n\tasrs r6, r6, #24\n\ttg_other r9\n\t" \
            "lsls r6, r5, #8\n\tasrs r6, r6, #24\n\ttg_other r10\n\tasrs r5, r5, #24\n\ttg_last r11\n\t" \
            ".else\n\t" \
            "sxth r6, r5\n\ttg_other r8\n\tasrs r5, r5, #16\n\ttg_last r9\n\tldr r5, [r2, #4*" sw "*\\at+4]\n\t" \
            "sxth r6, r5\n\ttg_other r10\n\tasrs r5, r5, #16\n\ttg_last r11\n\t" \
            ".endif\n\t" \
            ".endm\n\t" \
            "push {r4, r5, r6, r7, lr}\n\t" \
            "mov r4, r8\n\tmov r5, r9\n\tmov r6, r10\n\tmov r7, r11\n\tpush {r4, r5, r6, r7}\n\t" \
            "mov r12, r3\n\tmovs r7, #8*" sx "-1\n\tbics r3, r3, r7\n\tmov r7, r3\n\tmovs r3, #0\n\t" \
            "mov r8, r3\n\tmov r9, r3\n\tmov r10, r3\n\tmov r11, r3\n\tcmp r7, #0\n\tbne 1f\n\tb 2f\n" \
            "1:\n\t" \
            "tg_tap 0\n\ttg_tap 1\n\ttg_tap 2\n\ttg_tap 3\n\ttg_tap 4\n\ttg_tap 5\n\ttg_tap 6\n\ttg_tap 7\n\t" \
            "adds r2, #32*" sw "\n\tcmp r3, r7\n\tbeq 2f\n\tb 1b\n" \
            "2:\n\t" \
            "cmp r3, r12\n\tbeq 3f\n\ttg_tap 0\n\tadds r2, #4*" sw "\n\tb 2b\n" \
            "3:\n\t" \
            "ldmia r0!, {r4, r5, r6, r7}\n\tsubs r0, #16\n\t" \
            "add r4, r8\n\tadd r5, r9\n\tadd r6, r10\n\tadd r7, r11\n\tstmia r0!, {r4, r5, r6, r7}\n\t" \
            "pop {r4, r5, r6, r7}\n\tmov r8, r4\n\tmov r9, r5\n\tmov r10, r6\n\tmov r11, r7\n\t" \
            "pop {r4, r5, r6, r7, pc}\n\t" \
            ".purgem tg_tap\n\t.purgem tg_last\n\t.purgem tg_other" \
            : \
            : \
            : "memory"); \
    }

#define TG_TILE_1X4_(name, X, W, lx, sx, lw, sw) \
    TG_DOT_1X4(name##_dot, lx, sx, sw) \
    TG_ONCE void name(tg_tile *tile) \
    { \
        const int8_t *x = tile->x[0]; \
        const W *w = tile->w; \
        const int32_t length = tile->eights + tile->rest; \
        const int32_t weights = 4 * length / (int32_t)sizeof(X); \
        for (int32_t i = 0; i < 4; i++) { \
            tile->sums[i] = 0; \
        } \
        for (int32_t row = tile->rows; row > 0; row--, x += length + tile->skip, w += weights) { \
            name##_dot(tile->sums, x, w, length); \
        } \
    }
#else
#define TG_TILE_1X4_(name, X, W, lx, sx, lw, sw) \
    TG_ONCE void name(tg_tile *tile) \
    { \
        const X *x = tile->x[0]; \
        const W *w = tile->w; \
        const int32_t skip = tile->skip / (int32_t)sizeof(X); \
        int32_t sums[4] = {0, 0, 0, 0}; \
        for (int32_t row = tile->rows; row > 0; row--, x += skip) { \
            const X *const whole = x + tile->eights / (int32_t)sizeof(X); \
            const X *const end = whole + tile->rest / (int32_t)sizeof(X); \
            TG_CLANG_NO_UNROLL \
            for (; x != whole; x += 8, w += 32) { \
                TG_EIGHT_BY_FOUR(sums, x, w, X, W, lx, sx, lw, sw); \
            } \
            TG_CLANG_NO_UNROLL \
            for (; x != end; x++, w += 4) { \
                sums[0] += *x * w[0]; \
                sums[1] += *x * w[1]; \
                sums[2] += *x * w[2]; \
                sums[3] += *x * w[3]; \
            } \
        } \
        for (int32_t i = 0; i < 4; i++) { \
            tile->sums[i] = sums[i]; \
        } \
    }
#endif

/* Lists of arguments are expanded before they are counted. */
#define TG_DOT_4X4(...) TG_DOT_4X4_(__VA_ARGS__)
#define TG_TILE_1X4(...) TG_TILE_1X4_(__VA_ARGS__)

/* clang-format off */
TG_DOT_4X4(tg_dot_4x4, int8_t, int8_t, TG_OF_BYTE, TG_OF_BYTE)
TG_TILE_1X4(tg_tile_1x4, int8_t, int8_t, TG_OF_BYTE, TG_OF_BYTE)
/* clang-format on */

/*
 * sum += x[i] * w[j], loaded by those instructions; i and j must be constants. In this order: gcc would load all that a
 * long sum needs before it adds.
 */
#if TG_TILE_RV32 && !defined(__clang__) && defined(__OPTIMIZE__)
#define tg_mac_at(load_x, load_w, sum, x, i, w, j) \
    do { \
        int32_t code_; \
        int32_t weight_; \
        __asm__ volatile(load_x " %1, %3(%5)\n\t" load_w " %2, %4(%6)\n\tmul %1, %1, %2\n\tadd %0, %0, %1" \
                         : "+r"(sum), "=&r"(code_), "=&r"(weight_) \
                         : "i"((int32_t)((i) * sizeof *(x))), "i"((int32_t)((j) * sizeof *(w))), "r"(x), "r"(w) \
                         : "memory"); \
    } while (0)
#else
#define tg_mac_at(load_x, load_w, sum, x, i, w, j) ((sum) += (x)[i] * (w)[j])
#endif

/* Codes of signed levels, 0 to `largest`, as the integers that they stand for. */
static inline void tg_copy_levels(int8_t *to, const int8_t *from, int32_t count, int32_t largest)
{
    for (int32_t i = 0; i < count; i++) {
        to[i] = (int8_t)(2 * from[i] - largest);
    }
}

/* Codes of 0 to 255, less 128. */
static inline void tg_copy_flipped(int8_t *to, const int8_t *from, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        to[i] = (int8_t)(from[i] ^ -128);
    }
}

/* The larger of a and b, byte by byte, signed, without a comparison: of the lower seven bits, then of the signs. */
static inline uint32_t tg_max_bytes(uint32_t a, uint32_t b)
{
    const uint32_t differ = a ^ b;
    const uint32_t lower = (a | 0x80808080U) - (b & 0x7F7F7F7FU);
    const uint32_t larger = (lower ^ ((b ^ lower) & differ)) & 0x80808080U;
    return b ^ (differ & (larger | (larger - (larger >> 7))));
}

/* The smaller: the other of the two. */
static inline uint32_t tg_min_bytes(uint32_t a, uint32_t b)
{
    return a ^ b ^ tg_max_bytes(a, b);
}

#endif
