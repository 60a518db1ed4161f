/*
 * The Armv7E-M SIMD instructions the kernels use, each with a portable twin that computes the same,
 * so that every kernel also runs (and is tested) on any host. A "pair" is two int16 in one word. Sums wrap around, as
 * registers do: a kernel may also finish what it does not use.
 */
#ifndef TINYGEN_SIMD_H
#define TINYGEN_SIMD_H

#include <stdint.h>
#include <string.h>

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
#include <arm_acle.h>
#define TG_HAVE_DSP 1
#else
#define TG_HAVE_DSP 0
#endif

/* Freestanding compilers call memcpy() for four bytes, unless they are told that it is the built-in one. */
#if defined(__GNUC__)
#define TG_COPY __builtin_memcpy
#else
#define TG_COPY memcpy
#endif

/* Inner loops: their operands must be in registers, whatever a compiler thinks of the function's size. */
#if defined(__GNUC__)
#define TG_INLINE static inline __attribute__((always_inline))
#else
#define TG_INLINE static inline
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
#else
    return (int32_t)(offset + (((int64_t)x * multiplier) >> 32));
#endif
}

/*
 * x * multiplier / 2^31, rounded, plus `offset`, less one if negative: shifted right by s it is TFLite's
 * requantization with two roundings, when the offset is 2^(s - 1) + zero point * 2^s. |x| < 2^30.
 */
static inline int32_t tg_round_twice(int32_t x, int32_t multiplier, int32_t offset)
{
#if TG_HAVE_DSP
    int32_t scaled;
    __asm__("smmulr %0, %1, %2" : "=r"(scaled) : "r"(x + x), "r"(multiplier));
#else
    const int32_t scaled = (int32_t)(((int64_t)x * multiplier + (INT64_C(1) << 30)) >> 31);
#endif
    return (int32_t)((uint32_t)scaled + (uint32_t)(scaled >> 31) + (uint32_t)offset);
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

/* a + b, half by half. */
static inline uint32_t tg_add_pairs(uint32_t a, uint32_t b)
{
#if TG_HAVE_DSP
    return (uint32_t)__sadd16((int16x2_t)a, (int16x2_t)b);
#else
    return ((a + b) & 0xFFFFU) | ((a & 0xFFFF0000U) + (b & 0xFFFF0000U));
#endif
}

/* The larger of a and b, byte by byte, signed. */
static inline uint32_t tg_max_four(uint32_t a, uint32_t b)
{
    uint32_t larger;
#if TG_HAVE_DSP
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(larger) : "r"(a), "r"(b) : "cc");
#else
    larger = 0;
    for (uint32_t i = 0; i < 32; i += 8) {
        const int8_t x = (int8_t)(uint8_t)(a >> i);
        const int8_t y = (int8_t)(uint8_t)(b >> i);
        larger |= (uint32_t)(uint8_t)(x > y ? x : y) << i;
    }
#endif
    return larger;
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
        tg_store32(to + i, (even & 0xFFFFU) | (odd << 16));
        tg_store32(to + i + 2, (even >> 16) | (odd & 0xFFFF0000U));
    }
    for (int32_t i = whole; i < count; i++) {
        to[i] = from[i];
    }
}

/*
 * Sign-extends int8 codes into pairs, bytes 0 and 2 before 1 and 3, and puts the pairs `stride` words apart.
 * `count` is a multiple of 4.
 */
