/* High-water marks: memory is painted, and later the paint that is left shows how far it was written. */
#ifndef PAINT_H
#define PAINT_H

#include <stdint.h>

void paint_bytes(uint8_t *start, uint32_t bytes);

/* Paints what the stack, which grows down to `start`, does not use while this runs. */
void paint_below_here(uint8_t *start, uint32_t bytes);

/* Bytes up to the last one that is no paint; of a stack, bytes from the first one that is none. */
uint32_t paint_written_from_start(const uint8_t *start, uint32_t bytes);
uint32_t paint_written_from_end(const uint8_t *start, uint32_t bytes);

#endif
