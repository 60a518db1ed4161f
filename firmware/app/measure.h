/*
 * How the beginning and end of a measurement are told: in performance mode by lines with microseconds, at the board's
 * usual rate; in energy mode, at 9600 baud, by falling edges of the timestamp pin, and all lights are off.
 */
#ifndef MEASURE_H
#define MEASURE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum { MEASURE_PERFORMANCE, MEASURE_ENERGY } measure_mode_t;

/* Begins in the mode that the firmware was built for. */
void measure_init(void);

measure_mode_t measure_mode(void);
const char *measure_mode_name(measure_mode_t mode);

/* What the line runs at in the present mode. */
uint32_t measure_baud(void);

/* From the next measure_settle() on: the reply to the command that asks for it still goes out as it came in. */
void measure_request(measure_mode_t mode);
void measure_settle(void);

/* Marks this moment: pulls the pin low for a while in energy mode; gives cycles since reset. */
uint64_t measure_mark(void);

/* The line about a mark; none in energy mode. */
void measure_report(uint64_t cycles);

/* Both at once. */
void measure_timestamp(void);

#endif
