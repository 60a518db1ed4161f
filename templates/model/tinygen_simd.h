/*
 * The Armv7E-M SIMD instructions the kernels use, each with a portable twin that computes the same,
 * so that every kernel also runs (and is tested) on any host. A "pair" is two int16 in one word. Sums wrap around, as
 * registers do: a kernel may also finish what it does not use.
 */
#ifndef TINYGEN_SIMD_H
#define TINYGEN_SIMD_H

#include <stdint.h>

#include "tinygen_math.h"

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
#include <arm_acle.h>
#define TG_HAVE_DSP 1
#else
#define TG_HAVE_DSP 0
#endif

/* Cores that issue two instructions at once (Cortex-M7) want loads between products, others want them together. */
#ifndef TG_DUAL_ISSUE
#define TG_DUAL_ISSUE 0
#endif

/* Inner loops: their operands must be in registers, whatever a compiler thinks of the function's size. */
#if defined(__GNUC__)
#define TG_INLINE static inline __attribute__((always_inline))
#else
#define TG_INLINE static inline
#endif

/* Functions that are never inlined. */
#if defined(__GNUC__)
#define TG_NOINLINE static __attribute__((noinline))
#else
#define TG_NOINLINE static
#endif

/*
 * Loops that are not unrolled (GCC unrolls those of in-line assembly, too) or unrolled by two: compilers would make
 * kilobytes of code of them.
 */
#if defined(__clang__)
#define TG_CLANG_NO_UNROLL _Pragma("clang loop unroll(disable)")
#define TG_NO_UNROLL TG_CLANG_NO_UNROLL
#define TG_UNROLL_2 _Pragma("clang loop unroll_count(2)")
#elif defined(__GNUC__)
#define TG_CLANG_NO_UNROLL
#define TG_NO_UNROLL _Pragma("GCC unroll 1")
#define TG_UNROLL_2 _Pragma("GCC unroll 2")
#else
#define TG_CLANG_NO_UNROLL
#define TG_NO_UNROLL
#define TG_UNROLL_2
#endif

/* Four bytes from any address. */
static inline uint32_t tg_load32(const void *address)
{
    uint32_t word;
    TG_COPY(&word, address, sizeof word);
    return word;
}

static inline void tg_store32(void *address, uint32_t word)
{
    TG_COPY(address, &word, sizeof word);
}

static inline int32_t tg_low_half(uint32_t pair)
{
    return (int16_t)(uint16_t)(pair & 0xFFFFU);
}

static inline int32_t tg_high_half(uint32_t pair)
{
    return (int16_t)(uint16_t)(pair >> 16);
}

/* Bytes 0 and 2, sign-extended to a pair. */
static inline uint32_t tg_sxtb16(uint32_t word)
{
#if TG_HAVE_DSP
    return (uint32_t)__sxtb16((int8x4_t)word);
#else
    const uint32_t bytes = word & 0x00FF00FFU;
    const uint32_t signs = bytes & 0x00800080U;
    return bytes | ((signs << 9) - (signs << 1));
#endif
}

/* Bytes 1 and 3, sign-extended to a pair: the instruction rotates for nothing, but gcc needs to be told. */
static inline uint32_t tg_sxtb16_odd(uint32_t word)
{
#if TG_HAVE_DSP
    uint32_t pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
    return pair;
#else
    return tg_sxtb16((word >> 8) | (word << 24));
#endif
}

/* offset + (x * multiplier >> 32) */
static inline int32_t tg_high_mla(int32_t offset, int32_t x, int32_t multiplier)
{
#if TG_HAVE_DSP
    int32_t sum;
    __asm__("smmla %0, %1, %2, %3" : "=r"(sum) : "r"(x), "r"(multiplier), "r"(offset));
    return sum;
#elif defined(__thumb__) && !defined(__thumb2__)
    /* Nothing gives the high half of a product: halves are multiplied, which is half of what a product of 64 bits
       is. */
    const uint32_t x_low = (uint32_t)x & 0xFFFFU;
    const uint32_t m_low = (uint32_t)multiplier & 0xFFFFU;
    const int32_t cross = (x >> 16) * (int32_t)m_low + (int32_t)((x_low * m_low) >> 16);
    const int32_t low = (int32_t)x_low * (multiplier >> 16) + (cross & 0xFFFF);
    return (int32_t)((uint32_t)offset + (uint32_t)((x >> 16) * (multiplier >> 16) + (cross >> 16) + (low >> 16)));
#else
    return (int32_t)(offset + (((int64_t)x * multiplier) >> 32));
#endif
}

