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

/* Columns of the carry of a + b + c alone. */
TG_BITS_INLINE uint32_t tg_carry(uint32_t a, uint32_t b, uint32_t c)
{
    return (a & b) | (c & (a | b));
}

/* Bit `bit` of x in all columns. */
TG_BITS_INLINE uint32_t tg_extend_bit(uint32_t x, int32_t bit)
{
    return (uint32_t)((int32_t)(x << (31 - bit)) >> 31);
}

/* Bit j of each byte becomes the parity of its bits 0 to j. */
TG_BITS_INLINE uint32_t tg_parities(uint32_t x)
{
    x ^= (x & 0x7F7F7F7FU) << 1;
    x ^= (x & 0x3F3F3F3FU) << 2;
    return x ^ (x & 0x0F0F0F0FU) << 4;
}

/*
 * TG_ADD_8(eights, planes, x, first, w): adds the products of eight channels, bits first to first + 7 of `x`, to planes
 * 0 to 2, and sets `eights` to the carry of weight 8.
 *
 * Channels come as parities: bit j of x and word j of w are the exclusive or of channels 0 to j, so s[j], one
 * exclusive or from both, is the sum bit of a chain of full adders, and only the carries are left to make: three
 * operations each instead of five, since maj(a, b, c) = (a ^ b ^ c) ^ ((a ^ b) | (b ^ c)).
 */
#if defined(__GNUC__) && defined(__thumb2__)
/* What is written before is there for what reads through `pointer` behind it, and no sooner. */
#define TG_SETTLED(pointer) __asm__ volatile("" : "+r"(pointer) : : "memory")

/*
 * 52 instructions for 256 products: in the order that a core with two issue slots likes, 27 cycles; for other cores
 * loads stand together, as each but the first then takes one cycle. Weights are constant, or copied between two
 * TG_SETTLED() of their address: no memory is named as read, for want of a register to name it with.
 */
#if defined(TG_DUAL_ISSUE) && TG_DUAL_ISSUE
#define TG_ADD_8_ORDER                                                                                                 \
    "sbfx %[m], %[bits], %[bit], #1\n\tldr %[a], [%[from], %[at]]\n\t"                                                 \
    "ldr %[b], [%[from], %[at] + 4]\n\tldr %[c], [%[from], %[at] + 8]\n\t"                                             \
    "sbfx %[e], %[bits], %[bit] + 1, #1\n\teors %[a], %[a], %[m]\n\t"                                                  \
    "sbfx %[m], %[bits], %[bit] + 2, #1\n\teors %[b], %[b], %[e]\n\t"                                                  \
    "ldr %[d], [%[from], %[at] + 12]\n\teors %[c], %[c], %[m]\n\t"                                                     \
    "sbfx %[e], %[bits], %[bit] + 3, #1\n\teors %[a], %[a], %[c]\n\t"                                                  \
    "sbfx %[m], %[bits], %[bit] + 4, #1\n\torrs %[a], %[a], %[b]\n\t"                                                  \
    "eors %[d], %[d], %[e]\n\teors %[a], %[a], %[c]\n\t"                                                               \
    "ldr %[b], [%[from], %[at] + 16]\n\tldr %[e], [%[from], %[at] + 20]\n\t"                                           \
    "eors %[b], %[b], %[m]\n\teors %[c], %[c], %[b]\n\t"                                                               \
    "sbfx %[m], %[bits], %[bit] + 5, #1\n\torrs %[c], %[c], %[d]\n\t"                                                  \
    "eors %[c], %[c], %[b]\n\teors %[d], %[a], %[c]\n\t"                                                               \
    "eors %[e], %[e], %[m]\n\teors %[a], %[p1], %[a]\n\t"                                                              \
    "eors %[p1], %[p1], %[d]\n\torrs %[d], %[d], %[a]\n\t"                                                             \
    "sbfx %[m], %[bits], %[bit] + 6, #1\n\tldr %[a], [%[from], %[at] + 24]\n\t"                                        \
    "ldr %[c], [%[from], %[at] + 28]\n\teors %[a], %[a], %[m]\n\t"                                                     \
    "eors %[b], %[b], %[a]\n\torrs %[b], %[b], %[e]\n\t"                                                               \
    "sbfx %[m], %[bits], %[bit] + 7, #1\n\teors %[d], %[p1], %[d]\n\t"                                                 \
    "eors %[b], %[b], %[a]\n\teors %[a], %[p0], %[a]\n\t"                                                              \
    "eors %[c], %[c], %[m]\n\teors %[p0], %[p0], %[c]\n\t"                                                             \
    "orrs %[c], %[c], %[a]\n\teors %[c], %[p0], %[c]\n\t"                                                              \
    "eors %[a], %[b], %[c]\n\teors %[b], %[p1], %[b]\n\t"                                                              \
    "eors %[p1], %[p1], %[a]\n\torrs %[a], %[a], %[b]\n\t"                                                             \
    "eors %[a], %[p1], %[a]\n\teors %[e], %[d], %[a]\n\t"                                                              \
    "eors %[d], %[p2], %[d]\n\teors %[p2], %[p2], %[e]\n\t"                                                            \
    "orrs %[e], %[e], %[d]\n\teors %[e], %[p2], %[e]"
