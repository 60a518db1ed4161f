/*
 * A board's microphone (BOARD_HAS_MICROPHONE): sound comes in by itself, block by block of 10 ms at 16 kHz, and waits
 * until the next block is there.
 */
#ifndef MICROPHONE_H
#define MICROPHONE_H

#include <stdbool.h>
#include <stdint.h>

/* Sound from now on. False where the board's microphone does not run at that rate, or does not start. */
bool microphone_start(uint32_t sample_rate_hz);

/*
 * Waits for the next `count` samples, a multiple of MICROPHONE_BLOCK. False: samples were lost before or among them,
 * as when they were not read in time; `samples` then holds nothing of use, and the next come from now on.
 */
bool microphone_read(int16_t *samples, uint32_t count);

void microphone_stop(void);

#define MICROPHONE_BLOCK 160U

/* What drivers make of a code of 24 bits, left in a word of 32: `gain_bits` louder, no louder than 16 bits can say. */
static inline int16_t microphone_sample(uint32_t word, uint32_t gain_bits)
{
    const int32_t value = (int32_t)word >> (16U - gain_bits);
    return (int16_t)(value > INT16_MAX ? INT16_MAX : value < INT16_MIN ? INT16_MIN : value);
}

#endif