/* x * multiplier >> 32 */
static inline int32_t tg_high(int32_t x, int32_t multiplier)
{
#if defined(__thumb__) && !defined(__thumb2__)
    return tg_high_mla(0, x, multiplier);
#else
    return (int32_t)(((int64_t)x * multiplier) >> 32);
#endif
}

/*
 * tg_high_mla() for several sums, all of which are scaled before the first is finished: clang makes SMMLA of it itself,
 * and then puts something between it and what waits for it.
 */
#if TG_HAVE_DSP && defined(__clang__)
static inline int32_t tg_high_mla_of_several(int32_t offset, int32_t x, int32_t multiplier)
{
    return (int32_t)(offset + (((int64_t)x * multiplier) >> 32));
}
#else
#define tg_high_mla_of_several tg_high_mla
#endif

/* The same in the order in which it is written. */
#if TG_HAVE_DSP && (defined(__clang__) || !TG_DUAL_ISSUE)
static inline int32_t tg_high_mla_in_order(int32_t offset, int32_t x, int32_t multiplier)
{
    int32_t sum;
    __asm__ volatile("smmla %0, %1, %2, %3" : "=r"(sum) : "r"(x), "r"(multiplier), "r"(offset));
    return sum;
}
#else
#define tg_high_mla_in_order tg_high_mla
#endif

/* x * multiplier / 2^31, rounded; -2^30 <= x < 2^30. */
static inline int32_t tg_high_rounded(int32_t x, int32_t multiplier)
{
#if TG_HAVE_DSP
    int32_t scaled;
    __asm__("smmulr %0, %1, %2" : "=r"(scaled) : "r"(x + x), "r"(multiplier));
    return scaled;
#elif defined(__thumb__) && !defined(__thumb2__)
    /* As in tg_high_mla, but that the upper half of 2 * x * multiplier is rounded. */
    const uint32_t x_low = (uint32_t)x & 0xFFFFU;
    const uint32_t m_low = (uint32_t)multiplier & 0xFFFFU;
    const int32_t cross = (x >> 16) * (int32_t)m_low + (int32_t)((x_low * m_low) >> 16);
    const int32_t low = (int32_t)x_low * (multiplier >> 16) + (cross & 0xFFFF);
    const uint32_t high = (uint32_t)((x >> 16) * (multiplier >> 16) + (cross >> 16) + (low >> 16));
    return (int32_t)(2U * high + ((((uint32_t)low & 0xFFFFU) + 0x4000U) >> 15));
#else
    return (int32_t)(((int64_t)x * multiplier + (INT64_C(1) << 30)) >> 31);
#endif
}

/*
 * The same plus `offset`, and plus `away` if negative: shifted right by s it is TFLite's requantization with two
 * roundings, when the offset is 2^(s - 1) + zero point * 2^s; halves go away from zero where `away` is -1, upwards
 * where it is 0.
 */
static inline int32_t tg_round_mixed(int32_t x, int32_t multiplier, int32_t offset, int32_t away)
{
    const int32_t scaled = tg_high_rounded(x, multiplier);
    return (int32_t)((uint32_t)scaled + (uint32_t)((scaled >> 31) & away) + (uint32_t)offset);
}

/* The same where all halves go away from zero. */
static inline int32_t tg_round_twice(int32_t x, int32_t multiplier, int32_t offset)
{
    return tg_round_mixed(x, multiplier, offset, -1);
}

/* x * multiplier / 2^16, rounded; x of 16 bits, so that halves of the multiplier need no product of 64. */
static inline int32_t tg_scale_half(int32_t x, int32_t multiplier)
{
#if TG_HAVE_DSP
    int32_t scaled;
    __asm__("smmulr %0, %1, %2" : "=r"(scaled) : "r"(x * 65536), "r"(multiplier));
    return scaled;
#else
    return x * (multiplier >> 16) + ((x * (multiplier & 0xFFFF) + 0x8000) >> 16);
#endif
}

/* x + offset, less one if x is negative: when shifted right, ties go away from zero. */
static inline int32_t tg_away(int32_t x, int32_t offset)
{
    return x + (x >> 31) + offset;
}