TG_INLINE void tg_spread(uint32_t *to, const int8_t *from, int32_t count, int32_t stride)
{
    const int8_t *const whole = from + (count & ~7);
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

/* Four codes above four others: to[i] is the pair (upper[i], lower[i]). */
TG_INLINE void tg_pair_rows(uint32_t *to, const int8_t *upper, const int8_t *lower)
{
    const uint32_t u = tg_load32(upper);
    const uint32_t l = tg_load32(lower);
    const uint32_t u_even = tg_sxtb16(u);
    const uint32_t l_even = tg_sxtb16(l);
    const uint32_t u_odd = tg_sxtb16_odd(u);
    const uint32_t l_odd = tg_sxtb16_odd(l);
    to[0] = (u_even & 0xFFFFU) | (l_even << 16);
    to[1] = (u_odd & 0xFFFFU) | (l_odd << 16);
    to[2] = (u_even >> 16) | (l_even & 0xFFFF0000U);
    to[3] = (u_odd >> 16) | (l_odd & 0xFFFF0000U);
}

/* Two equal codes in every pair. */
TG_INLINE void tg_fill(uint32_t *to, int16_t code, int32_t pairs)
{
    const uint32_t pair = (uint16_t)code * UINT32_C(0x10001);
    for (int32_t i = 0; i < pairs; i++) {
        to[i] = pair;
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

/* Cores that issue two instructions at once (Cortex-M7) want loads between products, others want them together. */
#ifndef TG_DUAL_ISSUE
#define TG_DUAL_ISSUE 0
#endif

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
    __asm__ volatile("vmov %0, %1" : "=t"(name) : "r"(pointer))
#define TG_RECALL(word, name) __asm__ volatile("vmov %0, %1" : "=r"(word) : "t"(name))
#else
#define TG_KEEP(name, pointer) const uint32_t name = (uint32_t)(pointer)
#define TG_RECALL(word, name) ((word) = (name))
#endif
#else
#define TG_IN_REGISTERS 0
#endif

#if TG_IN_REGISTERS && TG_DUAL_ISSUE
/* Pair n of the taps beside loads for what comes two cycles later, in the end for the next pair. */
#define TG_DOT_2X4_BEGIN()                                                                                   \
    TG_LOAD(x0, x, 0);                                                                                       \
    TG_LOAD(x1, x, apart);                                                                                   \
    TG_LOAD(u, w, 0)
#define TG_DOT_2X4_STEP(n)                                                                                   \
    TG_MAC(a0, u, x0);                                                                                       \
    TG_LOAD(v, w, 4 * (n) + 1);                                                                              \
    TG_MAC(a1, u, x1);                                                                                       \
    TG_MAC(b0, v, x0);                                                                                       \
    TG_LOAD(u, w, 4 * (n) + 2);                                                                              \
    TG_MAC(b1, v, x1);                                                                                       \
    TG_MAC(c0, u, x0);                                                                                       \
    TG_LOAD(v, w, 4 * (n) + 3);                                                                              \
    TG_MAC(c1, u, x1);                                                                                       \
    TG_LOAD(u, w, 4 * (n) + 4);                                                                              \
    TG_MAC(d0, v, x0);                                                                                       \
    TG_LOAD(x0, x, ((n) + 1) * step);                                                                        \
    TG_MAC(d1, v, x1);                                                                                       \
    TG_LOAD(x1, x, ((n) + 1) * step + apart)
#elif TG_IN_REGISTERS
/* Pair n of the taps: loads that follow each other take one cycle each, but for the first. */
#define TG_DOT_2X4_BEGIN()                                                                                   \
    TG_LOAD(x0, x, 0);                                                                                       \
    TG_LOAD(x1, x, apart)
#define TG_DOT_2X4_STEP(n)                                                                                   \
    TG_LOAD(u, w, 4 * (n));                                                                                  \
    TG_LOAD(v, w, 4 * (n) + 1);                                                                              \
    TG_MAC(a0, u, x0);                                                                                       \
    TG_MAC(a1, u, x1);                                                                                       \
    TG_MAC(b0, v, x0);                                                                                       \
    TG_MAC(b1, v, x1);                                                                                       \
    TG_LOAD(u, w, 4 * (n) + 2);                                                                              \
    TG_LOAD(v, w, 4 * (n) + 3);                                                                              \
    TG_MAC(c0, u, x0);                                                                                       \
    TG_MAC(c1, u, x1);                                                                                       \
    TG_MAC(d0, v, x0);                                                                                       \
    TG_MAC(d1, v, x1);                                                                                       \
    TG_LOAD(x0, x, ((n) + 1) * step);                                                                        \
    TG_LOAD(x1, x, ((n) + 1) * step + apart)
#endif

/*
 * Adds the products of 2 pixels and 4 filters over `rows` times `pairs` pairs of taps, `pairs` an even number.
 *
 * Pair n of a row is x[n * step] of the first pixel, x[n * step + apart] of the second; rows are `pitch` words apart.
 * w: [rows][pairs][4 filters]; sums: [4 filters][2 pixels]. Eight sums, two pixels and two weights in flight are all the
 * registers there are. What follows the last pair of a row is read, and not used. All but the pointers must be constants.
 */
TG_INLINE void tg_dot_2x4(
    int32_t sums[8], const uint32_t *x, const uint32_t *w, int32_t rows, int32_t pairs, int32_t pitch, int32_t step,
    int32_t apart)
{
#if TG_IN_REGISTERS
    int32_t a0 = sums[0], a1 = sums[1], b0 = sums[2], b1 = sums[3];
    int32_t c0 = sums[4], c1 = sums[5], d0 = sums[6], d1 = sums[7];
    uint32_t x0, x1, u, v;
    TG_KEEP(last, w + 4 * pairs * rows);
    tg_fence();
    do {
        TG_KEEP(end, w + 4 * pairs);
        TG_DOT_2X4_BEGIN();
        if (TG_DUAL_ISSUE && pairs % 8 == 0) {
            do {
                TG_DOT_2X4_STEP(0);
                TG_DOT_2X4_STEP(1);
                TG_DOT_2X4_STEP(2);
                TG_DOT_2X4_STEP(3);
                TG_DOT_2X4_STEP(4);
                TG_DOT_2X4_STEP(5);
                TG_DOT_2X4_STEP(6);
                TG_DOT_2X4_STEP(7);
                TG_ADVANCE(x, 8 * step);
                TG_ADVANCE(w, 32);
                TG_RECALL(v, end);
            } while ((uint32_t)w != v);
        } else if (pairs % 4 == 0) {
            do {
                TG_DOT_2X4_STEP(0);
                TG_DOT_2X4_STEP(1);
                TG_DOT_2X4_STEP(2);
                TG_DOT_2X4_STEP(3);
                TG_ADVANCE(x, 4 * step);
                TG_ADVANCE(w, 16);
                TG_RECALL(v, end);
            } while ((uint32_t)w != v);
        } else {
            do {
                TG_DOT_2X4_STEP(0);
                TG_DOT_2X4_STEP(1);
                TG_ADVANCE(x, 2 * step);
                TG_ADVANCE(w, 8);
                TG_RECALL(v, end);
            } while ((uint32_t)w != v);
        }
        if (rows > 1) {
            x += pitch - pairs * step;
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

/*
 * Activations for tg_dot_1x4(): each four codes x become the pairs (x1, x3) and (256 x0 - x1 + 127, 256 x2 - x3 + 127).
 * The 127 makes the second fit; what it adds to a sum of products is a constant. The last four are filled with zeros.
 */
TG_INLINE void tg_spread_dense(uint32_t *to, const int8_t *from, int32_t count)
{
    for (int32_t i = 0; i < count; i += 4, to += 2) {
        uint32_t word = 0;
        TG_COPY(&word, from + i, count - i < 4 ? (uint32_t)(count - i) : 4U);
        const uint32_t odd = tg_sxtb16_odd(word);
        const uint32_t even = (word & 0x00FF00FFU) << 8;
        /* Halves apart: what the lower one borrows must not reach the upper one. */
        const uint32_t low = (even - odd + 127U) & 0xFFFFU;
        const uint32_t high = (even & 0xFFFF0000U) - (odd & 0xFFFF0000U) + (127U << 16);
        to[0] = odd;
        to[1] = low | high;
    }
}

#if TG_IN_REGISTERS && TG_DUAL_ISSUE
/* Four taps; what the next four begin with is loaded as soon as there is a register for it. */
#define TG_DOT_1X4_BEGIN()                                                                                   \
    TG_LOAD(x0, x, 0);                                                                                       \
    TG_LOAD(u, w, 0);                                                                                        \
    TG_LOAD(v, w, 1);                                                                                        \
    TG_LOAD(s, w, 2);                                                                                        \
    TG_LOAD(t, w, 3)
#define TG_DOT_1X4_STEP(n)                                                                                   \
    TG_MAC(a, u, x0);                                                                                        \
    TG_LOAD(x1, x, 2 * (n) + 1);                                                                             \
    TG_EXTEND(u);                                                                                            \
    TG_MAC(b, v, x0);                                                                                        \
    TG_EXTEND(v);                                                                                            \
    TG_MAC(c, s, x0);                                                                                        \
    TG_EXTEND(s);                                                                                            \
    TG_MAC(d, t, x0);                                                                                        \
    TG_EXTEND(t);                                                                                            \
    TG_MAC(a, u, x1);                                                                                        \
    TG_MAC(b, v, x1);                                                                                        \
    TG_LOAD(x0, x, 2 * (n) + 2);                                                                             \
    TG_MAC(c, s, x1);                                                                                        \
    TG_LOAD(u, w, 4 * (n) + 4);                                                                              \
    TG_MAC(d, t, x1);                                                                                        \
    TG_LOAD(v, w, 4 * (n) + 5);                                                                              \
    TG_LOAD(s, w, 4 * (n) + 6);                                                                              \
    TG_LOAD(t, w, 4 * (n) + 7)
#elif TG_IN_REGISTERS
#define TG_DOT_1X4_BEGIN()
#define TG_DOT_1X4_STEP(n)                                                                                   \
    TG_LOAD(u, w, 4 * (n));                                                                                  \
    TG_LOAD(v, w, 4 * (n) + 1);                                                                              \
    TG_LOAD(s, w, 4 * (n) + 2);                                                                              \
    TG_LOAD(t, w, 4 * (n) + 3);                                                                              \
    TG_LOAD(x0, x, 2 * (n));                                                                                 \
    TG_LOAD(x1, x, 2 * (n) + 1);                                                                             \
    TG_MAC(a, u, x0);                                                                                        \
    TG_EXTEND(u);                                                                                            \
    TG_MAC(b, v, x0);                                                                                        \
    TG_EXTEND(v);                                                                                            \
    TG_MAC(c, s, x0);                                                                                        \
    TG_EXTEND(s);                                                                                            \
    TG_MAC(d, t, x0);                                                                                        \
    TG_EXTEND(t);                                                                                            \
    TG_MAC(a, u, x1);                                                                                        \
    TG_MAC(b, v, x1);                                                                                        \
    TG_MAC(c, s, x1);                                                                                        \
    TG_MAC(d, t, x1)
#endif

/*
 * Adds 256 times the products of 4 outputs over `fours` times four taps, modulo 2^32.
 *
 * x: [fours][2] from tg_spread_dense(); weights: [fours][4 outputs], the int16 pair (w0 + 256 w1, w2 + 256 w3). Two products
 * of pairs give all four taps, and only one of them needs an extension:
 *   (w0 + 256 w1) x1 + (w2 + 256 w3) x3 + w0 (256 x0 - x1) + w2 (256 x2 - x3) = 256 (w0 x0 + w1 x1 + w2 x2 + w3 x3).
 * One word behind x and four behind the weights may be read, and are not used.
 */
TG_INLINE void tg_dot_1x4(int32_t sums[4], const uint32_t *x, const int8_t *weights, int32_t fours)
{
#if TG_IN_REGISTERS
    const uint32_t *w = (const uint32_t *)(const void *)weights;
    int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
    uint32_t x0, x1, u, v, s, t;
    TG_KEEP(end, w + 4 * fours);
    tg_fence();
    TG_DOT_1X4_BEGIN();
    if (fours % 4 == 0) {
        do {
            TG_DOT_1X4_STEP(0);
            TG_DOT_1X4_STEP(1);
            TG_DOT_1X4_STEP(2);
            TG_DOT_1X4_STEP(3);
            TG_ADVANCE(x, 8);
            TG_ADVANCE(w, 16);
            TG_RECALL(x1, end);
        } while ((uint32_t)w != x1);
    } else {
        do {
            TG_DOT_1X4_STEP(0);
            TG_ADVANCE(x, 2);
            TG_ADVANCE(w, 4);
            TG_RECALL(x1, end);
        } while ((uint32_t)w != x1);
    }
    tg_fence();
    sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
#else
    for (int32_t four = 0; four < fours; four++) {
        for (int32_t i = 0; i < 4; i++) {
            const uint32_t word = tg_load32(weights + 16 * four + 4 * i);
            sums[i] = tg_smlad(word, x[2 * four], sums[i]);
            sums[i] = tg_smlad(tg_sxtb16(word), x[2 * four + 1], sums[i]);
        }
    }
#endif
}

#endif
