/* Real numbers as the benchmark prints them, with three decimals; in integers, so that no board needs printf. */
#ifndef VALUES_H
#define VALUES_H

#include <stdint.h>

/* What a code stands for: (gain * code - zero) * mantissa * 2^exponent. */
typedef struct {
    int32_t gain;
    int32_t zero;
    uint32_t mantissa; /* less than 2^24, as in a float */
    int32_t exponent;
} values_scale_t;

void values_write_code(int32_t code, const values_scale_t *scale);

/* "nan", and what is above 2^64 as the highest number there is room for. */
void values_write_float(float value);

#endif
