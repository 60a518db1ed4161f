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

void microphone_stop(void);

#endif
