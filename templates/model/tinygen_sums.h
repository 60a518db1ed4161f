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

#endif
