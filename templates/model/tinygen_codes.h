/*
 * Codes of less than 8 bits, and what becomes of accumulators: rescaling and thresholds per channel.
 */
#ifndef TINYGEN_CODES_H
#define TINYGEN_CODES_H

#include <stdint.h>

#include "tinygen_math.h"

/* Bit `index` of packed channels, as 0 or 1. */
static inline int32_t tg_bit(const uint32_t *words, int32_t index)
{
    return (int32_t)((words[index >> 5] >> (index & 31)) & 1U);
}

/* Four neighbours' codes of `bits` bits, 4 or 2, in the bytes of a word. */
#define TG_FOUR_CODES(bits) ((bits) == 4 ? 0x0F0F0F0FU : 0x03030303U)

/*
 * Codes of 4 or 2 bits in words of channels: byte j of a word has channels j, j + 4 ... of that word, the first one
 * lowest. They become bytes, times 2^left. tg_unpack_words() takes whole words; `bits` and `left` are constants.
 */
static inline void tg_unpack_words(uint32_t *to, const uint32_t *from, int32_t words, int32_t bits, int32_t left)
{
    for (int32_t i = 0; i < words; i++) {
        uint32_t word = from[i];
        for (int32_t j = 0; j < 32; j += 4 * bits, word >>= bits) {
            *to++ = (word & TG_FOUR_CODES(bits)) << left;
        }
    }
}

/* The code of channel `c` of a pixel. */
static inline uint32_t tg_packed_code(const uint32_t *pixel, int32_t c, int32_t bits)
{
    const uint32_t each = 32U / (uint32_t)bits;
    const uint32_t within = (uint32_t)c % each;
    return pixel[(uint32_t)c / each] >> (within % 4U * 8U + within / 4U * (uint32_t)bits) & ((1U << bits) - 1U);
}

/* Stores it; channels come in order, the first of a word clears that word. */
static inline void tg_put_code(uint32_t *pixel, int32_t c, uint32_t code, int32_t bits)
{
    const uint32_t each = 32U / (uint32_t)bits;
    const uint32_t within = (uint32_t)c % each;
    uint32_t *const word = pixel + (uint32_t)c / each;
    const uint32_t place = bits == 1 ? within : within % 4U * 8U + within / 4U * (uint32_t)bits;
    *word = (within == 0 ? 0U : *word) | code << place;
}

/* The codes of `count` channels from the first of a word on, see tg_packed_code(). */
static inline void tg_unpack_codes(uint8_t *to, const uint32_t *from, int32_t count, int32_t bits, int32_t left)
{
    for (int32_t c = 0; c < count; from++) {
        uint32_t word = *from;
        for (int32_t end = c + 32 / bits < count ? c + 32 / bits : count; c < end; c += 4, word >>= bits) {
            const uint32_t four = (word & TG_FOUR_CODES(bits)) << left;
            TG_COPY(to + c, &four, (size_t)(end - c < 4 ? end - c : 4));
        }
    }
}

/* Stores the codes of two neighbours. */
static inline void tg_store_two(void *to, uint8_t first, uint8_t second)
{
    const uint16_t two = (uint16_t)(first | second << 8);
    TG_COPY(to, &two, sizeof two);
}

/* Sign and exponent: 0 is zero, else 2^(|code| - 1) with the sign of the code. */
static inline int32_t tg_power_of_two(int32_t code)
{
    return code > 0 ? (int32_t)(UINT32_C(1) << (code - 1)) : code < 0 ? -(int32_t)(UINT32_C(1) << (-code - 1)) : 0;
}

/* (x * multiplier + offset) >> shift, held within [low, high]; 0 <= shift <= 62. */
static inline int32_t tg_rescale(
    int32_t x, int32_t multiplier, int64_t offset, int32_t shift, int32_t low, int32_t high)
{
    const int64_t scaled = ((int64_t)x * multiplier + offset) >> shift;
    return scaled < low ? low : scaled > high ? high : (int32_t)scaled;
}

/* The same with a shift that is 32 more: 0 <= shift <= 30. */
static inline int32_t tg_rescale_high(
    int32_t x, int32_t multiplier, int64_t offset, int32_t shift, int32_t low, int32_t high)
{
    const int32_t scaled = (int32_t)(((int64_t)x * multiplier + offset) >> 32) >> shift;
    return scaled < low ? low : scaled > high ? high : scaled;
}

