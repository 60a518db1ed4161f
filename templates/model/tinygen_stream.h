/*
 * Weights as instructions: additions of shifted activations to sums that stay in registers. Two pixels lie in a word,
 * as low + 65536 * high modulo 2^32; sums of such words are sums of both.
 */
#ifndef TINYGEN_STREAM_H
#define TINYGEN_STREAM_H

#include <stdint.h>

#include "tinygen_simd.h"

/* A piece of code that is called for every row of pixels: inlined, its sums would have to share registers. */
#if defined(__GNUC__)
#define TG_PIECE static __attribute__((noinline))
#else
#define TG_PIECE static
#endif

/* Nothing is known of the word, or of the pointer, any more. On Armv6-M sums must stay in the lower registers. */
TG_INLINE void tg_unknown(uint32_t *word)
{
#if defined(__thumb__) && !defined(__thumb2__)
    __asm__ volatile("" : "+l"(*word));
#elif defined(__GNUC__)
    __asm__ volatile("" : "+r"(*word));
#else
    (void)word;
#endif
}

TG_INLINE const uint32_t *tg_moved(const uint32_t *words, int32_t n)
{
    words += n;
#if defined(__GNUC__)
    __asm__ volatile("" : "+r"(words));
#endif
    return words;
}

/*
 * In the order written: a compiler would regroup the sums, and run out of registers. to = words[n]; sum += x; sum -= x;
 * the same with x << k; x <<= k. n and k must be constants.
 */
#if TG_HAVE_DSP && defined(__OPTIMIZE__)
#define TG_GET(to, words, n) ((to) = tg_load(words, n))
#define TG_PLUS(sum, x) __asm__ volatile("add %0, %0, %1" : "+r"(sum) : "r"(x))
#define TG_MINUS(sum, x) __asm__ volatile("sub %0, %0, %1" : "+r"(sum) : "r"(x))
#define TG_PLUS_SHIFTED(sum, x, k) __asm__ volatile("add %0, %0, %1, lsl %2" : "+r"(sum) : "r"(x), "i"(k))
#define TG_MINUS_SHIFTED(sum, x, k) __asm__ volatile("sub %0, %0, %1, lsl %2" : "+r"(sum) : "r"(x), "i"(k))
#else
#define TG_GET(to, words, n) ((to) = (words)[n], tg_unknown(&(to)))
#define TG_PLUS(sum, x) ((sum) += (x), tg_unknown(&(sum)))
#define TG_MINUS(sum, x) ((sum) -= (x), tg_unknown(&(sum)))
#define TG_PLUS_SHIFTED(sum, x, k) ((sum) += (x) << (k), tg_unknown(&(sum)))
#define TG_MINUS_SHIFTED(sum, x, k) ((sum) -= (x) << (k), tg_unknown(&(sum)))
#endif
#define TG_SHIFT(x, k) ((x) <<= (k), tg_unknown(&(x)))

/* The entry of a table, of 2^(scale - 2) words, that the field of `bits` bits from bit `first` of a word names. */
TG_INLINE const uint32_t *tg_entry(const uint32_t *table, uint32_t word, int32_t first, int32_t bits, int32_t scale)
{
    /* In bytes: compilers do not see that mask and scale are one. */
    const uint32_t mask = (UINT32_C(1) << bits) - 1U;
    const uint32_t moved = first > scale ? word >> (first - scale) : word << (scale - first);
    return (const uint32_t *)(const void *)((const uint8_t *)table + (moved & (mask << scale)));
}

/*
 * Tables one behind the other: Armv6-M has no load with both an index and a constant, and moves a pointer; elsewhere it
 * moves once for all.
 */
#if defined(__thumb__) && !defined(__thumb2__)
#define TG_TABLE(first, n) (first)
#define TG_NEXT_TABLE(first, n) ((first) = tg_moved(first, n))
#define TG_SKIP_TABLES(first, n)
#else
#define TG_TABLE(first, n) ((first) + (n))
#define TG_NEXT_TABLE(first, n)
#define TG_SKIP_TABLES(first, n) ((first) += (n))
#endif

/* With eight registers: a constant that stays in its own. Compilers would load it again and again. */
#if defined(__thumb__) && !defined(__thumb2__) && defined(__OPTIMIZE__)
#define TG_OPAQUE(word) __asm__("" : "+l"(word))
#else
#define TG_OPAQUE(word) (void)(word)
#endif
/* And no word that was stored is kept in one, as Clang would have it. */
#if defined(__thumb__) && !defined(__thumb2__) && defined(__clang__)
#define TG_FORGET() __asm__ volatile("" : : : "memory")
#else
#define TG_FORGET() (void)0
#endif

/* Adds the entry of a table whose place in bytes `place` is, within `mask`. */
TG_INLINE void tg_add_entry(uint32_t *sum, const uint32_t *table, uint32_t place, uint32_t mask)
{
#if defined(__thumb__) && !defined(__thumb2__) && defined(__OPTIMIZE__)
    /* Compilers would load entries ahead, for which there are no registers. */
    __asm__ volatile(".syntax unified\n\tands %0, %0, %3\n\tldr %0, [%2, %0]\n\tadds %1, %1, %0"
                     : "+&l"(place), "+&l"(*sum)
                     : "l"(table), "l"(mask)
                     : "cc");
#else
    *sum += *(const uint32_t *)(const void *)((const uint8_t *)table + (place & mask));
#endif
}

/* Both halves of a sum, each within int16. */
TG_INLINE int32_t tg_low_sum(uint32_t sum)
{
    return tg_low_half(sum);
}

TG_INLINE int32_t tg_high_sum(uint32_t sum)
{
    /* What a negative low half borrowed comes back. */
    return tg_high_half(sum + 0x8000U);
}

TG_INLINE void tg_clear(void *words, int32_t count)
{
    uint32_t *const to = words;
    for (int32_t i = 0; i < count; i++) {
        to[i] = 0;
    }
}

/* sums[2 i] and sums[2 i + 1] += both halves of halves[i], times 2^shift. */
TG_INLINE void tg_widen_sums(int32_t *sums, const uint32_t *halves, int32_t count, int32_t shift)
{
    for (int32_t i = 0; i < count; i++) {
        sums[2 * i] += tg_low_sum(halves[i]) * (1 << shift);
        sums[2 * i + 1] += tg_high_sum(halves[i]) * (1 << shift);
    }
}

#endif
