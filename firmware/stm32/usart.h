/* The USART of a family; uart.h is built on it (board.c). */
#ifndef STM32_USART_H
#define STM32_USART_H

#include <stdbool.h>
#include <stdint.h>

/* 8 data bits, no parity, 1 stop bit, at `baud` from a clock of `clock_hz`. */
void usart_init(uint32_t clock_hz, uint32_t baud);

/* Whether a byte has come; if so it is taken. Clears an overrun: the bytes lost show in the CRC. */
bool usart_take(uint8_t *byte);

/* Whether the transmitter takes a byte; and gives it one. */
bool usart_has_room(void);
void usart_put(uint8_t byte);

/* Waits until the stop bit of the last byte is out. */
void usart_flush(void);

#endif
