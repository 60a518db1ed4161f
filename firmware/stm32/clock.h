/* The clock tree. */
#ifndef STM32_CLOCK_H
#define STM32_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/*
 * From reset to BOARD_SYSCLK_HZ on the PLL. Every wait has a time-out; where one expires the core
 * stays on the internal oscillator. NULL, or what went wrong.
 */
const char *clock_init(void);

/* What the core, and the bus of the UART, run at now, Hz. */
uint32_t clock_core_hz(void);
uint32_t clock_uart_hz(void);

/* Waits until (*address & mask) == value; false after `ms` milliseconds. */
bool clock_wait(volatile uint32_t *address, uint32_t mask, uint32_t value, uint32_t ms);

/* Each family's own part of F4's and F7's; all return whether the hardware took the setting. */
bool family_voltage(void);       /* regulator scale for full speed; before the PLL is on */
bool family_over_drive(void);    /* after the PLL is on, before it is used */
bool family_flash_latency(void); /* wait states, prefetch, accelerator */

#endif
