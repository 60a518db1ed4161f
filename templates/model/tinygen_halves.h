/*
 * Codes and weights of 16 bits on cores without SIMD: the loops of tinygen_scalar.h, and how codes of any encoding come
 * to scratch as integers.
 */
#ifndef TINYGEN_HALVES_H
#define TINYGEN_HALVES_H

#include <stdint.h>

#include "tinygen_scalar.h"

/* Of codes, of weights, or both. */
TG_DOT_4X4(tg_dot_4x4_codes, int16_t, int8_t, TG_OF_HALF, TG_OF_BYTE)
TG_TILE_1X4(tg_tile_1x4_codes, int16_t, int8_t, TG_OF_HALF, TG_OF_BYTE)
TG_DOT_4X4(tg_dot_4x4_weights, int8_t, int16_t, TG_OF_BYTE, TG_OF_HALF)
TG_TILE_1X4(tg_tile_1x4_weights, int8_t, int16_t, TG_OF_BYTE, TG_OF_HALF)
TG_DOT_4X4(tg_dot_4x4_both, int16_t, int16_t, TG_OF_HALF, TG_OF_HALF)
TG_TILE_1X4(tg_tile_1x4_both, int16_t, int16_t, TG_OF_HALF, TG_OF_HALF)

/* What codes stand for; `values` begins with that of code `lowest`. */
static inline void tg_copy_values(
    int16_t *to, const int8_t *from, int32_t count, const int16_t *values, int32_t lowest)
{
    for (int32_t i = 0; i < count; i++) {
        to[i] = values[(uint8_t)(from[i] - lowest)];
    }
}

/* The same where all fit a byte. */
static inline void tg_copy_small_values(
    int8_t *to, const int8_t *from, int32_t count, const int8_t *values, int32_t lowest)
{
    for (int32_t i = 0; i < count; i++) {
        to[i] = values[(uint8_t)(from[i] - lowest)];
    }
}

/* -1 and 1 for the bits of pixels, each of which begins with a word. */
static inline void tg_copy_signs(int8_t *to, const uint32_t *from, int32_t pixels, int32_t channels)
{
    for (int32_t p = 0; p < pixels; p++) {
        uint32_t word = 0;
        for (int32_t c = 0; c < channels; c++, word >>= 1) {
            if ((c & 31) == 0) {
                word = *from++;
            }
            *to++ = (int8_t)((int32_t)(word & 1U) * 2 - 1);
        }
    }
}

/* The same of one pixel's channels from `first` on. */
static inline void tg_copy_some_signs(int8_t *to, const uint32_t *from, int32_t first, int32_t channels)
{
    for (int32_t c = first; c < first + channels; c++) {
        *to++ = (int8_t)((int32_t)(from[c >> 5] >> (c & 31) & 1U) * 2 - 1);
    }
}

#endif
