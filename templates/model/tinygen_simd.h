/*
 * The Armv7E-M SIMD instructions the kernels use, each with a portable twin that computes the same,
 * so that every kernel also runs (and is tested) on any host. A "pair" is two int16 in one word.
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

static inline uint32_t tg_ror8(uint32_t word)
{
    return (word >> 8) | (word << 24);
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

/* Bytes 1 and 3, sign-extended to a pair (one instruction: the rotation is free). */
static inline uint32_t tg_sxtb16_odd(uint32_t word)
{
    return tg_sxtb16(tg_ror8(word));
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
    return sum + tg_low_half(a) * tg_low_half(b);
#endif
}

/* sum + a.high * b.high */
static inline int32_t tg_smlatt(uint32_t a, uint32_t b, int32_t sum)
{
#if TG_HAVE_DSP
    return __smlatt((int32_t)a, (int32_t)b, sum);
#else
    return sum + tg_high_half(a) * tg_high_half(b);
#endif
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

#endif
