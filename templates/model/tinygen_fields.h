/*
 * Several products in one multiplication: words whose fields are codes, and products whose fields are sums of products.
 * Each loop has a portable twin beside the one for Armv7E-M, whose registers are chosen by hand: eight of sums, two of
 * pixels, two of weights and two of addresses are all there are.
 */
#ifndef TINYGEN_FIELDS_H
#define TINYGEN_FIELDS_H

#include <stdint.h>

#include "tinygen_simd.h"

/* Functions that take little of the time: clang would unroll their loops into kilobytes of code. */
#if defined(__clang__)
#define TG_SMALL __attribute__((minsize))
#else
#define TG_SMALL
#endif

/* What those call for every row of pixels: it stays apart from them. */
#if defined(__GNUC__)
#define TG_ROW_OF static __attribute__((noinline, unused))
#else
#define TG_ROW_OF static inline
#endif

/* Bits r and above come down, those below go to the top. */
TG_INLINE uint32_t tg_rotate(uint32_t word, uint32_t r)
{
    return r > 0 ? word >> r | word << (32 - r) : word;
}

/* The same word so many times. */
TG_ROW_OF void tg_fill_words(uint32_t *to, uint32_t word, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        to[i] = word;
    }
}

/* Bits as bytes of 0 and 1, or 0 and 2 where `doubled`. `count` is a multiple of 4. */
TG_ROW_OF void tg_unpack_bits(uint8_t *to, const uint32_t *bits, int32_t count, int32_t doubled)
{
    /* Four bits times this lie at bits 0, 8, 16 and 24. */
    const uint32_t factor = UINT32_C(0x204081) << doubled;
    const uint32_t mask = UINT32_C(0x01010101) << doubled;
    for (; count >= 32; to += 32, count -= 32) {
        const uint32_t word = *bits++;
        tg_store32(to, (word & 0xFU) * factor & mask);
        tg_store32(to + 4, (word >> 4 & 0xFU) * factor & mask);
        tg_store32(to + 8, (word >> 8 & 0xFU) * factor & mask);
        tg_store32(to + 12, (word >> 12 & 0xFU) * factor & mask);
        tg_store32(to + 16, (word >> 16 & 0xFU) * factor & mask);
        tg_store32(to + 20, (word >> 20 & 0xFU) * factor & mask);
        tg_store32(to + 24, (word >> 24 & 0xFU) * factor & mask);
        tg_store32(to + 28, (word >> 28) * factor & mask);
    }
    for (int32_t i = 0; i < count; i += 4) {
        tg_store32(to + i, (*bits >> i & 0xFU) * factor & mask);
    }
}

/* The words so many bytes behind a table as the byte of `word` from bit `first` on says. */
TG_INLINE const uint32_t *tg_at_byte(const uint8_t *table, uint32_t word, int32_t first)
{
    return (const uint32_t *)(const void *)(table + (uint8_t)(word >> first));
}

/*
 * TG_FIELD_SUMS(name, steps, parts, segments, skip, apart) makes the function
 *
 *     void name(uint32_t *to, const uint32_t *x, const uint32_t *w, int32_t count)
 *
 * that adds products of 64 bits, `count` times with the same weights. Step i has two words of pixels, x[2i] and
 * x[2i + 1], and two of weights, w[2i] and w[2i + 1]. After each segment, `parts` times `steps` of them, the four sums
 * x0 w0, x1 w0, x0 w1, x1 w1 go to `to`, the low word of each first, and new ones begin. After all segments `skip`
 * words of pixels are left out. Steps: 2 to 16. What follows the last step is read, and not used. `apart`: no field
 * reaches over bit 32, so that the two words of a product may be added up apart.
 */