static inline int8_t tg_saturate_s8(int32_t x)
{
#if TG_HAVE_DSP
    return (int8_t)__builtin_arm_ssat(x, 8);
#else
    return (int8_t)(x > INT8_MAX ? INT8_MAX : x < INT8_MIN ? INT8_MIN : x);
#endif
}

/* As tg_clamp_s8; where one end is that of a byte, saturating takes one instruction instead of three. */
static inline int8_t tg_saturate_within_s8(int32_t x, int32_t low, int32_t high)
{
#if TG_HAVE_DSP
    if (low == INT8_MIN || high == INT8_MAX) {
        const int32_t byte = (int32_t)__builtin_arm_ssat(x, 8);
        const int32_t above = low == INT8_MIN || byte > low ? byte : low;
        return (int8_t)(high == INT8_MAX || above < high ? above : high);
    }
#endif
    return (int8_t)(x < low ? low : x > high ? high : x);
}

static inline int16_t tg_saturate_s16(int32_t x)
{
#if TG_HAVE_DSP
    return (int16_t)__builtin_arm_ssat(x, 16);
#else
    return (int16_t)(x > INT16_MAX ? INT16_MAX : x < INT16_MIN ? INT16_MIN : x);
#endif
}

/* x held within 0 .. 2^bits - 1; bits must be a constant. */
#if TG_HAVE_DSP
#define tg_saturate_unsigned(x, bits) __builtin_arm_usat(x, bits)
#else
#define tg_saturate_unsigned(x, bits) tg_clamp(x, 0, (1 << (bits)) - 1)
#endif

/* sum + a.low * b.low + a.high * b.high */
static inline int32_t tg_smlad(uint32_t a, uint32_t b, int32_t sum)
{
#if TG_HAVE_DSP
    return __smlad((int16x2_t)a, (int16x2_t)b, sum);
#else
    const int64_t low = (int64_t)tg_low_half(a) * tg_low_half(b);
    const int64_t high = (int64_t)tg_high_half(a) * tg_high_half(b);
    return (int32_t)((int64_t)sum + low + high);
#endif
}

/* sum + a.low * b.low */
static inline int32_t tg_smlabb(uint32_t a, uint32_t b, int32_t sum)
{
#if TG_HAVE_DSP
    return __smlabb((int32_t)a, (int32_t)b, sum);
#else
    return (int32_t)((int64_t)sum + tg_low_half(a) * tg_low_half(b));
#endif
}

/* sum + a.low * b.high */
static inline int32_t tg_smlabt(uint32_t a, uint32_t b, int32_t sum)
{
#if TG_HAVE_DSP
    return __smlabt((int32_t)a, (int32_t)b, sum);
#else
    return (int32_t)((int64_t)sum + tg_low_half(a) * tg_high_half(b));
#endif
}

/* sum + a.high * b.high */
static inline int32_t tg_smlatt(uint32_t a, uint32_t b, int32_t sum)
{
#if TG_HAVE_DSP
    return __smlatt((int32_t)a, (int32_t)b, sum);
#else
    return (int32_t)((int64_t)sum + tg_high_half(a) * tg_high_half(b));
#endif
}

static inline uint32_t tg_pair(int16_t low, int16_t high)
{
    return (uint16_t)low | (uint32_t)(uint16_t)high << 16;
}

/* The low halves of a and b, a's below. */
static inline uint32_t tg_low_halves(uint32_t a, uint32_t b)
{
#if TG_HAVE_DSP
    uint32_t pair;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(a), "r"(b));
    return pair;
#else
    return (a & 0xFFFFU) | (b << 16);
#endif
}

/* The high halves of a and b, a's below. */
static inline uint32_t tg_high_halves(uint32_t a, uint32_t b)
{
#if TG_HAVE_DSP
    uint32_t pair;
    __asm__("pkhtb %0, %2, %1, asr #16" : "=r"(pair) : "r"(a), "r"(b));
    return pair;
#else
    return (a >> 16) | (b & 0xFFFF0000U);
#endif
}

/* a + b, half by half. */
static inline uint32_t tg_add_pairs(uint32_t a, uint32_t b)
{
#if TG_HAVE_DSP
    return (uint32_t)__sadd16((int16x2_t)a, (int16x2_t)b);
#else
    return ((a + b) & 0xFFFFU) | ((a & 0xFFFF0000U) + (b & 0xFFFF0000U));
#endif
}

