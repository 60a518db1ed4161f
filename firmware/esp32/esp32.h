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

/* 160 MHz from the PLL. NULL, or what went wrong: the core is on the crystal then. Each chip has its own. */
const char *clock_init(void);

/* Sets the regulators to what the core needs for that; of the ESP32-C3. */
void supply_trim(void);

/* Powers the PLL up, sets it to 480 MHz and calibrates it. NULL, or why it must not be selected. */
const char *pll_start(void);

/* Power for the PLL and for the bus that its registers are on. Each chip has its own. */
void pll_power_up(void);

/* Waits until the PLL has calibrated itself, where the chip says so. Each chip has its own. */
bool pll_calibrated(void);

/* A register of the chip's analogue blocks, which lie behind a bus of their own. Each chip has its own. */
uint8_t analog_read(uint32_t block, uint32_t at);
void analog_write(uint32_t block, uint32_t at, uint8_t value);

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
