/* What every board offers the application, besides a UART (uart.h). */
#ifndef BOARD_H
#define BOARD_H

#include <stdbool.h>
#include <stdint.h>

/* Clock to full speed, caches, cycle counter, UART, lights. Returns also when the clock set-up failed. */
void board_init(void);

/* What the core runs at, and so the rate of cycles_now(), Hz. */
uint32_t board_clock_hz(void);

/* NULL when the core runs at full speed, else what went wrong. */
const char *board_clock_status(void);

/*
 * Cycles of the core since board_init(), never decreasing. Where the hardware counts 32 bits, this must be called
 * at least once every 2^32 cycles (20 s at 216 MHz), and so measures nothing longer.
 */
uint64_t cycles_now(void);

typedef enum { BOARD_LED_READY, BOARD_LED_BUSY, BOARD_LED_FAULT } board_led_t;

/* Does nothing where the board has no light for that purpose. */
void board_led(board_led_t led, bool on);

/* The lowest byte of the memory that the stack may take, and how many there are; 0 where that is not known. */
uint32_t board_stack(uint8_t **lowest);

/*
 * The pin that tells a power instrument where a measurement begins and ends, by falling edges; high after
 * board_init(). Does nothing where the board has no such pin.
 */
void board_timestamp_pin(bool high);

/*
 * Pins of MLPerf Tiny's streaming benchmark, only where the board has them (BOARD_HAS_STREAM_PINS): one is high while a
 * hop of sound is worked on, and low from the start; the other falls at a detection.
 */
typedef enum { BOARD_PIN_PROCESSING, BOARD_PIN_DETECTION } board_pin_t;
void board_stream_pins_init(void);
void board_stream_pin(board_pin_t pin, bool high);

#endif