#if TG_HAVE_DSP
#if TG_DUAL_ISSUE
#define TG_FIELD_PARTS "4"
#define TG_FIELD_BEFORE "0"
#define TG_FIELD_BEGIN " ldr r6, [r1]\n ldr r2, [r0]\n ldr r3, [r0, #4]\n"
/* \move is "!" in the last step of a part, whose loads move the pointers along. */
#define TG_FIELD_STEP                                                                                        \
    " \\multiply r4, r5, r2, r6\n ldr r7, [r1, #8 * (\\i) + 4]\n"                                            \
    " \\multiply r8, r9, r3, r6\n ldr r6, [r1, #8 * (\\i) + 8]\\move\n"                                      \
    " \\multiply r10, r11, r2, r7\n ldr r2, [r0, #8 * (\\i) + 8]\\move\n"                                    \
    " \\multiply r12, lr, r3, r7\n .ifc \\move, !\n ldr r3, [r0, #4]\n .else\n"                              \
    " ldr r3, [r0, #8 * (\\i) + 12]\n .endif\n"
#else
#define TG_FIELD_PARTS "2"
#define TG_FIELD_BEFORE "4"
#define TG_FIELD_BEGIN ""
/* The pointers stand 4 bytes before what comes next, and the last loads of a part move them along. */
#define TG_FIELD_STEP                                                                                        \
    " ldr r2, [r0, #8 * (\\i) + 4]\n ldr r3, [r0, #8 * (\\i) + 8]\\move\n"                                   \
    " ldr r6, [r1, #8 * (\\i) + 4]\n ldr r7, [r1, #8 * (\\i) + 8]\\move\n"                                   \
    " \\multiply r4, r5, r2, r6\n \\multiply r8, r9, r3, r6\n"                                               \
    " \\multiply r10, r11, r2, r7\n \\multiply r12, lr, r3, r7\n"
#endif
/* Adds a constant of any size to a register; r7 is lost. */
#define TG_FIELD_ADD(to, bytes)                                                                              \
    " movw r7, #(" bytes ") & 0xFFFF\n movt r7, #((" bytes ") >> 16) & 0xFFFF\n add " to ", " to ", r7\n"
/*
 * Sums: r4:r5, r8:r9, r10:r11, r12:lr. On the stack: a segment's end of weights, `to`, the weights' end, `count`. A few
 * parts stand there one by one: not more than caches hold.
 */
