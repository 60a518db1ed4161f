/*
 * Products of depthwise convolutions with pairs of rows. As those of tinygen_simd.h they stay in the order in which
 * they are written.
 */
#ifndef TINYGEN_DEPTHWISE_H
#define TINYGEN_DEPTHWISE_H

#include <stdint.h>

#include "tinygen_simd.h"

/*
 * Loops that are not unrolled on a Cortex-M4: its boards read flash through a cache of a kilobyte, which unrolled ones
 * would not fit. Clang does not unroll them.
 */
#if !defined(__clang__) && defined(__ARM_ARCH_7EM__) && !TG_DUAL_ISSUE
#define TG_NO_UNROLL_M4 TG_NO_UNROLL
#else
#define TG_NO_UNROLL_M4
#endif

/* words += n, and the word there; 4 * n must be below 256. */
TG_INLINE uint32_t tg_load_and_move(const uint32_t **words, int32_t n)
{
#if TG_HAVE_DSP && defined(__OPTIMIZE__)
    uint32_t word;
    __asm__ volatile("ldr %0, [%1, %2]!" : "=r"(word), "+r"(*words) : "i"(4 * n));
    return word;
#else
    *words += n;
    return **words;
#endif
}

/* x >> shift, held within int8, in the order in which it is written; the shift must be a constant. */
TG_INLINE int32_t tg_saturate_in_order(int32_t x, int32_t shift)
{
#if TG_HAVE_DSP && defined(__OPTIMIZE__)
    int32_t code;
    __asm__ volatile("ssat %0, #8, %1, asr %2" : "=r"(code) : "r"(x), "i"(shift));
    return code;
#else
    return tg_saturate_s8(x >> shift);
#endif
}

/*
 * sum + a * b over both halves of two pairs; over the top or bottom half of a and of b. Unlike what tg_mac() is given,
 * the sum may stay where it is: several begin with one bias.
 */
#if TG_HAVE_DSP
#define TG_MLA(name, instruction, product)                                                                   \
    TG_INLINE int32_t name(int32_t sum, uint32_t a, uint32_t b)                                              \
    {                                                                                                        \
        int32_t next;                                                                                        \
        __asm__ volatile(instruction " %0, %1, %2, %3" : "=r"(next) : "r"(a), "r"(b), "r"(sum));             \
        return next;                                                                                         \
    }
#else
#define TG_MLA(name, instruction, product)                                                                   \
    TG_INLINE int32_t name(int32_t sum, uint32_t a, uint32_t b)                                              \
    {                                                                                                        \
        return (int32_t)((int64_t)sum + (product));                                                          \
    }
#endif
TG_MLA(tg_mla, "smlad", (int64_t)tg_low_half(a) * tg_low_half(b) + (int64_t)tg_high_half(a) * tg_high_half(b))
TG_MLA(tg_mla_bb, "smlabb", tg_low_half(a) * tg_low_half(b))
TG_MLA(tg_mla_bt, "smlabt", tg_low_half(a) * tg_high_half(b))
TG_MLA(tg_mla_tb, "smlatb", tg_high_half(a) * tg_low_half(b))

#endif
