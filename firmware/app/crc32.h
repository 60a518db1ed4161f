/* CRC-32 as in zlib, PNG and Ethernet: polynomial 0x04C11DB7 reflected, start and final complement. */
#ifndef CRC32_H
#define CRC32_H

#include <stddef.h>
#include <stdint.h>

/* Continues `crc` (0 to begin) over `bytes` more bytes. */
uint32_t crc32_update(uint32_t crc, const void *data, size_t bytes);

#endif
