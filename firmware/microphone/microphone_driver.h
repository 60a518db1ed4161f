/* What a board's driver does for microphone.c: sound in blocks, of a microphone or (STM32) of another board's I2S. */
#ifndef MICROPHONE_DRIVER_H
#define MICROPHONE_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "board_config.h"

#if APP_WAKEWORD
#include "wakeword/wakeword_config.h"
#endif

#if APP_WAKEWORD && WAKEWORD_STREAMS
/* Another board is the I2S master, and sends two samples of 16 bits a frame: the left one counts. */
#define MICROPHONE_FOLLOWS 1
#define MICROPHONE_BLOCK WAKEWORD_HOP_SAMPLES
#else
#define MICROPHONE_FOLLOWS 0
#define MICROPHONE_BLOCK 160U /* 10 ms at 16 kHz */
#endif

bool microphone_driver_start(uint32_t sample_rate_hz);
void microphone_driver_stop(void);

/* Forgets what has come until now, and begins anew. */
void microphone_driver_restart(void);

/* Whether the next block is there. Only where MICROPHONE_FOLLOWS: a microphone never rests. */
bool microphone_driver_ready(void);

/* Waits for the next block; false where samples were lost before or in it. */
bool microphone_driver_read(int16_t samples[MICROPHONE_BLOCK]);

/* A code of 24 bits, left in a word of 32, as a sample: `gain_bits` louder, no louder than 16 bits can say. */
static inline int16_t microphone_sample(uint32_t word, uint32_t gain_bits)
{
    const int32_t value = (int32_t)word >> (16U - gain_bits);
    return (int16_t)(value > INT16_MAX ? INT16_MAX : value < INT16_MIN ? INT16_MIN : value);
}

#endif
