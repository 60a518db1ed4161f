/* CRC-32 and Adler-32 side by side (see seal.h for why two). */
#ifndef CHECK_H
#define CHECK_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t crc;
    uint32_t adler;
} check_t;

/* The check of no bytes. */
#define CHECK_OF_NOTHING {.crc = 0U, .adler = 1U}

void check_update(check_t *check, const void *data, size_t bytes);
void check_update_word(check_t *check, uint32_t word); /* its bytes, the lowest first */

#endif
