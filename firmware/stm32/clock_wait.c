/* Waiting for a bit of a register, with a time-out. */
#include "clock.h"

#include "board_config.h"
#include "cortex_m.h"

bool clock_wait(volatile uint32_t *address, uint32_t mask, uint32_t value, uint32_t ms)
{
    const deadline_t deadline = deadline_in(ms, BOARD_FALLBACK_HZ);
    while ((*address & mask) != value) {
        if (deadline_passed(&deadline)) {
            return (*address & mask) == value;
        }
    }
    return true;
}
