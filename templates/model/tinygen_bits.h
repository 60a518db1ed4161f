/*
 * Products and sums of single bits: +-1 times +-1 is an exclusive or, and sums of it are counts of ones.
 *
 * The cores have no instruction that counts bits. Two ways around that:
 *
 * Columns: a word holds one bit of 32 neighbours (filters, or channels), and counts grow in "planes": bit j of plane k
 * is bit k of the count of column j. A full adder takes two words into a plane and gives one word for the next.
 *
 * Words: 32 channels of one filter in a word; three words make one of sums and one of carries, whose bits are counted
 * in fields of 2, 4 and 8 bits.
 */
#ifndef TINYGEN_BITS_H
#define TINYGEN_BITS_H

#include <stdint.h>

#if defined(__GNUC__)
#define TG_BITS_INLINE static inline __attribute__((always_inline))
#else
#define TG_BITS_INLINE static inline
#endif

/* Columns of a + b + *sum: the sum stays, the carry is returned. */
TG_BITS_INLINE uint32_t tg_full_add(uint32_t *sum, uint32_t a, uint32_t b)
{
    const uint32_t differ = a ^ b, other = *sum ^ a;
    *sum ^= differ;
    return *sum ^ (differ | other);
}

/* Columns of a + *sum. */
TG_BITS_INLINE uint32_t tg_half_add(uint32_t *sum, uint32_t a)
{
    const uint32_t carry = *sum & a;
    *sum ^= a;
    return carry;
}

/* Bit `bit` of x in all columns. */
TG_BITS_INLINE uint32_t tg_spread_bit(uint32_t x, int32_t bit)
{
    return (uint32_t)((int32_t)(x << (31 - bit)) >> 31);
}

/* Bit j of each byte becomes the parity of its bits 0 to j. */
TG_BITS_INLINE uint32_t tg_parities(uint32_t x)
{
    x ^= x << 1 & 0xFEFEFEFEU;
    x ^= x << 2 & 0xFCFCFCFCU;
    return x ^ (x << 4 & 0xF0F0F0F0U);
}

/*
 * Adds the products of eight channels, bits first to first + 7 of `x`, to planes 0 to 2; returns the carry of weight 8.
 *
 * Channels come as parities: bit j of x and word j of w are the exclusive or of channels 0 to j, so s[j], one
 * exclusive or from both, is the sum bit of a chain of full adders, and only the carries are left to make: three
 * operations each instead of five, since maj(a, b, c) = (a ^ b ^ c) ^ ((a ^ b) | (b ^ c)).
 */
TG_BITS_INLINE uint32_t tg_add_8(uint32_t *planes, uint32_t x, int32_t first, const uint32_t *w)
{
    uint32_t s[8];
    for (int32_t j = 0; j < 8; j++) {
        s[j] = w[j] ^ tg_spread_bit(x, first + j);
    }
    const uint32_t carry_2 = s[2] ^ (s[1] | (s[0] ^ s[2]));
    const uint32_t carry_4 = s[4] ^ (s[3] | (s[2] ^ s[4]));
    const uint32_t fours_4 = tg_full_add(&planes[1], carry_2, carry_4);
    const uint32_t carry_6 = s[6] ^ (s[5] | (s[4] ^ s[6]));
    const uint32_t other = planes[0] ^ s[6];
    planes[0] ^= s[7];
    const uint32_t carry_8 = planes[0] ^ (s[7] | other);
    const uint32_t fours_8 = tg_full_add(&planes[1], carry_6, carry_8);
    return tg_full_add(&planes[2], fours_4, fours_8);
}

/*
 * Counts of 32 columns from 16 planes: afterwards the lower half of word j is the count of column j, the upper half
 * that of column j + 16.
 */
static inline void tg_counts(uint32_t *planes)
{
    uint32_t mask = 0x00FF00FFU;
    for (int32_t size = 8; size > 0; size >>= 1, mask ^= mask << size) {
        for (int32_t i = 0; i < 16; i = ((i | size) + 1) & ~size) {
            const uint32_t swapped = ((planes[i] >> size) ^ planes[i | size]) & mask;
            planes[i | size] ^= swapped;
            planes[i] ^= swapped << size;
        }
    }
}

/* Counts of ones in fields of four bits. */
TG_BITS_INLINE uint32_t tg_ones_by_4(uint32_t x)
{
    x -= x >> 1 & 0x55555555U;
    return (x & 0x33333333U) + (x >> 2 & 0x33333333U);
}

/* The sum of fields of four bits. */
TG_BITS_INLINE int32_t tg_sum_of_4(uint32_t x)
{
    x = (x & 0x0F0F0F0FU) + (x >> 4 & 0x0F0F0F0FU);
    return (int32_t)(x * 0x01010101U >> 24);
}

/* How many bits differ between `count` words of each. */
static inline int32_t tg_differing(const uint32_t *x, const uint32_t *w, int32_t count)
{
    int32_t ones = 0;
    for (; count >= 3; count -= 3, x += 3, w += 3) {
        uint32_t sum = x[0] ^ w[0];
        const uint32_t carry = tg_full_add(&sum, x[1] ^ w[1], x[2] ^ w[2]);
        ones += tg_sum_of_4(tg_ones_by_4(sum) + 2 * tg_ones_by_4(carry));
    }
    if (count > 0) {
        const uint32_t second = count > 1 ? x[1] ^ w[1] : 0;
        ones += tg_sum_of_4(tg_ones_by_4(x[0] ^ w[0]) + tg_ones_by_4(second));
    }
    return ones;
}

/* The first of the window's taps that lies inside, when tap 0 lies at `start` and they are `step` apart. */
static inline int32_t tg_first_tap(int32_t start, int32_t step)
{
    return start < 0 ? (step - 1 - start) / step : 0;
}

/* One behind the last that lies inside `size`. */
static inline int32_t tg_end_tap(int32_t start, int32_t step, int32_t taps, int32_t size)
{
    const int32_t end = start < size ? (size - start + step - 1) / step : 0;
    return end < taps ? end : taps;
}

#endif