/* The 64 bits of two words. */
static inline int64_t tg_join(int32_t high, int32_t low)
{
    return (int64_t)(((uint64_t)(uint32_t)high << 32) | (uint32_t)low);
}

/* How many of `count` rising thresholds x reaches. */
static inline int32_t tg_steps(int32_t x, const int32_t *thresholds, int32_t count)
{
    int32_t first = 0;
    while (count > 0) {
        const int32_t half = count / 2;
        if (x >= thresholds[first + half]) {
            first += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return first;
}

/* One copy of a function that a kernel calls for each output: what it loops over must fit caches of a kilobyte. */
#if defined(__GNUC__)
#define TG_ONE_COPY static __attribute__((noinline, unused))
#else
#define TG_ONE_COPY static inline
#endif

#if defined(__OPTIMIZE__) && defined(__riscv)
/* at += x >= at[last] ? last + 1 : 0, in four cycles or five. The memory operand says what is read: else it may be
   left out. */
#define TG_SEARCH_STEP(at, x, last)                                                                          \
    do {                                                                                                     \
        int32_t threshold;                                                                                   \
        __asm__ volatile("lw %1, %3(%0)\n\tblt %2, %1, 1f\n\taddi %0, %0, %4\n1:"                             \
                         : "+r"(at), "=&r"(threshold)                                                        \
                         : "r"(x), "i"(4 * (last)), "i"(4 * (last) + 4),                                     \
                           "m"(*(const int32_t (*)[(last) + 1])(at)));                                       \
    } while (0)
#define TG_SEARCH static inline __attribute__((always_inline))
#elif defined(__OPTIMIZE__) && defined(__thumb__) && !defined(__thumb2__)
#define TG_SEARCH_STEP(at, x, last)                                                                          \
    do {                                                                                                     \
        if ((last) < 32) {                                                                                   \
            int32_t threshold;                                                                               \
            __asm__ volatile(".syntax unified\n\tldr %1, [%0, %3]\n\tcmp %2, %1\n\tblt 1f\n\tadds %0, %4\n1:"  \
                             : "+l"(at), "=&l"(threshold)                                                    \
                             : "l"(x), "i"(4 * ((last) & 31)), "i"(4 * ((last) & 31) + 4),                   \
                               "m"(*(const int32_t (*)[(last) + 1])(at))                                     \
                             : "cc");                                                                        \
        } else {                                                                                             \
            (at) += (x) >= (at)[last] ? (last) + 1 : 0;                                                      \
        }                                                                                                    \
    } while (0)
#define TG_SEARCH static inline __attribute__((always_inline))
#else
#define TG_SEARCH_STEP(at, x, last) ((at) += (x) >= (at)[last] ? (last) + 1 : 0)
#define TG_SEARCH TG_ONE_COPY
#endif

/* How many of 2^bits - 1 rising thresholds x reaches, `bits` a constant from 2 to 8: a load for each bit. */
TG_SEARCH int32_t tg_search(int32_t x, const int32_t *thresholds, int32_t bits)
{
    const int32_t *at = thresholds;
    if (bits > 7) {
        TG_SEARCH_STEP(at, x, 127);
    }
    if (bits > 6) {
        TG_SEARCH_STEP(at, x, 63);
    }
    if (bits > 5) {
        TG_SEARCH_STEP(at, x, 31);
    }
    if (bits > 4) {
        TG_SEARCH_STEP(at, x, 15);
    }
    if (bits > 3) {
        TG_SEARCH_STEP(at, x, 7);
    }
    if (bits > 2) {
        TG_SEARCH_STEP(at, x, 3);
    }
    TG_SEARCH_STEP(at, x, 1);
    TG_SEARCH_STEP(at, x, 0);
    return (int32_t)(at - thresholds);
}

/* The same where no sum below 0 reaches a threshold: about half of the sums of rectified outputs reach none. */
static inline int32_t tg_search_signed(int32_t x, const int32_t *thresholds, int32_t bits)
{
    return x < 0 ? 0 : tg_search(x, thresholds, bits);
}

/* How many bits a word has up to its highest one. */
static inline int32_t tg_length(uint32_t word)
{
#if defined(__GNUC__)
    return word == 0 ? 0 : 32 - __builtin_clz(word);
#else
    int32_t length = 0;
    for (; word != 0; word >>= 1) {
        length++;
    }
    return length;
#endif
}

/* How many zeros are in front of the highest bit of a number; 32 of one that is not above zero. */
static inline int32_t tg_zeros(int32_t x)
{
#if defined(__thumb2__)
    /* Compilers are not to jump around the second instruction where the word is 0. */
    int32_t word;
    int32_t zeros;
    __asm__("usat %0, #31, %1" : "=r"(word) : "r"(x));
    __asm__("clz %0, %1" : "=r"(zeros) : "r"(word));
    return zeros;
#else
    return 32 - tg_length((uint32_t)tg_max(x, 0));
#endif
}

/*
 * 2 * (length - first) - 1, one more where bit `length` of `half` is set: length counts the bits of `place` up to the
 * highest one, 0 of one below zero. `top` is 2 * (32 - first).
 */
static inline int32_t tg_half_octaves(int32_t place, int32_t half, int32_t top)
{
#if defined(__thumb2__)
    /* The last bit that is shifted out is the carry. */
    int32_t code;
    __asm__("usat %0, #31, %2\n\tclz %0, %0\n\tlsls %1, %1, %0\n\tsbc %0, %3, %0, lsl #1"
            : "=&r"(code), "+&r"(half)
            : "r"(place), "r"(top)
            : "cc");
    return code;
#else
    const int32_t length = tg_length((uint32_t)tg_max(place, 0));
    return top - 2 * (32 - length) - 1 + (int32_t)((uint32_t)half >> length & 1U);
#endif
}

/*
 * Codes of two sums of a channel, of which the second is stored first: tg_half_octaves() of each sum's places on two
 * lines, lines[1] + (sum * lines[0] >> 32) and lines[3] + (sum * lines[2] >> 32), held within 0 .. 2^bits - 1. `bits`
 * is a constant. Instructions are in an order in which a Cortex-M7 issues two at once, and other cores hardly wait for
 * products. Lines stay in memory, but where a loop keeps them and clang has the registers for it.
 */
#if defined(__OPTIMIZE__) && defined(__thumb2__) && defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
#define TG_HALF_OCTAVES_OF_TWO(line_0, line_1, line_2, line_3)                                               \
    "ldr %[m], " line_0 "\n\tldr %[o], " line_1 "\n\tsmmla %[b], %[y], %[m], %[o]\n\t"                       \
    "smmla %[a], %[x], %[m], %[o]\n\tldr %[m], " line_2 "\n\tusat %[b], #31, %[b]\n\t"                       \
    "ldr %[o], " line_3 "\n\tclz %[b], %[b]\n\tsmmla %[y], %[y], %[m], %[o]\n\tusat %[a], #31, %[a]\n\t"     \
    "smmla %[x], %[x], %[m], %[o]\n\tclz %[a], %[a]\n\tlsls %[y], %[y], %[b]\n\t"                            \
    "sbc %[b], %[top], %[b], lsl #1\n\tlsls %[x], %[x], %[a]\n\tusat %[b], %[bits], %[b]\n\t"
static inline __attribute__((always_inline)) void tg_store_half_octaves(
    uint8_t *to_0, uint8_t *to_1, int32_t sum_0, int32_t sum_1, const int32_t lines[4], int32_t top, int32_t bits)
{
    int32_t code_0;
    int32_t code_1;
    int32_t multiplier;
    int32_t offset;
#if defined(__clang__)
    /* It would take a register for each operand in memory. */
    __asm__(TG_HALF_OCTAVES_OF_TWO("[%[lines]]", "[%[lines], #4]", "[%[lines], #8]", "[%[lines], #12]")
            "sbc %[a], %[top], %[a], lsl #1\n\tusat %[a], %[bits], %[a]"
            : [x] "+&r"(sum_0), [y] "+&r"(sum_1), [a] "=&r"(code_0), [b] "=&r"(code_1), [m] "=&r"(multiplier),
              [o] "=&r"(offset)
            : [lines] "r"(lines), [top] "r"(top), [bits] "i"(bits), "m"(*(const int32_t (*)[4])lines)
            : "cc");
    *to_1 = (uint8_t)code_1;
    *to_0 = (uint8_t)code_0;
#else
    __asm__(TG_HALF_OCTAVES_OF_TWO("%[line_0]", "%[line_1]", "%[line_2]", "%[line_3]")
            "strb %[b], %[to_1]\n\tsbc %[a], %[top], %[a], lsl #1\n\tusat %[a], %[bits], %[a]\n\t"
            "strb %[a], %[to_0]"
            : [x] "+&r"(sum_0), [y] "+&r"(sum_1), [a] "=&r"(code_0), [b] "=&r"(code_1), [m] "=&r"(multiplier),
              [o] "=&r"(offset), [to_0] "=m"(*to_0), [to_1] "=m"(*to_1)
            : [line_0] "m"(lines[0]), [line_1] "m"(lines[1]), [line_2] "m"(lines[2]), [line_3] "m"(lines[3]),
              [top] "r"(top), [bits] "i"(bits)
            : "cc");
#endif
}
#else
static inline void tg_store_half_octaves(
    uint8_t *to_0, uint8_t *to_1, int32_t sum_0, int32_t sum_1, const int32_t lines[4], int32_t top, int32_t bits)
{
    const int32_t sums[2] = {sum_0, sum_1};
    for (int32_t i = 1; i >= 0; i--) {
        const int32_t place = lines[1] + (int32_t)((int64_t)sums[i] * lines[0] >> 32);
        const int32_t half = lines[3] + (int32_t)((int64_t)sums[i] * lines[2] >> 32);
        *(i == 0 ? to_0 : to_1) = (uint8_t)tg_clamp(tg_half_octaves(place, half, top), 0, (1 << bits) - 1);
    }
}
#endif
#if defined(__clang__) && defined(TG_HALF_OCTAVES_OF_TWO)
static inline __attribute__((always_inline)) void tg_store_half_octaves_in_loop(
    uint8_t *to_0, uint8_t *to_1, int32_t sum_0, int32_t sum_1, const int32_t lines[4], int32_t top, int32_t bits)
{
    int32_t code_0;
    int32_t code_1;
    __asm__("smmla %[b], %[y], %[m], %[o]\n\tsmmla %[y], %[y], %[m2], %[o2]\n\tusat %[b], #31, %[b]\n\t"
            "smmla %[a], %[x], %[m], %[o]\n\tclz %[b], %[b]\n\tsmmla %[x], %[x], %[m2], %[o2]\n\t"
            "usat %[a], #31, %[a]\n\tlsls %[y], %[y], %[b]\n\tclz %[a], %[a]\n\t"
            "sbc %[b], %[top], %[b], lsl #1\n\tlsls %[x], %[x], %[a]\n\tsbc %[a], %[top], %[a], lsl #1"
            : [x] "+&r"(sum_0), [y] "+&r"(sum_1), [a] "=&r"(code_0), [b] "=&r"(code_1)
            : [m] "r"(lines[0]), [o] "r"(lines[1]), [m2] "r"(lines[2]), [o2] "r"(lines[3]), [top] "r"(top)
            : "cc");
    __asm__("usat %0, %1, %0" : "+r"(code_1) : "i"(bits));
    __asm__("usat %0, %1, %0" : "+r"(code_0) : "i"(bits));
    *to_1 = (uint8_t)code_1;
    *to_0 = (uint8_t)code_0;
}
#else
#define tg_store_half_octaves_in_loop tg_store_half_octaves
#endif

/*
 * The same of four sums, each two those of one column: no instruction waits for the one before. Two by two is faster
 * where clang keeps the lines in registers, and on a core that issues two instructions at once.
 */
#if defined(TG_HALF_OCTAVES_OF_TWO) && !defined(__clang__) && !(defined(TG_DUAL_ISSUE) && TG_DUAL_ISSUE)
static inline __attribute__((always_inline)) void tg_store_half_octaves_of_four(
    uint8_t *to_0,
    uint8_t *to_1,
    int32_t next,
    const int32_t sums[4],
    const int32_t lines[4],
    int32_t top,
    int32_t bits)
{
    int32_t x0 = sums[0], x1 = sums[1], x2 = sums[2], x3 = sums[3];
    int32_t a, b, c, d, m, o;
    __asm__("ldr %[m], [%[lines]]\n\tldr %[o], [%[lines], #4]\n\tsmmla %[a], %[x0], %[m], %[o]\n\t"
            "smmla %[b], %[x1], %[m], %[o]\n\tsmmla %[c], %[x2], %[m], %[o]\n\tsmmla %[d], %[x3], %[m], %[o]\n\t"
            "ldr %[m], [%[lines], #8]\n\tldr %[o], [%[lines], #12]\n\tusat %[a], #31, %[a]\n\t"
            "usat %[b], #31, %[b]\n\tsmmla %[x0], %[x0], %[m], %[o]\n\tusat %[c], #31, %[c]\n\t"
            "smmla %[x1], %[x1], %[m], %[o]\n\tusat %[d], #31, %[d]\n\tsmmla %[x2], %[x2], %[m], %[o]\n\t"
            "clz %[a], %[a]\n\tsmmla %[x3], %[x3], %[m], %[o]\n\tclz %[b], %[b]\n\tclz %[c], %[c]\n\t"
            "lsls %[x0], %[x0], %[a]\n\tclz %[d], %[d]\n\tsbc %[a], %[top], %[a], lsl #1\n\t"
            "lsls %[x1], %[x1], %[b]\n\tusat %[a], %[bits], %[a]\n\tsbc %[b], %[top], %[b], lsl #1\n\t"
            "lsls %[x2], %[x2], %[c]\n\tusat %[b], %[bits], %[b]\n\tsbc %[c], %[top], %[c], lsl #1\n\t"
            "lsls %[x3], %[x3], %[d]\n\tusat %[c], %[bits], %[c]\n\tsbc %[d], %[top], %[d], lsl #1\n\t"
            "usat %[d], %[bits], %[d]"
            : [x0] "+&r"(x0), [x1] "+&r"(x1), [x2] "+&r"(x2), [x3] "+&r"(x3), [a] "=&r"(a), [b] "=&r"(b),
              [c] "=&r"(c), [d] "=&r"(d), [m] "=&r"(m), [o] "=&r"(o)
            : [lines] "r"(lines), [top] "r"(top), [bits] "i"(bits), "m"(*(const int32_t (*)[4])lines)
            : "cc");
    to_1[0] = (uint8_t)b;
    to_1[next] = (uint8_t)d;
    to_0[0] = (uint8_t)a;
    to_0[next] = (uint8_t)c;
}
#else
static inline void tg_store_half_octaves_of_four(
    uint8_t *to_0,
    uint8_t *to_1,
    int32_t next,
    const int32_t sums[4],
    const int32_t lines[4],
    int32_t top,
    int32_t bits)
{
    tg_store_half_octaves_in_loop(to_0, to_1, sums[0], sums[1], lines, top, bits);
    tg_store_half_octaves_in_loop(to_0 + next, to_1 + next, sums[2], sums[3], lines, top, bits);
}
#endif

/* Whether a core counts leading zeros in an instruction. */
#if (defined(__riscv) && !defined(__riscv_zbb)) || (defined(__thumb__) && !defined(__thumb2__))
#define TG_COUNTS_ZEROS 0
#else
#define TG_COUNTS_ZEROS 1
#endif

/*
 * How many rising thresholds x reaches, where they lie as powers of two do, or `each` (1 or 2) between two powers:
 * `place` tells the octave by its length, which counts from `least`. A search through all 2^bits - 1, the first of
 * which is 0 at most, is faster where a length is no instruction.
 */
static inline int32_t tg_octaves(
    int32_t x, uint32_t place, const int32_t *thresholds, int32_t least, int32_t each, int32_t bits)
{
#if TG_COUNTS_ZEROS
    const int32_t length = tg_length(place | ((UINT32_C(1) << least) - 1U));
    const int32_t first = each * (length - least);
    const int32_t code = first + (x >= thresholds[first] ? 1 : 0);
    (void)bits;
    return each > 1 ? code + (x >= thresholds[first + 1] ? 1 : 0) : code;
#else
    (void)place;
    (void)least;
    (void)each;
    return tg_search_signed(x, thresholds, bits);
#endif
}

/*
 * How many rising thresholds x reaches: the word of its place among 2^bits cells has, above `radix` bits, the next
 * threshold less one, and below them how many are before it, plus one. An Armv6-M core has no high half of a product to
 * tell a place by: it searches.
 */
static inline int32_t tg_cells(int32_t x, uint32_t place, const int32_t *cells, int32_t bits, int32_t radix)
{
    const int32_t scaled = x * (1 << radix);
#if defined(__thumb__) && !defined(__thumb2__)
    const int32_t word = cells[tg_search(scaled, cells, bits)];
    (void)place;
#else
    const int32_t word = cells[place];
    (void)bits;
#endif
    return (word & ((1 << radix) - 1)) + ((scaled - word) >> 31);
}

#endif
