#include "paint.h"

#define PAINT 0xA5U
#define OWN_FRAME 128U /* more than the functions here, and an interrupt in between, take below `here` */

void paint_bytes(uint8_t *start, uint32_t bytes)
{
    for (uint32_t i = 0U; i < bytes; i++) {
        start[i] = PAINT;
    }
}

void paint_below_here(uint8_t *start, uint32_t bytes)
{
    const uint8_t here = 0U;
    const uintptr_t depth = (uintptr_t)&here - (uintptr_t)start;
    if (depth > OWN_FRAME && depth <= bytes) {
        paint_bytes(start, (uint32_t)depth - OWN_FRAME);
    }
}

uint32_t paint_written_from_start(const uint8_t *start, uint32_t bytes)
{
    while (bytes > 0U && start[bytes - 1U] == PAINT) {
        bytes--;
    }
    return bytes;
}

uint32_t paint_written_from_end(const uint8_t *start, uint32_t bytes)
{
    uint32_t left = 0U;
    while (left < bytes && start[left] == PAINT) {
        left++;
    }
    return bytes - left;
}
