/* Sound in pieces of any length, from the blocks of a board's driver. */
#include "microphone.h"

#include <string.h>

#include "microphone_driver.h"

static int16_t block[MICROPHONE_BLOCK];
static uint32_t left; /* of it, at its end, to be read */

bool microphone_start(uint32_t sample_rate_hz)
{
    left = 0U;
    return microphone_driver_start(sample_rate_hz);
}

bool microphone_read(int16_t *samples, uint32_t count)
{
    while (count > 0U) {
        if (left == 0U) {
            if (!microphone_driver_read(block)) {
                microphone_driver_restart();
                return false;
            }
            left = MICROPHONE_BLOCK;
        }
        const uint32_t taken = count < left ? count : left;
        memcpy(samples, block + MICROPHONE_BLOCK - left, taken * sizeof *samples);
        samples += taken;
        count -= taken;
        left -= taken;
    }
    return true;
}

#if MICROPHONE_FOLLOWS
bool microphone_ready(void)
{
    return left > 0U || microphone_driver_ready();
}
#endif

void microphone_stop(void)
{
    microphone_driver_stop();
}
