/* Drivers of the core's own units. */
#ifndef CORTEX_M_H
#define CORTEX_M_H

#include <stdbool.h>
#include <stdint.h>

/* Starts the cycle counter: the DWT's, or SysTick where the core (or its emulator) has none. */
void cycles_init(void);

/* Turns on instruction and data cache, empty. */
void caches_enable(void);

/* Has the core read what something else has written there: whole lines of 32 bytes. Nothing to do without a cache. */
void cache_discard(const void *data, uint32_t bytes);

typedef struct {
    uint64_t start;
    uint64_t cycles;
} deadline_t;

/* `ms` milliseconds from now at `clock_hz`. */
deadline_t deadline_in(uint32_t ms, uint32_t clock_hz);
bool deadline_passed(const deadline_t *deadline);

/* The same for a UART's wait, which may have no end: the counter is read now and then, so that no wrap is missed. */
bool wait_is_over(uint32_t timeout_ms, const deadline_t *deadline);

#endif