#else
#define TG_ADD_8_ORDER                                                                                                 \
    "ldr %[a], [%[from], %[at]]\n\tldr %[b], [%[from], %[at] + 4]\n\t"                                                 \
    "ldr %[c], [%[from], %[at] + 8]\n\tldr %[d], [%[from], %[at] + 12]\n\t"                                            \
    "sbfx %[m], %[bits], %[bit], #1\n\t"                                                                               \
    "sbfx %[e], %[bits], %[bit] + 1, #1\n\teors %[a], %[a], %[m]\n\t"                                                  \
    "sbfx %[m], %[bits], %[bit] + 2, #1\n\teors %[b], %[b], %[e]\n\t"                                                  \
    "sbfx %[e], %[bits], %[bit] + 3, #1\n\teors %[c], %[c], %[m]\n\t"                                                  \
    "sbfx %[m], %[bits], %[bit] + 4, #1\n\teors %[d], %[d], %[e]\n\t"                                                  \
    "eors %[a], %[a], %[c]\n\torrs %[a], %[a], %[b]\n\t"                                                               \
    "eors %[a], %[a], %[c]\n\tldr %[b], [%[from], %[at] + 16]\n\t"                                                     \
    "ldr %[e], [%[from], %[at] + 20]\n\teors %[b], %[b], %[m]\n\t"                                                     \
    "sbfx %[m], %[bits], %[bit] + 5, #1\n\teors %[c], %[c], %[b]\n\t"                                                  \
    "eors %[e], %[e], %[m]\n\torrs %[c], %[c], %[d]\n\t"                                                               \
    "sbfx %[m], %[bits], %[bit] + 6, #1\n\teors %[c], %[c], %[b]\n\t"                                                  \
    "eors %[d], %[a], %[c]\n\teors %[a], %[p1], %[a]\n\t"                                                              \
    "eors %[p1], %[p1], %[d]\n\torrs %[d], %[d], %[a]\n\t"                                                             \
    "ldr %[a], [%[from], %[at] + 24]\n\tldr %[c], [%[from], %[at] + 28]\n\t"                                           \
    "eors %[d], %[p1], %[d]\n\teors %[a], %[a], %[m]\n\t"                                                              \
    "sbfx %[m], %[bits], %[bit] + 7, #1\n\teors %[b], %[b], %[a]\n\t"                                                  \
    "orrs %[b], %[b], %[e]\n\teors %[b], %[b], %[a]\n\t"                                                               \
    "eors %[c], %[c], %[m]\n\teors %[a], %[p0], %[a]\n\t"                                                              \
    "eors %[p0], %[p0], %[c]\n\torrs %[c], %[c], %[a]\n\t"                                                             \
    "eors %[c], %[p0], %[c]\n\teors %[a], %[b], %[c]\n\t"                                                              \
    "eors %[b], %[p1], %[b]\n\teors %[p1], %[p1], %[a]\n\t"                                                            \
    "orrs %[a], %[a], %[b]\n\teors %[a], %[p1], %[a]\n\t"                                                              \
    "eors %[e], %[d], %[a]\n\teors %[d], %[p2], %[d]\n\t"                                                              \
    "eors %[p2], %[p2], %[e]\n\torrs %[e], %[e], %[d]\n\t"                                                             \
    "eors %[e], %[p2], %[e]"
#endif
#define TG_ADD_8(eights, planes, x, first, w)                                                                          \
    do {                                                                                                               \
        uint32_t tg_a, tg_b, tg_c, tg_d, tg_m;                                                                         \
        __asm__(TG_ADD_8_ORDER                                                                                         \
                : [p0] "+r"((planes)[0]), [p1] "+r"((planes)[1]), [p2] "+r"((planes)[2]), [a] "=&r"(tg_a),             \
                  [b] "=&r"(tg_b), [c] "=&r"(tg_c), [d] "=&r"(tg_d), [e] "=&r"(eights), [m] "=&r"(tg_m)                \
                : [from] "r"(w), [bits] "r"(x), [bit] "i"(first), [at] "i"(4 * (first))                                \
                : "cc");                                                                                               \
    } while (0)
#else
#define TG_SETTLED(pointer) ((void)(pointer))
#define TG_ADD_8(eights, planes, x, first, w) ((eights) = tg_add_8(planes, x, first, (w) + (first)))

TG_BITS_INLINE uint32_t tg_add_8(uint32_t *planes, uint32_t x, int32_t first, const uint32_t *w)
{
    uint32_t s[8];
    for (int32_t j = 0; j < 8; j++) {
        s[j] = w[j] ^ tg_extend_bit(x, first + j);
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
#endif

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
