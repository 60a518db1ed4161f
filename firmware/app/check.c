#include "check.h"

#include "crc32.h"

#define ADLER_MODULUS 65521U /* the largest prime below 2^16 (RFC 1950, 9) */

static uint32_t add(uint32_t a, uint32_t b)
{
    const uint32_t sum = a + b;
    return sum >= ADLER_MODULUS ? sum - ADLER_MODULUS : sum;
}

void check_update(check_t *check, const void *data, size_t bytes)
{
    const uint8_t *const p = data;
    uint32_t low = check->adler & 0xFFFFU;
    uint32_t high = check->adler >> 16;
    for (size_t i = 0U; i < bytes; i++) {
        low = add(low, p[i]);
        high = add(high, low);
    }
    check->adler = high << 16 | low;
    check->crc = crc32_update(check->crc, data, bytes);
}

void check_update_word(check_t *check, uint32_t word)
{
    const uint8_t bytes[] = {(uint8_t)word, (uint8_t)(word >> 8), (uint8_t)(word >> 16), (uint8_t)(word >> 24)};
    check_update(check, bytes, sizeof bytes);
}
