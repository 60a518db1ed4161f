/* What a board's driver does for microphone.c: sound in blocks. */
#ifndef MICROPHONE_DRIVER_H
#define MICROPHONE_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#define MICROPHONE_BLOCK 160U /* 10 ms at 16 kHz */

bool microphone_driver_start(uint32_t sample_rate_hz);
void microphone_driver_stop(void);

/* Forgets what has come until now, and begins anew. */
void microphone_driver_restart(void);

/* Waits for the next block; false where samples were lost before or in it. */
bool microphone_driver_read(int16_t samples[MICROPHONE_BLOCK]);

/* A code of 24 bits, left in a word of 32, as a sample: `gain_bits` louder, no louder than 16 bits can say. */
static inline int16_t microphone_sample(uint32_t word, uint32_t gain_bits)
{
    const int32_t value = (int32_t)word >> (16U - gain_bits);
    return (int16_t)(value > INT16_MAX ? INT16_MAX : value < INT16_MIN ? INT16_MIN : value);
}

#endif
