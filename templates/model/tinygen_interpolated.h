/* Functions of 16-bit codes by a table of 513 samples, one for every 128th code, as TensorFlow Lite has them. */
#ifndef TINYGEN_INTERPOLATED_H
#define TINYGEN_INTERPOLATED_H

#include <stdint.h>

/* The value at x; slopes and sums are kept in 16 bits. */
static inline int16_t tg_interpolate(const int16_t *table, int32_t x)
{
    const int16_t *sample = table + (x >> 7) + 256;
    const int32_t slope = (int16_t)(sample[1] - sample[0]);
    return (int16_t)(sample[0] + ((slope * (x & 127) + 64) >> 7));
}

#endif