#define TG_FIELD_SUMS(name, steps, parts, segments, skip, apart)                                             \
    void name(uint32_t *to, const uint32_t *x, const uint32_t *w, int32_t count);                            \
    __asm__(".pushsection .text." #name ", \"ax\", %progbits\n"                                              \
            " .syntax unified\n .thumb\n .balign 4\n .thumb_func\n .type " #name ", %function\n"             \
            " .macro tg_step multiply, i, move\n" TG_FIELD_STEP " .endm\n"                                   \
            " .macro tg_steps first\n"                                                                       \
            " .set tg_at, \\first\n .rept " #steps " - 1 - \\first\n tg_step umlal, tg_at\n"                 \
            " .set tg_at, tg_at + 1\n .endr\n tg_step umlal, " #steps " - 1, !\n .endm\n"                    \
            #name ":\n push {r4-r11, lr}\n sub sp, #16\n str r0, [sp, #4]\n str r3, [sp, #12]\n"            \
            " sub r0, r1, #" TG_FIELD_BEFORE "\n sub r1, r2, #" TG_FIELD_BEFORE "\n mov r2, r1\n"            \
            TG_FIELD_ADD("r2", "8 * " #steps " * " #parts " * " #segments) " str r2, [sp, #8]\n"             \
            "1:\n" TG_FIELD_BEGIN                                                                            \
            "2:\n"                                                                                           \
            " .if " #parts " > " TG_FIELD_PARTS "\n"                                                         \
            " mov r4, r1\n" TG_FIELD_ADD("r4", "8 * " #steps " * " #parts) " str r4, [sp]\n"                 \
            " tg_step umull, 0\n tg_steps 1\n"                                                               \
            "3:\n tg_steps 0\n ldr r7, [sp]\n cmp r1, r7\n bne 3b\n"                                        \
            " .else\n"                                                                                       \
            " tg_step umull, 0\n tg_steps 1\n"                                                               \
            " .rept " #parts " - 1\n tg_steps 0\n .endr\n"                                                   \
            " .endif\n"                                                                                      \
            " ldr r7, [sp, #4]\n stmia r7!, {r4, r5, r8-r12, lr}\n str r7, [sp, #4]\n"                       \
            " .if " #segments " > 1\n ldr r7, [sp, #8]\n cmp r1, r7\n bne 2b\n .endif\n"                    \
            TG_FIELD_ADD("r0", "4 * (" #skip ")")                                                            \
            TG_FIELD_ADD("r1", "-8 * " #steps " * " #parts " * " #segments)                                  \
            " ldr r7, [sp, #12]\n subs r7, #1\n str r7, [sp, #12]\n bne 1b\n"                               \
            " add sp, #16\n pop {r4-r11, pc}\n"                                                             \
            " .size " #name ", . - " #name "\n .purgem tg_step\n .purgem tg_steps\n .popsection\n");
#elif defined(__riscv_mul) && __riscv_xlen == 32
/* Adds the low and the high word of a product. */
#define TG_FIELD_PRODUCT(low, high, x, w)                                                                    \
    " mul t4, " x ", " w "\n mulhu t5, " x ", " w "\n add " low ", " low ", t4\n add " high ", " high ", t5\n"
/* Sums: a4:a5, a6:a7, s0:s1, s2:s3; parts and segments to go: t6, s4. No carry goes from word to word. */
#define TG_FIELD_SUMS(name, steps, parts, segments, skip, apart)                                             \
    void name(uint32_t *to, const uint32_t *x, const uint32_t *w, int32_t count);                            \
    __asm__(".if " #apart " == 0\n .error \"sums reach over bit 32\"\n .endif\n"                            \
            ".pushsection .text." #name ", \"ax\", %progbits\n .balign 4\n .type " #name ", %function\n"     \
            #name ":\n addi sp, sp, -32\n"                                                                  \
            " sw s0, 0(sp)\n sw s1, 4(sp)\n sw s2, 8(sp)\n sw s3, 12(sp)\n sw s4, 16(sp)\n"                  \
            "1:\n li s4, " #segments "\n"                                                                   \
            "2:\n li a4, 0\n li a5, 0\n li a6, 0\n li a7, 0\n li s0, 0\n li s1, 0\n li s2, 0\n li s3, 0\n"   \
            " li t6, " #parts "\n"                                                                           \
            "3:\n .set tg_at, 0\n .rept " #steps "\n lw t0, tg_at(a1)\n lw t1, tg_at + 4(a1)\n"             \
            " lw t2, tg_at(a2)\n lw t3, tg_at + 4(a2)\n"                                                    \
            TG_FIELD_PRODUCT("a4", "a5", "t0", "t2") TG_FIELD_PRODUCT("a6", "a7", "t1", "t2")                \
            TG_FIELD_PRODUCT("s0", "s1", "t0", "t3") TG_FIELD_PRODUCT("s2", "s3", "t1", "t3")                \
            " .set tg_at, tg_at + 8\n .endr\n"                                                              \
            " addi a1, a1, 8 * " #steps "\n addi a2, a2, 8 * " #steps "\n addi t6, t6, -1\n bnez t6, 3b\n"  \
            " sw a4, 0(a0)\n sw a5, 4(a0)\n sw a6, 8(a0)\n sw a7, 12(a0)\n"                                 \
            " sw s0, 16(a0)\n sw s1, 20(a0)\n sw s2, 24(a0)\n sw s3, 28(a0)\n addi a0, a0, 32\n"            \
            " addi s4, s4, -1\n bnez s4, 2b\n"                                                              \
            " li t4, 4 * (" #skip ")\n add a1, a1, t4\n li t4, -8 * " #steps " * " #parts " * " #segments    \
            "\n add a2, a2, t4\n addi a3, a3, -1\n bnez a3, 1b\n"                                           \
            " lw s0, 0(sp)\n lw s1, 4(sp)\n lw s2, 8(sp)\n lw s3, 12(sp)\n lw s4, 16(sp)\n"                  \
            " addi sp, sp, 32\n ret\n .size " #name ", . - " #name "\n .popsection\n");
/* The products of both words of pixels with a word of weights. */
#define TG_FIELD_PRODUCTS(low, high, low_1, high_1, w)                                                       \
    TG_FIELD_PRODUCT(low, high, "t0", w) TG_FIELD_PRODUCT(low_1, high_1, "t1", w)
/*
 * The same with four words of weights a step, and eight sums: those of x0 and x1 times w0, times w1, w2 and w3. They
 * are in a4 to s11; parts and segments to go: a3, t6; on the stack: `count`.
 */
#define TG_FIELD_SUMS_4(name, steps, parts, segments, skip, apart)                                           \
    void name(uint32_t *to, const uint32_t *x, const uint32_t *w, int32_t count);                            \
    __asm__(".if " #apart " == 0\n .error \"sums reach over bit 32\"\n .endif\n"                            \
            ".pushsection .text." #name ", \"ax\", %progbits\n .balign 4\n .type " #name ", %function\n"     \
            #name ":\n addi sp, sp, -64\n sw a3, 48(sp)\n"                                                 \
            " sw s0, 0(sp)\n sw s1, 4(sp)\n sw s2, 8(sp)\n sw s3, 12(sp)\n sw s4, 16(sp)\n sw s5, 20(sp)\n"  \
            " sw s6, 24(sp)\n sw s7, 28(sp)\n sw s8, 32(sp)\n sw s9, 36(sp)\n sw s10, 40(sp)\n sw s11, 44(sp)\n" \
            "1:\n li t6, " #segments "\n"                                                                   \
            "2:\n li a4, 0\n li a5, 0\n li a6, 0\n li a7, 0\n li s0, 0\n li s1, 0\n li s2, 0\n li s3, 0\n"   \
            " li s4, 0\n li s5, 0\n li s6, 0\n li s7, 0\n li s8, 0\n li s9, 0\n li s10, 0\n li s11, 0\n"      \
            " li a3, " #parts "\n"                                                                          \
            "3:\n .set tg_at, 0\n .rept " #steps "\n lw t0, tg_at(a1)\n lw t1, tg_at + 4(a1)\n"             \
            " lw t2, 2 * tg_at(a2)\n lw t3, 2 * tg_at + 4(a2)\n"                                            \
            TG_FIELD_PRODUCTS("a4", "a5", "a6", "a7", "t2") " lw t2, 2 * tg_at + 8(a2)\n"                    \
            TG_FIELD_PRODUCTS("s0", "s1", "s2", "s3", "t3") " lw t3, 2 * tg_at + 12(a2)\n"                   \
            TG_FIELD_PRODUCTS("s4", "s5", "s6", "s7", "t2") TG_FIELD_PRODUCTS("s8", "s9", "s10", "s11", "t3") \
            " .set tg_at, tg_at + 8\n .endr\n"                                                              \
            " addi a1, a1, 8 * " #steps "\n addi a2, a2, 16 * " #steps "\n addi a3, a3, -1\n bnez a3, 3b\n" \
            " sw a4, 0(a0)\n sw a5, 4(a0)\n sw a6, 8(a0)\n sw a7, 12(a0)\n"                                 \
            " sw s0, 16(a0)\n sw s1, 20(a0)\n sw s2, 24(a0)\n sw s3, 28(a0)\n"                              \
            " sw s4, 32(a0)\n sw s5, 36(a0)\n sw s6, 40(a0)\n sw s7, 44(a0)\n"                              \
            " sw s8, 48(a0)\n sw s9, 52(a0)\n sw s10, 56(a0)\n sw s11, 60(a0)\n addi a0, a0, 64\n"         \
            " addi t6, t6, -1\n bnez t6, 2b\n"                                                              \
            " li t4, 4 * (" #skip ")\n add a1, a1, t4\n li t4, -16 * " #steps " * " #parts " * " #segments   \
            "\n add a2, a2, t4\n lw a3, 48(sp)\n addi a3, a3, -1\n sw a3, 48(sp)\n bnez a3, 1b\n"          \
            " lw s0, 0(sp)\n lw s1, 4(sp)\n lw s2, 8(sp)\n lw s3, 12(sp)\n lw s4, 16(sp)\n lw s5, 20(sp)\n"  \
            " lw s6, 24(sp)\n lw s7, 28(sp)\n lw s8, 32(sp)\n lw s9, 36(sp)\n lw s10, 40(sp)\n lw s11, 44(sp)\n" \
            " addi sp, sp, 64\n ret\n .size " #name ", . - " #name "\n .popsection\n");
#else
/* Adds the product of two words to a sum. */
TG_INLINE void tg_field_mac(uint32_t sum[2], uint32_t x, uint32_t w, int apart)
{
    const uint64_t product = (uint64_t)x * w;
    if (apart) {
        sum[0] += (uint32_t)product;
        sum[1] += (uint32_t)(product >> 32);
    } else {
        const uint64_t whole = ((uint64_t)sum[1] << 32 | sum[0]) + product;
        sum[0] = (uint32_t)whole;
        sum[1] = (uint32_t)(whole >> 32);
    }
}

/* Of `words` operands of weights a step: each times both words of pixels. */
TG_INLINE void tg_field_sums(
    uint32_t *restrict to, const uint32_t *restrict x, const uint32_t *restrict w, int32_t steps, int32_t words,
    int apart)
{
    for (int32_t k = 0; k < words; k++, to += 4) {
        uint32_t a[2] = {0, 0}, b[2] = {0, 0};
        for (int32_t i = 0; i < steps; i++) {
            tg_field_mac(a, x[2 * i], w[words * i + k], apart);
            tg_field_mac(b, x[2 * i + 1], w[words * i + k], apart);
        }
        to[0] = a[0], to[1] = a[1], to[2] = b[0], to[3] = b[1];
    }
}

#define TG_FIELD_SUMS_OF(name, words, steps, parts, segments, skip, apart)                                   \
    TG_NOINLINE void name(uint32_t *to, const uint32_t *x, const uint32_t *w, int32_t count)                    \
    {                                                                                                        \
        const int32_t each = (steps) * (parts);                                                              \
        for (; count > 0; count--, x += 2 * each * (segments) + (skip)) {                                    \
            for (int32_t i = 0; i < (segments); i++, to += 4 * (words)) {                                    \
                tg_field_sums(to, x + 2 * each * i, w + (words) * each * i, each, words, apart);             \
            }                                                                                                \
        }                                                                                                    \
    }
#define TG_FIELD_SUMS(name, steps, parts, segments, skip, apart)                                             \
    TG_FIELD_SUMS_OF(name, 2, steps, parts, segments, skip, apart)
#define TG_FIELD_SUMS_4(name, steps, parts, segments, skip, apart)                                           \
    TG_FIELD_SUMS_OF(name, 4, steps, parts, segments, skip, apart)
#endif

/* TG_FIELD_SUMS_32() is the same with the low words of products alone: the four sums take a word each. */
#if defined(__ARM_ARCH_6M__)
/* Sums: r8 to r11; `to`: r12; segments to go: lr; on the stack: `count`. What is added to low registers sets flags. */
#define TG_FIELD_SUMS_32(name, steps, parts, segments, skip)                                                 \
    void name(uint32_t *to, const uint32_t *x, const uint32_t *w, int32_t count);                            \
    __asm__(".pushsection .text." #name ", \"ax\", %progbits\n"                                              \
            " .syntax unified\n .thumb\n .balign 4\n .thumb_func\n .type " #name ", %function\n" #name ":\n"  \
            " push {r3-r7, lr}\n mov r4, r8\n mov r5, r9\n mov r6, r10\n mov r7, r11\n push {r4-r7}\n"        \
            " mov r12, r0\n movs r0, r1\n movs r1, r2\n"                                                     \
            "1:\n movs r6, #" #segments "\n mov lr, r6\n"                                                    \
            "2:\n movs r6, #0\n mov r8, r6\n mov r9, r6\n mov r10, r6\n mov r11, r6\n movs r7, #" #parts "\n" \
            "3:\n .rept " #steps "\n ldmia r0!, {r2, r3}\n ldmia r1!, {r4, r5}\n"                            \
            " movs r6, r2\n muls r6, r4, r6\n muls r2, r5, r2\n add r8, r6\n add r10, r2\n"                  \
            " muls r4, r3, r4\n muls r3, r5, r3\n add r9, r4\n add r11, r3\n .endr\n"                       \
            " subs r7, #1\n beq 4f\n b 3b\n"                                                                \
            "4:\n mov r6, r12\n mov r2, r8\n mov r3, r9\n mov r4, r10\n mov r5, r11\n stmia r6!, {r2-r5}\n"  \
            " mov r12, r6\n mov r6, lr\n subs r6, #1\n mov lr, r6\n beq 5f\n b 2b\n"                        \
            "5:\n ldr r6, =4 * (" #skip ")\n add r0, r6\n"                                                  \
            " ldr r6, =8 * " #steps " * " #parts " * " #segments "\n subs r1, r1, r6\n"                      \
            " ldr r6, [sp, #16]\n subs r6, #1\n str r6, [sp, #16]\n beq 6f\n b 1b\n"                        \
            "6:\n pop {r4-r7}\n mov r8, r4\n mov r9, r5\n mov r10, r6\n mov r11, r7\n pop {r3-r7, pc}\n"      \
            " .ltorg\n .size " #name ", . - " #name "\n .popsection\n");
#else
TG_INLINE void tg_field_sums_32(
    uint32_t *restrict to, const uint32_t *restrict x, const uint32_t *restrict w, int32_t steps)
{
    uint32_t a = 0, b = 0, c = 0, d = 0;
    for (int32_t i = 0; i < steps; i++, x += 2, w += 2) {
        a += x[0] * w[0];
        b += x[1] * w[0];
        c += x[0] * w[1];
        d += x[1] * w[1];
    }
    to[0] = a, to[1] = b, to[2] = c, to[3] = d;
}

#define TG_FIELD_SUMS_32(name, steps, parts, segments, skip)                                                 \
    TG_NOINLINE void name(uint32_t *to, const uint32_t *x, const uint32_t *w, int32_t count)                    \
    {                                                                                                        \
        const int32_t each = 2 * (steps) * (parts);                                                          \
        for (; count > 0; count--, x += each * (segments) + (skip)) {                                        \
            for (int32_t i = 0; i < (segments); i++, to += 4) {                                              \
                tg_field_sums_32(to, x + each * i, w + each * i, each / 2);                                  \
            }                                                                                                \
        }                                                                                                    \
    }
#endif

/*
 * TG_KERNEL_SUMS(name, filters, second, channel) makes the function
 *
 *     void name(int32_t *sums, const uint32_t *tables, const uint32_t *w, int32_t count)
 *
 * that adds to the sums of four pixels, for each filter, those of `count` kernels, an even number. A kernel is a word:
 * of the places of its entries in two tables, a byte each, and of its scale above. An entry has two words, two pixels
 * in each. The second table is `second` bytes behind the first, the next channel's `channel` bytes behind that.
 */
#if TG_HAVE_DSP
/*
 * Sums: r4-r7; words of this kernel and the next: r8, r9; entries: r10 to lr. Loads stand by twos, other instructions
 * beside multiplications. The word behind the last one is read, and not used.
 */
#define TG_KERNEL_SUMS(name, filters, second, channel)                                                       \
    void name(int32_t *sums, const uint32_t *tables, const uint32_t *w, int32_t count);                      \
    __asm__(".pushsection .text." #name ", \"ax\", %progbits\n"                                              \
            " .syntax unified\n .thumb\n .balign 4\n .thumb_func\n .type " #name ", %function\n"             \
            " .macro tg_entries at\n"                                                                 \
            " ldr r10, [r11, #\\at]\n ldr r12, [r11, #\\at + 4]\n"                                          \
            " ldr r11, [lr, #\\at + " #second "]\n ldr lr, [lr, #\\at + " #second " + 4]\n .endm\n"          \
            " .macro tg_kernel word, next, beside:vararg\n add r10, r11\n add r12, lr\n"                    \
            " uxtab r11, r1, \\next\n smlabt r4, r10, \\word, r4\n"                                         \
            " uxtab lr, r1, \\next, ror #8\n smlatt r5, r10, \\word, r5\n"                                  \
            " smlabt r6, r12, \\word, r6\n \\beside\n"                                                     \
            " smlatt r7, r12, \\word, r7\n ldr \\word, [r2], #4\n .endm\n"                                 \
            #name ":\n push {r4-r11, lr}\n sub sp, #12\n movw r4, #" #filters "\n subs r3, #2\n"            \
            " str r1, [sp]\n str r3, [sp, #4]\n str r4, [sp, #8]\n ldr r8, [r2], #4\n"                      \
            "1:\n ldm r0, {r4-r7}\n uxtab r11, r1, r8\n uxtab lr, r1, r8, ror #8\n ldr r9, [r2], #4\n"     \
            " tg_entries 0\n cmp r3, #0\n beq 3f\n"                                                    \
            "2:\n tg_kernel r8, r9, addw r1, r1, #2 * " #channel "\n tg_entries " #channel "\n"         \
            " tg_kernel r9, r8, subs r3, #2\n tg_entries 0\n bne 2b\n"                                 \
            "3:\n tg_kernel r8, r9, ldr r1, [sp]\n tg_entries " #channel "\n"                           \
            " add r10, r11\n add r12, lr\n smlabt r4, r10, r9, r4\n ldr r11, [sp, #8]\n"                   \
            " smlatt r5, r10, r9, r5\n ldr r3, [sp, #4]\n smlabt r6, r12, r9, r6\n smlatt r7, r12, r9, r7\n" \
            " stmia r0!, {r4-r7}\n subs r11, #1\n str r11, [sp, #8]\n bne 1b\n"                            \
            " add sp, #12\n pop {r4-r11, pc}\n .size " #name ", . - " #name "\n"                            \
            " .purgem tg_entries\n .purgem tg_kernel\n .popsection\n");
#else
/* Sums of whole words times scales, and of upper halves: what is too much in the first is known from the second. */
TG_INLINE void tg_kernel_sums(
    int32_t sums[4], const uint8_t *table, const uint32_t *w, int32_t count, int32_t second, int32_t channel)
{
    uint32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    TG_UNROLL_2
    for (int32_t i = 0; i < count; i++, table += channel) {
        const uint32_t word = w[i];
        const uint32_t *const t0 = tg_at_byte(table, word, 0);
        const uint32_t *const t1 = tg_at_byte(table, word, 8) + second / 4;
        const uint32_t low = t0[0] + t1[0];
        const uint32_t high = t0[1] + t1[1];
        const uint32_t scale = word >> 16;
        s0 += low * scale;
        s1 += (low >> 16) * scale;
        s2 += high * scale;
        s3 += (high >> 16) * scale;
    }
    sums[0] += (int32_t)(s0 - (s1 << 16));
    sums[1] += (int32_t)s1;
    sums[2] += (int32_t)(s2 - (s3 << 16));
    sums[3] += (int32_t)s3;
}

#define TG_KERNEL_SUMS(name, filters, second, channel)                                                       \
    TG_NOINLINE void name(int32_t *sums, const uint32_t *tables, const uint32_t *w, int32_t count)              \
    {                                                                                                        \
        for (int32_t o = 0; o < (filters); o++, sums += 4, w += count) {                                     \
            tg_kernel_sums(sums, (const uint8_t *)tables, w, count, second, channel);                        \
        }                                                                                                    \
    }
#endif

#endif
