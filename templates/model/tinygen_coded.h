/*
 * Weights in codes of less than 8 bits: unpacked to pairs of int16 for tg_dot_2x4(), or multiplied as they are.
 *
 * Grids: a weight is step * code + first. Codes of 4, 2 and 1 bits fill words; those of other sizes are cut into such
 * pieces, lower bits first. 32 codes are eight quads of four bytes; of them, in this order,
 *   the 4-bit pieces are four words: quads 2 i and 2 i + 1 in the low and high nibbles of word i;
 *   the 2-bit pieces are two words: quads 4 i to 4 i + 3 in bits 0, 2, 4 and 6 of each byte of word i;
 *   the 1-bit pieces are one word: quad i in bit i of each byte.
 * So one shifted AND gives four codes, whatever their size. Bytes 0 and 2 of a quad are a pair, 1 and 3 the next one.
 * Where no piece needs as many codes, a group is smaller: 8 codes of 4 bits, 16 of 2 or 6 bits.
 *
 * Nested: bytes are 8-bit codes that several switches of a network read, each with the bits that it wants.
 *
 * Steps: a weight is first + step * code, of 8 bits.
 *
 * Books: a weight is book[code]. The codes of a pair are the index of both weights in a table that is made first. Books
 * of more than 16 values are read one by one; their codes are packed as those of grids.
 */
#ifndef TINYGEN_CODED_H
#define TINYGEN_CODED_H

#include <stdint.h>

#include "tinygen_dot.h"
#include "tinygen_simd.h"

/* Codes that are packed together. */
#define TG_GROUP(bits) ((bits) % 2 ? 32 : (bits) % 4 ? 16 : 8)

/* Bytes 0 and 2 of a word, added to a pair; bytes 1 and 3. Bytes have no sign. */
static inline uint32_t tg_uxtab16(uint32_t pair, uint32_t word)
{
#if TG_HAVE_DSP
    uint32_t sum;
    __asm__("uxtab16 %0, %1, %2" : "=r"(sum) : "r"(pair), "r"(word));
    return sum;
#else
    return tg_add_pairs(pair, word & 0x00FF00FFU);
#endif
}

static inline uint32_t tg_uxtab16_odd(uint32_t pair, uint32_t word)
{
#if TG_HAVE_DSP
    uint32_t sum;
    __asm__("uxtab16 %0, %1, %2, ror #8" : "=r"(sum) : "r"(pair), "r"(word));
    return sum;
#else
    return tg_add_pairs(pair, (word >> 8) & 0x00FF00FFU);
#endif
}

/* The same without a sum. */
static inline uint32_t tg_uxtb16(uint32_t word)
{
    return word & 0x00FF00FFU;
}

