/*
 * Sums of bytes, four channels at once: two words hold them, and no product or sign is needed.
 */
#ifndef TINYGEN_SUMS_H
#define TINYGEN_SUMS_H

#include <stdint.h>

#include "tinygen_simd.h"

/*
 * Adds the four bytes of a word. `odd` has the sums of bytes 1 and 3 in its halves, `all` that of the words, so that
 * all - (odd << 8) has those of bytes 0 and 2. Sums must stay below 2^16.
 */
TG_INLINE void tg_sum_four(uint32_t *all, uint32_t *odd, uint32_t word)
{
    *all += word;
    *odd += word >> 8 & 0x00FF00FFU;
}

/* Four bytes from any address. gcc would load one after the other on RISC-V cores that load words from everywhere. */
TG_INLINE uint32_t tg_load_any32(const void *address)
{
#if defined(__riscv) && defined(__GNUC__) && !defined(__clang__)
    uint32_t word;
    __asm__("lw %0, %1" : "=r"(word) : "m"(*(const char (*)[4])address));
    return word;
#else
    return tg_load32(address);
#endif
}

TG_INLINE void tg_store_any32(void *address, uint32_t word)
{
#if defined(__riscv) && defined(__GNUC__) && !defined(__clang__)
    __asm__("sw %1, %0" : "=m"(*(char (*)[4])address) : "r"(word));
#else
    tg_store32(address, word);
#endif
}

/* Four bytes from a multiple of four: cores that load only such words need not load bytes. */
TG_INLINE uint32_t tg_load_aligned32(const void *address)
{
#if defined(__GNUC__)
    return tg_load32(__builtin_assume_aligned(address, 4));
#else
    return tg_load32(address);
#endif
}

/* The first `count` bytes from any address, at most four; zeros in place of the others. */
TG_INLINE uint32_t tg_load_some32(const uint8_t *bytes, int32_t count)
{
    if (count >= 4) {
        return tg_load_any32(bytes);
    }
    uint32_t word = 0;
    for (int32_t i = 0; i < count; i++) {
        word |= (uint32_t)bytes[i] << 8 * i;
    }
    return word;
}

/* Words whose bytes add up to less than 16 bits. */
#define TG_SUMMED_WORDS 128

/* Codes of a window: `rows` pieces of `count` codes, `skip` from the end of one to the next. */
static inline int32_t tg_total(const int8_t *x, int32_t rows, int32_t count, int32_t skip)
{
    int32_t total = 0;
    for (; rows > 0; rows--, x += skip) {
        const int8_t *const end = x + count;
#if !(defined(__thumb__) && !defined(__thumb2__))
        /* Four at once, each 128 more than it is. Armv6-M loads words from multiples of four only. */
        while (end - x >= 4) {
            const int8_t *const last = x + (end - x < 4 * TG_SUMMED_WORDS ? (end - x) / 4 * 4 : 4 * TG_SUMMED_WORDS);
            uint32_t all = 0;
            uint32_t odd = 0;
            total -= 128 * (int32_t)(last - x);
            for (; x != last; x += 4) {
                tg_sum_four(&all, &odd, tg_load_any32(x) ^ 0x80808080U);
            }
            all -= odd << 8;
            total += (int32_t)((all & 0xFFFFU) + (all >> 16) + (odd & 0xFFFFU) + (odd >> 16));
        }
#endif
        for (; x != end; x++) {
            total += *x;
        }
    }
    return total;
}

static inline int32_t tg_total_of_halves(const int16_t *x, int32_t rows, int32_t count, int32_t skip)
{
    int32_t total = 0;
    for (; rows > 0; rows--, x += skip) {
        for (const int16_t *const end = x + count; x != end; x++) {
            total += *x;
        }
    }
    return total;
}

#endif
