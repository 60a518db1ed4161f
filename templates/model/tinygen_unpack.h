/*
 * Weights of less than 8 bits, or as indices, unpacked to bytes or halves in order: for the loops of tinygen_scalar.h,
 * and all at once for depthwise layers of any core. tinygen_coded.h says how codes lie in words; a quad is four weights
 * in order.
 */
#ifndef TINYGEN_UNPACK_H
#define TINYGEN_UNPACK_H

#include <stdint.h>

#include "tinygen_coded.h"
#include "tinygen_simd.h"

/* Writes two halves at once: `to` is a multiple of four. */
static inline void tg_store_two_halves(int16_t *to, uint32_t pair)
{
#if defined(__GNUC__)
    typedef uint32_t word_of_halves __attribute__((may_alias));
    *(word_of_halves *)(void *)to = pair;
#else
    to[0] = (int16_t)tg_low_half(pair);
    to[1] = (int16_t)tg_high_half(pair);
#endif
}

/* Calls step(n) for each quad of a group, which `bits` as a constant tells the number of. */
#define TG_EACH_QUAD(bits, step)                                                                             \
    do {                                                                                                     \
        step(0);                                                                                             \
        step(1);                                                                                             \
        if (TG_GROUP(bits) > 8) {                                                                            \
            step(2);                                                                                         \
            step(3);                                                                                         \
        }                                                                                                    \
        if (TG_GROUP(bits) > 16) {                                                                           \
            step(4);                                                                                         \
            step(5);                                                                                         \
            step(6);                                                                                         \
            step(7);                                                                                         \
        }                                                                                                    \
    } while (0)

/*
 * Bytes lowest - 128 + code * factor * 2^shift, none of which is beyond 127, from `words` packed words. What does not
 * fill the last group is written all the same. All but the pointers must be constants.
 *
 * Less 128 they are bytes without a sign, so that none carries into its neighbour.
 */
TG_INLINE void tg_unpack_grid(
    uint32_t *restrict to, const uint32_t *restrict from, int32_t words, int32_t bits, int32_t shift, uint32_t factor,
    uint32_t lowest)
{
    const int32_t step = bits * TG_GROUP(bits) / 32;
    for (const uint32_t *const end = from + words; from < end; from += step, to += TG_GROUP(bits) / 4) {
        uint32_t group[7];
        for (int32_t i = 0; i < step; i++) {
            group[i] = from[i];
        }
#define TG_GRID_QUAD(n) (to[n] = (tg_quad(group, bits, shift, n) * factor + lowest * 0x01010101U) ^ 0x80808080U)
        TG_EACH_QUAD(bits, TG_GRID_QUAD);
#undef TG_GRID_QUAD
    }
}

/* The two bytes of each pair of codes: 4^bits entries. */
static inline void tg_byte_pair_table(uint16_t *table, const int8_t *book, int32_t bits)
{
    for (int32_t i = 0; i < 1 << (2 * bits); i++) {
        table[i] = (uint16_t)((uint8_t)book[i & ((1 << bits) - 1)] | (uint32_t)(uint8_t)book[i >> bits] << 8);
    }
}

/* Calls step(n) for each pair of codes of `bits` bits, 2 to 4, that a word has. */
#define TG_EACH_PAIR(bits, step)                                                                             \
    do {                                                                                                     \
        step(0);                                                                                             \
        step(1);                                                                                             \
        step(2);                                                                                             \
        step(3);                                                                                             \
        if ((bits) < 4) {                                                                                    \
            step(4);                                                                                         \
        }                                                                                                    \
        if ((bits) < 3) {                                                                                    \
            step(5);                                                                                         \
            step(6);                                                                                         \
            step(7);                                                                                         \
        }                                                                                                    \
    } while (0)

/*
 * Weights from a table of pairs, in words as tg_extend_book() takes them; halves, or bytes two at a time. What does not
 * fill the last word is written all the same. `bits` must be a constant.
 */
TG_INLINE void tg_unpack_book(
    int16_t *restrict to, const uint32_t *restrict from, int32_t words, int32_t bits, const uint32_t *restrict table)
{
    const uint32_t mask = (UINT32_C(1) << (2 * bits)) - 1;
    for (const uint32_t *const end = from + words; from < end; from++, to += 2 * (16 / bits)) {
        const uint32_t word = *from;
#define TG_BOOK_PAIR(n) tg_store_two_halves(to + 2 * (n), table[word >> (2 * (n) * bits % 32) & mask])
        TG_EACH_PAIR(bits, TG_BOOK_PAIR);
#undef TG_BOOK_PAIR
    }
}

TG_INLINE void tg_unpack_bytes_book(
    uint16_t *restrict to, const uint32_t *restrict from, int32_t words, int32_t bits, const uint16_t *restrict table)
{
    const uint32_t mask = (UINT32_C(1) << (2 * bits)) - 1;
    for (const uint32_t *const end = from + words; from < end; from++, to += 16 / bits) {
        const uint32_t word = *from;
#define TG_BOOK_PAIR(n) (to[n] = table[word >> (2 * (n) * bits % 32) & mask])
        TG_EACH_PAIR(bits, TG_BOOK_PAIR);
#undef TG_BOOK_PAIR
    }
}

/* Four weights from a quad of codes. */
#define TG_LOOK_UP(to, quad, book)                                                                           \
    do {                                                                                                     \
        const uint32_t codes_ = quad;                                                                        \
        (to)[0] = (book)[codes_ & 255U];                                                                     \
        (to)[1] = (book)[codes_ >> 8 & 255U];                                                                \
        (to)[2] = (book)[codes_ >> 16 & 255U];                                                               \
        (to)[3] = (book)[codes_ >> 24];                                                                      \
    } while (0)

/*
 * Weights by index, codes as tg_extend_index() takes them; halves or bytes. What does not fill the last group is
 * written all the same. `bits` must be a constant.
 */
#define TG_UNPACK_INDEX(name, W)                                                                             \
    TG_INLINE void name(                                                                                     \
        W *restrict to, const uint32_t *restrict from, int32_t words, int32_t bits, const W *restrict book)  \
    {                                                                                                        \
        const int32_t step = bits == 8 ? 1 : bits * TG_GROUP(bits) / 32;                                     \
        const int32_t quads = bits == 8 ? 1 : TG_GROUP(bits) / 4;                                            \
        for (const uint32_t *const end = from + words; from < end; from += step, to += 4 * quads) {          \
            if (bits == 8) {                                                                                 \
                TG_LOOK_UP(to, from[0], book);                                                               \
                continue;                                                                                    \
            }                                                                                                \
            uint32_t group[7];                                                                               \
            for (int32_t i = 0; i < step; i++) {                                                             \
                group[i] = from[i];                                                                          \
            }                                                                                                \
            TG_EACH_QUAD(bits, TG_INDEX_QUAD);                                                               \
        }                                                                                                    \
    }

#define TG_INDEX_QUAD(n) TG_LOOK_UP(to + 4 * (n), tg_quad(group, bits, 0, n), book)
TG_UNPACK_INDEX(tg_unpack_index, int16_t)
TG_UNPACK_INDEX(tg_unpack_bytes_index, int8_t)
#undef TG_INDEX_QUAD

/* Halves middle + step * byte. */
static inline void tg_unpack_steps(
    int16_t *restrict to, const int8_t *restrict from, int32_t count, int32_t step, int32_t middle)
{
    for (int32_t i = 0; i < count; i++) {
        to[i] = (int16_t)(middle + step * from[i]);
    }
}

#endif