/* a - b in both halves. */
static inline uint32_t tg_ssub16(uint32_t a, uint32_t b)
{
#if TG_HAVE_DSP
    return (uint32_t)__ssub16((int16x2_t)a, (int16x2_t)b);
#else
    return ((a - b) & 0xFFFFU) | ((a & 0xFFFF0000U) - (b & 0xFFFF0000U));
#endif
}

/* Four codes in a word, the first in the lowest byte. */
static inline uint32_t tg_four(int8_t a, int8_t b, int8_t c, int8_t d)
{
    return (uint8_t)a | (uint32_t)(uint8_t)b << 8 | (uint32_t)(uint8_t)c << 16 | (uint32_t)(uint8_t)d << 24;
}

/* Sign-extends `count` int8 into int16, in order. */
static inline void tg_widen(int16_t *to, const int8_t *from, int32_t count)
{
    const int32_t whole = count & ~3;
    for (int32_t i = 0; i < whole; i += 4) {
        const uint32_t word = tg_load32(from + i);
        const uint32_t even = tg_sxtb16(word);
        const uint32_t odd = tg_sxtb16_odd(word);
        tg_store32(to + i, tg_low_halves(even, odd));
        tg_store32(to + i + 2, tg_high_halves(even, odd));
    }
    for (int32_t i = whole; i < count; i++) {
        to[i] = from[i];
    }
}

/*
 * Inner loops are written with what follows, which keeps loads and products in the order written: only so do sums and
 * weights stay in registers, and every load is issued early enough. The compiler does not see these loads: what they
 * read must be written before a fence, and what is written later must stand behind another.
 */
TG_INLINE void tg_fence(void)
{
#if TG_HAVE_DSP
    __asm__ volatile("" : : : "memory");
#endif
}

/* words[n]; n must be a constant. */
TG_INLINE uint32_t tg_load(const uint32_t *words, int32_t n)
{
#if TG_HAVE_DSP && defined(__OPTIMIZE__)
    uint32_t word;
    __asm__ volatile("ldr %0, [%1, %2]" : "=r"(word) : "r"(words), "i"(4 * n));
    return word;
#else
    return words[n];
#endif
}

/*
 * Sign-extends bytes 0 and 2, then 1 and 3 of words n to n + 3; n must be a constant. Where loads are pipelined they
 * stand together, and words are stored one by one: two at once, as Clang has them, would take a cycle more.
 */
TG_INLINE void tg_extend_words(uint32_t *to, const int8_t *from, int32_t n)
{
#if TG_HAVE_DSP && !TG_DUAL_ISSUE && defined(__clang__) && defined(__ARM_ARCH_7EM__)
    const uint32_t *const words = (const uint32_t *)(const void *)from;
    volatile uint32_t *const pairs = to + 2 * n;
    const uint32_t four[4] = {tg_load(words, n), tg_load(words, n + 1), tg_load(words, n + 2), tg_load(words, n + 3)};
    for (int32_t i = 0; i < 4; i++) {
        pairs[2 * i] = tg_sxtb16(four[i]);
        pairs[2 * i + 1] = tg_sxtb16_odd(four[i]);
    }
#else
    for (int32_t i = n; i < n + 4; i += 2) {
        const uint32_t first = tg_load32(from + 4 * i);
        const uint32_t second = tg_load32(from + 4 * i + 4);
        to[2 * i] = tg_sxtb16(first);
        to[2 * i + 1] = tg_sxtb16_odd(first);
        to[2 * i + 2] = tg_sxtb16(second);
        to[2 * i + 3] = tg_sxtb16_odd(second);
    }
#endif
}

/*
 * Sign-extends int8 codes into pairs, bytes 0 and 2 before 1 and 3, and puts the pairs `stride` words apart.
 * `count` is a multiple of 4.
 */
TG_INLINE void tg_extend(uint32_t *to, const int8_t *from, int32_t count, int32_t stride)
{
    if (stride == 1 && count >= 64 && count % 32 == 0) {
        /* Weights, which are widened again and again: few instructions for the loop itself. */
        tg_fence();
        //@ loop unroll 1024;
        for (const int8_t *const end = from + count; from < end; from += 32, to += 16) {
            tg_extend_words(to, from, 0);
            tg_extend_words(to, from, 4);
        }
        return;
    }
    const int8_t *const whole = from + (count & ~7);
    //@ loop unroll 1024;
    for (; from < whole; from += 8, to += 4 * stride) {
        const uint32_t first = tg_load32(from);
        const uint32_t second = tg_load32(from + 4);
        to[0] = tg_sxtb16(first);
        to[stride] = tg_sxtb16_odd(first);
        to[2 * stride] = tg_sxtb16(second);
        to[3 * stride] = tg_sxtb16_odd(second);
    }
    if ((count & 4) != 0) {
        const uint32_t word = tg_load32(from);
        to[0] = tg_sxtb16(word);
        to[stride] = tg_sxtb16_odd(word);
    }
}

