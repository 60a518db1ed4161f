/*
 * Activations in planes of pairs for sparse convolutions, and the words that their inner loops are written with. A
 * plane holds one input channel (or a few), pixel by pixel, so that one kernel's taps lie together.
 *
 * `kind` says what codes stand for: 0 for int8, -1 for uint8, else levels from 0 to `kind`, of which the integers are
 * 2 * level - kind. It must be a constant.
 */
#ifndef TINYGEN_PLANES_H
#define TINYGEN_PLANES_H

#include <stddef.h>
#include <stdint.h>

#include "tinygen_dot.h"
#include "tinygen_simd.h"

#define TG_MAC_BB(sum, a, b) tg_mac_bb(&(sum), a, b)
#define TG_MAC_BT(sum, a, b) tg_mac_bt(&(sum), a, b)

/* The integer of one code. */
TG_INLINE int16_t tg_integer_of(int8_t code, int32_t kind)
{
    return (int16_t)(kind == 0 ? code : kind < 0 ? (uint8_t)code : 2 * (uint8_t)code - kind);
}

/* Integers of bytes 0 and 2, and of bytes 1 and 3. */
TG_INLINE uint32_t tg_even_pair(uint32_t word, int32_t kind)
{
    if (kind > 0) {
        return tg_ssub16((word << 1) & 0x01FE01FEU, (uint32_t)kind * 0x10001U);
    }
    return kind < 0 ? word & 0x00FF00FFU : tg_sxtb16(word);
}

TG_INLINE uint32_t tg_odd_pair(uint32_t word, int32_t kind)
{
    if (kind > 0) {
        return tg_ssub16((word >> 7) & 0x01FE01FEU, (uint32_t)kind * 0x10001U);
    }
    return kind < 0 ? (word >> 8) & 0x00FF00FFU : tg_sxtb16_odd(word);
}

/* Channel c of two pixels is the pair in plane c; planes are `plane` words apart. */
TG_INLINE void tg_pair_planes(
    uint32_t *to, int32_t plane, const int8_t *lower, const int8_t *upper, int32_t count, int32_t kind)
{
    for (int32_t i = 0; i < (count & ~3); i += 4, to += 4 * plane) {
        const uint32_t l = tg_load32(lower + i);
        const uint32_t u = tg_load32(upper + i);
        const uint32_t l_even = tg_even_pair(l, kind);
        const uint32_t u_even = tg_even_pair(u, kind);
        const uint32_t l_odd = tg_odd_pair(l, kind);
        const uint32_t u_odd = tg_odd_pair(u, kind);
        to[0] = (l_even & 0xFFFFU) | (u_even << 16);
        to[plane] = (l_odd & 0xFFFFU) | (u_odd << 16);
        to[2 * plane] = (l_even >> 16) | (u_even & 0xFFFF0000U);
        to[3 * plane] = (l_odd >> 16) | (u_odd & 0xFFFF0000U);
    }
    for (int32_t i = count & ~3; i < count; i++, to += plane) {
        *to = tg_pair(tg_integer_of(lower[i], kind), tg_integer_of(upper[i], kind));
    }
}

/* The same where a pixel may lie outside: it is NULL then, and its integers are `fill`. */
static inline void tg_pair_border(
    uint32_t *to, int32_t plane, const int8_t *lower, const int8_t *upper, int32_t count, int32_t kind, int16_t fill)
{
    for (int32_t i = 0; i < count; i++, to += plane) {
        const int16_t low = lower == NULL ? fill : tg_integer_of(lower[i], kind);
        const int16_t high = upper == NULL ? fill : tg_integer_of(upper[i], kind);
        *to = tg_pair(low, high);
    }
}

/* Channels 2 i and 2 i + 1 of a pixel are pair i; `together` pairs lie side by side, planes are `plane` words apart. */
TG_INLINE void tg_channel_planes(
    uint32_t *to, int32_t plane, int32_t together, const int8_t *from, int32_t count, int32_t kind)
{
    for (int32_t i = 0; i < (count & ~3); i += 4, to += together == 2 ? plane : 2 * plane) {
        const uint32_t word = tg_load32(from + i);
        const uint32_t even = tg_even_pair(word, kind);
        const uint32_t odd = tg_odd_pair(word, kind);
        to[0] = (even & 0xFFFFU) | (odd << 16);
        to[together == 2 ? 1 : plane] = (even >> 16) | (odd & 0xFFFF0000U);
    }
    for (int32_t i = count & ~3; i < count; i += 2, to += together == 2 ? 1 : plane) {
        const int16_t second = i + 1 < count ? tg_integer_of(from[i + 1], kind) : 0;
        *to = tg_pair(tg_integer_of(from[i], kind), second);
    }
}

/* The same for a pixel outside. */
static inline void tg_fill_planes(uint32_t *to, int32_t plane, int32_t together, int32_t planes, int16_t fill)
{
    for (int32_t i = 0; i < planes; i++, to += plane) {
        tg_fill(to, fill, together);
    }
}

#endif
