/* Drivers that ESP32-C3 and ESP32-C6 share; their registers differ in place, not in kind (chip_registers.h). */
#ifndef ESP32_H
#define ESP32_H

#include <stdbool.h>
#include <stdint.h>

/* The boot ROM starts with watchdogs that reset the chip within a second or so. Runs in RAM. */
void watchdogs_stop(void);

/* Maps flash from offset 0 on, page by page, up to the end of this program. Runs in RAM. */
void flash_map(void);

/* Makes one page of 64 KiB at `entry` of the address range that of flash. Each chip has its own. Runs in RAM. */
void flash_map_page(uint32_t entry, uint32_t page);

/* 160 MHz from the PLL. NULL, or what went wrong. Each chip has its own. */
const char *clock_init(void);

/* Feeds the UART with the crystal's clock divided by `divider`, 1 .. 256. Each chip has its own. */
void uart_clock(uint32_t divider);

/* Lets a change of the UART's registers take effect, where that needs more than writing them. Each chip has its own. */
void uart_synchronize(void);

void cycles_init(void);

void gpio_output(uint32_t pin);
void gpio_write(uint32_t pin, bool high);

/* 8 data bits, no parity, 1 stop bit. */
void uart_init(uint32_t baud);

#endif
