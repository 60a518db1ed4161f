/* The fixed-point reciprocal square root of TensorFlow Lite's integer L2 normalization. */
#ifndef TINYGEN_INVERSE_ROOT_H
#define TINYGEN_INVERSE_ROOT_H

#include <stdint.h>

#include "tinygen_math.h"

/* 1 / sqrt(x) as multiplier * 2^(shift - 31), for x >= 0; that of 0 is as of 1. Five steps of Newton's iteration. */
static inline int32_t tg_inverse_root_s32(int32_t x, int32_t *shift)
{
    *shift = 0;
    if (x <= 1) {
        return INT32_MAX;
    }
    int32_t right = 11;
    for (; x >= 1 << 29; x /= 4) {
        right++;
    }
    for (; x < 1 << 27; x *= 4) {
        right--;
    }
    const int32_t half = tg_rounding_shift(x >> 1, 1);
    int32_t root = 1 << 28;
    for (int32_t i = 0; i < 5; i++) {
        const int32_t cube = tg_shift_left_saturating(tg_high_mul(tg_high_mul(root, root), root), 6);
        root = tg_shift_left_saturating(tg_high_mul(root, (1 << 28) + (1 << 27)) - tg_high_mul(half, cube), 3);
    }
    root = tg_high_mul(root, 1518500250);
    if (right < 0) {
        return tg_shift_left(root, -right);
    }
    *shift = -right;
    return root;
}

#endif
