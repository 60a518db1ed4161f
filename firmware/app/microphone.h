/* A board's microphone (BOARD_HAS_MICROPHONE): sound comes in by itself and waits, but not for long. */
#ifndef MICROPHONE_H
#define MICROPHONE_H

#include <stdbool.h>
#include <stdint.h>

/* Sound from now on. False where the board's microphone does not run at that rate, or does not start. */
bool microphone_start(uint32_t sample_rate_hz);

/*
 * Waits for the next `count` samples. False: some were lost before or among them, as when they were not read in time;
 * `samples` then holds nothing of use, and the next come from now on.
 */
bool microphone_read(int16_t *samples, uint32_t count);

/* Whether a block is there. Only where sound comes from another board's I2S, in blocks of a hop. */
bool microphone_ready(void);

void microphone_stop(void);

#endif
