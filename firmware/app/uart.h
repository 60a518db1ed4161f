/* The byte stream to the computer. Each board's driver implements it. */
#ifndef UART_H
#define UART_H

#include <stddef.h>
#include <stdint.h>

#define UART_WAIT_FOREVER UINT32_MAX
#define UART_TIMEOUT (-1)

/* The next byte, 0 .. 255, or UART_TIMEOUT when none came within timeout_ms (or ever: UART_WAIT_FOREVER). */
int uart_read_byte(uint32_t timeout_ms);

/* Returns when the last byte is on its way. */
void uart_write(const void *data, size_t bytes);

/* Waits until what was written is out, then changes the rate; board_init() left it at BOARD_UART_BAUD. */
void uart_set_baud(uint32_t baud);

#endif