/* The same for codes from 0 to 255. */
TG_INLINE void tg_extend_unsigned(uint32_t *to, const int8_t *from, int32_t count, int32_t stride)
{
    for (int32_t i = 0; i < count; i += 4, to += 2 * stride) {
        const uint32_t word = tg_load32(from + i);
        to[0] = word & 0x00FF00FFU;
        to[stride] = (word >> 8) & 0x00FF00FFU;
    }
}

/* The same for levels from 0 to `largest`, of which the integers are 2 * level - largest. */
TG_INLINE void tg_extend_levels(uint32_t *to, const int8_t *from, int32_t count, int32_t stride, int32_t largest)
{
    const uint32_t offset = (uint32_t)largest * 0x10001U;
    for (int32_t i = 0; i < count; i += 4, to += 2 * stride) {
        const uint32_t word = tg_load32(from + i);
        to[0] = tg_ssub16((word << 1) & 0x01FE01FEU, offset);
        to[stride] = tg_ssub16((word >> 7) & 0x01FE01FEU, offset);
    }
}

/* Four codes above four others: to[i] is the pair (upper[i], lower[i]). Halves are joined before they are widened. */
TG_INLINE void tg_pair_rows(uint32_t *to, const int8_t *upper, const int8_t *lower)
{
    const uint32_t u = tg_load32(upper);
    const uint32_t l = tg_load32(lower);
    const uint32_t first = tg_low_halves(u, l);
    const uint32_t last = tg_high_halves(u, l);
    to[0] = tg_sxtb16(first);
    to[1] = tg_sxtb16_odd(first);
    to[2] = tg_sxtb16(last);
    to[3] = tg_sxtb16_odd(last);
}

/* Two equal codes in every pair. */
TG_INLINE void tg_fill(uint32_t *to, int16_t code, int32_t pairs)
{
    const uint32_t pair = (uint16_t)code * UINT32_C(0x10001);
    for (int32_t i = 0; i < pairs; i++) {
        to[i] = pair;
    }
}

/* Word n of constants. GCC on a Cortex-M7 would spill sums for it, were it loaded in order. */
TG_INLINE int32_t tg_constant(const void *words, int32_t n)
{
#if defined(__clang__) || !TG_DUAL_ISSUE
    return (int32_t)tg_load((const uint32_t *)words, n);
#else
    return ((const int32_t *)words)[n];
#endif
}

/* *sum += a * b over both halves of two pairs; over the top or bottom half of a and of b. */
TG_INLINE void tg_mac(int32_t *sum, uint32_t a, uint32_t b)
{
#if TG_HAVE_DSP
    __asm__ volatile("smlad %0, %1, %2, %0" : "+r"(*sum) : "r"(a), "r"(b));
#else
    *sum = tg_smlad(a, b, *sum);
#endif
}

TG_INLINE void tg_mac_bb(int32_t *sum, uint32_t a, uint32_t b)
{
#if TG_HAVE_DSP
    __asm__ volatile("smlabb %0, %1, %2, %0" : "+r"(*sum) : "r"(a), "r"(b));
#else
    *sum = (int32_t)((int64_t)*sum + tg_low_half(a) * tg_low_half(b));
#endif
}

TG_INLINE void tg_mac_bt(int32_t *sum, uint32_t a, uint32_t b)
{
#if TG_HAVE_DSP
    __asm__ volatile("smlabt %0, %1, %2, %0" : "+r"(*sum) : "r"(a), "r"(b));
#else
    *sum = (int32_t)((int64_t)*sum + tg_low_half(a) * tg_high_half(b));
#endif
}

TG_INLINE void tg_mac_tb(int32_t *sum, uint32_t a, uint32_t b)
{
#if TG_HAVE_DSP
    __asm__ volatile("smlatb %0, %1, %2, %0" : "+r"(*sum) : "r"(a), "r"(b));
#else
    *sum = (int32_t)((int64_t)*sum + tg_high_half(a) * tg_low_half(b));
#endif
}

#endif