static inline uint32_t tg_uxtb16_odd(uint32_t word)
{
#if TG_HAVE_DSP
    uint32_t pair;
    __asm__("uxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
    return pair;
#else
    return (word >> 8) & 0x00FF00FFU;
#endif
}

/* A field that begins at bit `at` of each byte, moved to bit `to`: its bits are 1 in `mask`, once for each byte. */
TG_INLINE uint32_t tg_byte_field(uint32_t word, int32_t at, int32_t to, uint32_t mask)
{
    return (at >= to ? word >> (at - to) : word << (to - at)) & ((mask * UINT32_C(0x01010101)) << to);
}

/* Quad n of a group of codes, each times 2^shift; all but the words must be constants. */
TG_INLINE uint32_t tg_quad(const uint32_t words[7], int32_t bits, int32_t shift, int32_t n)
{
    const int32_t fours = bits & 4;
    const int32_t twos = bits & 2;
    uint32_t quad = 0;
    if (fours != 0) {
        quad = tg_byte_field(words[n / 2], 4 * (n % 2), shift, 15);
    }
    if (twos != 0) {
        quad |= tg_byte_field(words[fours * TG_GROUP(bits) / 32 + n / 4], 2 * (n % 4), shift + fours, 3);
    }
    if (bits % 2 != 0) {
        quad |= tg_byte_field(words[fours + twos], n, shift + fours + twos, 1);
    }
    return quad;
}

/* Pairs of weights from a quad of codes times 2^shift. */
TG_INLINE void tg_extend_quad(uint32_t *to, uint32_t quad, uint32_t factor, int16_t first)
{
    const uint32_t pair = (uint16_t)first * UINT32_C(0x10001);
    const uint32_t scaled = quad * factor;
    to[0] = first != 0 ? tg_uxtab16(pair, scaled) : tg_uxtb16(scaled);
    to[1] = first != 0 ? tg_uxtab16_odd(pair, scaled) : tg_uxtb16_odd(scaled);
}

/*
 * Pairs of weights first + code * factor * 2^shift, the part behind `first` less than 256, from `words` packed words.
 * What does not fill the last group is written all the same. All but the pointers must be constants.
 */
TG_INLINE void tg_extend_grid(
    uint32_t *restrict to, const uint32_t *restrict from, int32_t words, int32_t bits, int32_t shift, uint32_t factor,
    int16_t first)
{
    const int32_t step = bits * TG_GROUP(bits) / 32;
    for (const uint32_t *const end = from + words; from < end; from += step, to += TG_GROUP(bits) / 2) {
        uint32_t group[7];
        for (int32_t i = 0; i < step; i++) {
            group[i] = from[i];
        }
        tg_extend_quad(to, tg_quad(group, bits, shift, 0), factor, first);
        tg_extend_quad(to + 2, tg_quad(group, bits, shift, 1), factor, first);
        if (TG_GROUP(bits) > 8) {
            tg_extend_quad(to + 4, tg_quad(group, bits, shift, 2), factor, first);
            tg_extend_quad(to + 6, tg_quad(group, bits, shift, 3), factor, first);
        }
        if (TG_GROUP(bits) > 16) {
            tg_extend_quad(to + 8, tg_quad(group, bits, shift, 4), factor, first);
            tg_extend_quad(to + 10, tg_quad(group, bits, shift, 5), factor, first);
            tg_extend_quad(to + 12, tg_quad(group, bits, shift, 6), factor, first);
            tg_extend_quad(to + 14, tg_quad(group, bits, shift, 7), factor, first);
        }
    }
}

/* Two pairs of weights, `pair` and a byte times `step` each. */
TG_INLINE void tg_step_quad(uint32_t *to, uint32_t word, uint32_t step, uint32_t pair)
{
    if (step == 1) {
        to[0] = tg_uxtab16(pair, word);
        to[1] = tg_uxtab16_odd(pair, word);
    } else if (step == 2) {
        to[0] = tg_uxtab16(tg_uxtab16(pair, word), word);
        to[1] = tg_uxtab16_odd(tg_uxtab16_odd(pair, word), word);
    } else {
        to[0] = tg_add_pairs(pair, tg_uxtb16(word) * step);
        to[1] = tg_add_pairs(pair, tg_uxtb16_odd(word) * step);
    }
}

/* Weights first + byte * step, which fit int16, of `words` words, a multiple of 4; `step` must be a constant, at
   most 257. */
TG_INLINE void tg_extend_steps(
    uint32_t *restrict to, const uint32_t *restrict from, int32_t words, uint32_t step, int16_t first)
{
    const uint32_t pair = (uint16_t)first * UINT32_C(0x10001);
    for (const uint32_t *const end = from + words; from < end; from += 4, to += 8) {
        const uint32_t a = from[0], b = from[1], c = from[2], d = from[3];
        tg_step_quad(to, a, step, pair);
        tg_step_quad(to + 2, b, step, pair);
        tg_step_quad(to + 4, c, step, pair);
        tg_step_quad(to + 6, d, step, pair);
    }
}

/*
 * A pair of weights 2 c - (2^bits - 1) from a pair of 8-bit codes q. c is q quantized again, floor((q + (d - 1) / 2) /
 * d) with d = 255 / (2^bits - 1): what (q * factor + addend) >> shift gives for all 256, in 16 bits. `bits`: 1, 2, 4 or
 * 8.
 */
TG_INLINE uint32_t tg_nested_pair(uint32_t pair, int32_t bits)
{
    if (bits == 8) {
        return tg_add_pairs(pair << 1, UINT32_C(0xFF01FF01));
    }
    if (bits == 4) {
        return tg_add_pairs((pair * 241 + UINT32_C(0x07880788)) >> 11 & 0x001E001EU, UINT32_C(0xFFF1FFF1));
    }
    if (bits == 2) {
        return tg_add_pairs((pair * 193 + UINT32_C(0x1FAA1FAA)) >> 13 & 0x00060006U, UINT32_C(0xFFFDFFFD));
    }
    return tg_add_pairs(pair >> 6 & 0x00020002U, UINT32_C(0xFFFFFFFF));
}

/*
 * Pairs of weights of four filters from 8-bit codes, two filters to a word (even bytes, odd bytes), `words` an even
 * number. `flips`: ones in the bytes whose weights are negated, for either word. `bits` must be a constant.
 */
TG_INLINE void tg_extend_nested(
    uint32_t *restrict to, const uint32_t *restrict from, int32_t words, int32_t bits, const uint32_t flips[2])
{
    const uint32_t flip0 = flips[0];
    const uint32_t flip1 = flips[1];
    for (const uint32_t *const end = from + words; from < end; from += 2, to += 4) {
        const uint32_t a = from[0] ^ flip0;
        const uint32_t b = from[1] ^ flip1;
        to[0] = tg_nested_pair(tg_uxtb16(a), bits);
        to[1] = tg_nested_pair(tg_uxtb16_odd(a), bits);
        to[2] = tg_nested_pair(tg_uxtb16(b), bits);
        to[3] = tg_nested_pair(tg_uxtb16_odd(b), bits);
    }
}

/* Multiplies `count` pairs, `pitch` words apart; the products fit 16 bits. */
TG_INLINE void tg_scale_pairs(uint32_t *to, int32_t count, int32_t pitch, int32_t low, int32_t high)
{
    for (int32_t n = 0; n < count; n++, to += pitch) {
        const uint32_t pair = *to;
        *to = ((uint32_t)(tg_low_half(pair) * low) & 0xFFFFU) | (uint32_t)(tg_high_half(pair) * high) << 16;
    }
}

/* The pair of weights of each pair of codes, low half first: 4^bits words. */
static inline void tg_pair_table(uint32_t *table, const int16_t *book, int32_t bits)
{
    for (int32_t i = 0; i < 1 << (2 * bits); i++) {
        table[i] = tg_pair(book[i & ((1 << bits) - 1)], book[i >> bits]);
    }
}

/*
 * Pairs of weights from a table: pairs of codes follow each other in words, as many as fit, from the lowest bit.
 * What does not fill the last word is written all the same. `bits` must be a constant.
 */
TG_INLINE void tg_extend_book(
    uint32_t *restrict to, const uint32_t *restrict from, int32_t words, int32_t bits, const uint32_t *restrict table)
{
    const int32_t pairs = 16 / bits;
    const uint32_t mask = (UINT32_C(1) << (2 * bits)) - 1;
    for (const uint32_t *const end = from + words; from < end; from++, to += pairs) {
        const uint32_t word = *from;
        to[0] = table[word & mask];
        to[1] = table[word >> (2 * bits) & mask];
        to[2] = table[word >> (4 * bits) & mask];
        to[3] = table[word >> (6 * bits) & mask];
        if (bits < 4) {
            to[4] = table[word >> (8 * bits) & mask];
        }
        if (bits < 3) {
            to[5] = table[word >> 20 & mask];
            to[6] = table[word >> 24 & mask];
            to[7] = table[word >> 28];
        }
    }
}

/* Two pairs of weights from a quad of codes. */
TG_INLINE void tg_look_up_quad(uint32_t *to, uint32_t quad, const int16_t *book)
{
    to[0] = tg_pair(book[quad & 255U], book[quad >> 16 & 255U]);
    to[1] = tg_pair(book[quad >> 8 & 255U], book[quad >> 24]);
}

/*
 * Pairs of weights from a book that is too large for a table of pairs; codes as tg_extend_grid() takes them, those of 8
 * bits as bytes. What does not fill the last group is written all the same. `bits` must be a constant.
 */
TG_INLINE void tg_extend_index(
    uint32_t *restrict to, const uint32_t *restrict from, int32_t words, int32_t bits, const int16_t *restrict book)
{
    const int32_t step = bits == 8 ? 1 : bits * TG_GROUP(bits) / 32;
    const int32_t quads = bits == 8 ? 1 : TG_GROUP(bits) / 4;
    for (const uint32_t *const end = from + words; from < end; from += step, to += 2 * quads) {
        if (bits == 8) {
            tg_look_up_quad(to, from[0], book);
            continue;
        }
        uint32_t group[7];
        for (int32_t i = 0; i < step; i++) {
            group[i] = from[i];
        }
        tg_look_up_quad(to, tg_quad(group, bits, 0, 0), book);
        tg_look_up_quad(to + 2, tg_quad(group, bits, 0, 1), book);
        if (quads > 2) {
            tg_look_up_quad(to + 4, tg_quad(group, bits, 0, 2), book);
            tg_look_up_quad(to + 6, tg_quad(group, bits, 0, 3), book);
        }
        if (quads > 4) {
            tg_look_up_quad(to + 8, tg_quad(group, bits, 0, 4), book);
            tg_look_up_quad(to + 10, tg_quad(group, bits, 0, 5), book);
            tg_look_up_quad(to + 12, tg_quad(group, bits, 0, 6), book);
            tg_look_up_quad(to + 14, tg_quad(group, bits, 0, 7), book);
        }
    }
}

/* low * factor and high * factor, which fit 16 bits. */
static inline uint32_t tg_scale_pair(uint32_t pair, int32_t factor)
{
    return tg_pair((int16_t)(tg_low_half(pair) * factor), (int16_t)(tg_high_half(pair) * factor));
}

/*
 * Activations for tg_dot_codes(): `count` codes in pairs, 0 and 2 before 1 and 3 of each four, filled with zeros to
 * `pairs` pairs; each times `factor`. Returns the sum of the codes themselves.
 */
static inline int32_t tg_extend_scaled(uint32_t *to, const int8_t *from, int32_t count, int32_t pairs, int32_t factor)
{
    int32_t sum = 0;
    for (int32_t i = 0; i < 2 * pairs; i += 4, to += 2) {
        uint32_t word = 0;
        if (i < count) {
            TG_COPY(&word, from + i, count - i < 4 ? (uint32_t)(count - i) : 4U);
        }
        const uint32_t even = tg_sxtb16(word);
        const uint32_t odd = tg_sxtb16_odd(word);
        sum = tg_smlad(even, UINT32_C(0x10001), sum);
        sum = tg_smlad(odd, UINT32_C(0x10001), sum);
        to[0] = factor == 1 ? even : tg_scale_pair(even, factor);
        to[1] = factor == 1 ? odd : tg_scale_pair(odd, factor);
    }
    return sum;
}

/* Pair i of the codes in four words, one per output, times a pair of activations. */
#if TG_IN_REGISTERS && !defined(__clang__)
/* GCC spills unless it is told the order: a field is masked in one instruction with its shift. */
#define TG_FIELD(to, word, at)                                                                               \
    if ((at) == 0) {                                                                                         \
        __asm__ volatile("and %0, %1, %2" : "=r"(to) : "r"(word), "r"(mask));                                \
    } else {                                                                                                 \
        __asm__ volatile("and %0, %1, %2, lsr %3" : "=r"(to) : "r"(mask), "r"(word), "i"((at) > 0 ? (at) : 1)); \
    }
#define TG_CODES_OF(i, pair, next)                                                                           \
    TG_FIELD(p, u, (i) * bits % 32);                                                                         \
    TG_MAC(a, p, pair);                                                                                      \
    TG_FIELD(p, v, (i) * bits % 32);                                                                         \
    TG_MAC(b, p, pair);                                                                                      \
    if ((i) + 1 < 16 / bits) {                                                                               \
        TG_LOAD(next, x, (i) + 1);                                                                           \
    }                                                                                                        \
    TG_FIELD(p, s, (i) * bits % 32);                                                                         \
    TG_MAC(c, p, pair);                                                                                      \
    TG_FIELD(p, t, (i) * bits % 32);                                                                         \
    TG_MAC(d, p, pair)
#define TG_CODES_STEP(i)                                                                                     \
    do {                                                                                                     \
        if ((i) % 2 == 0) {                                                                                  \
            TG_CODES_OF(i, even, odd);                                                                       \
        } else {                                                                                             \
            TG_CODES_OF(i, odd, even);                                                                       \
        }                                                                                                    \
    } while (0)
#else
#define TG_CODES_STEP(i)                                                                                     \
    do {                                                                                                     \
        const uint32_t pair = x[i];                                                                          \
        a = tg_smlad((u >> ((i) * bits % 32)) & mask, pair, a);                                                   \
        b = tg_smlad((v >> ((i) * bits % 32)) & mask, pair, b);                                                   \
        c = tg_smlad((s >> ((i) * bits % 32)) & mask, pair, c);                                                   \
        d = tg_smlad((t >> ((i) * bits % 32)) & mask, pair, d);                                                   \
    } while (0)
#endif

/* All pairs of a word. */
#define TG_CODES_STEPS()                                                                                     \
    TG_CODES_STEP(0);                                                                                        \
    TG_CODES_STEP(1);                                                                                        \
    TG_CODES_STEP(2);                                                                                        \
    if (bits < 5) {                                                                                          \
        TG_CODES_STEP(3);                                                                                    \
    }                                                                                                        \
    if (bits < 4) {                                                                                          \
        TG_CODES_STEP(4);                                                                                    \
    }                                                                                                        \
    if (bits < 3) {                                                                                          \
        TG_CODES_STEP(5);                                                                                    \
        TG_CODES_STEP(6);                                                                                    \
        TG_CODES_STEP(7);                                                                                    \
    }                                                                                                        \
    if (bits < 2) {                                                                                          \
        TG_CODES_STEP(8);                                                                                    \
        TG_CODES_STEP(9);                                                                                    \
        TG_CODES_STEP(10);                                                                                   \
        TG_CODES_STEP(11);                                                                                   \
        TG_CODES_STEP(12);                                                                                   \
        TG_CODES_STEP(13);                                                                                   \
        TG_CODES_STEP(14);                                                                                   \
        TG_CODES_STEP(15);                                                                                   \
    }

/*
 * Adds the products of 4 outputs over `words` words, at least one, of codes of 1 to 5 bits.
 *
 * x: pairs of activations, 16 / bits for each word; w: [words][4 outputs], pair i in bits i * bits of both halves. The
 * codes have no sign: what is to be subtracted from them is, with the sum of the activations, in `sums` from the start.
 */
TG_INLINE void tg_dot_codes(int32_t sums[4], const uint32_t *x, const uint32_t *w, int32_t words, int32_t bits)
{
    int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
    uint32_t mask = ((UINT32_C(1) << bits) - 1) * UINT32_C(0x10001);
#if TG_IN_REGISTERS && !defined(__clang__)
    uint32_t u, v, s, t, p, even, odd;
    TG_KEEP(end, w + 4 * words);
    tg_fence();
    do {
        TG_LOAD(u, w, 0);
        TG_LOAD(v, w, 1);
        TG_LOAD(s, w, 2);
        TG_LOAD(t, w, 3);
        TG_LOAD(even, x, 0);
        TG_CODES_STEPS();
        TG_ADVANCE(x, 16 / bits);
        TG_ADVANCE(w, 4);
        TG_RECALL(p, end);
    } while (TG_BEFORE(w, end, p));
    tg_fence();
#else
#if TG_HAVE_DSP
    /* In a register, where one instruction shifts and masks. */
    __asm__("" : "+r"(mask));
#endif
    for (const uint32_t *const end = w + 4 * words; w != end; w += 4, x += 16 / bits) {
        const uint32_t u = w[0], v = w[1], s = w[2], t = w[3];
        TG_CODES_STEPS();
    }
#endif
    sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
}

/* Pair i of the codes in four words, which index a table of pairs. */
#define TG_BOOK_STEP(i)                                                                                      \
    do {                                                                                                     \
        const uint32_t pair = x[i];                                                                          \
        a = tg_smlad(table[(u >> (2 * (i) * bits % 32)) & mask], pair, a);                                        \
        b = tg_smlad(table[(v >> (2 * (i) * bits % 32)) & mask], pair, b);                                        \
        c = tg_smlad(table[(s >> (2 * (i) * bits % 32)) & mask], pair, c);                                        \
        d = tg_smlad(table[(t >> (2 * (i) * bits % 32)) & mask], pair, d);                                        \
    } while (0)

/* The same with a table; words of codes as tg_extend_book() takes them. */
TG_INLINE void tg_dot_book(
    int32_t sums[4], const uint32_t *x, const uint32_t *w, int32_t words, int32_t bits, const uint32_t *table)
{
    const uint32_t mask = (UINT32_C(1) << (2 * bits)) - 1;
    int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
    for (const uint32_t *const end = w + 4 * words; w != end; w += 4, x += 16 / bits) {
        const uint32_t u = w[0], v = w[1], s = w[2], t = w[3];
        TG_BOOK_STEP(0);
        TG_BOOK_STEP(1);
        TG_BOOK_STEP(2);
        TG_BOOK_STEP(3);
        if (bits < 4) {
            TG_BOOK_STEP(4);
        }
        if (bits < 3) {
            TG_BOOK_STEP(5);
            TG_BOOK_STEP(6);
            TG_BOOK_STEP(7);
        }
    }
    sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
}

#endif
