#include "block.h"

#include <stdbool.h>
#include <stddef.h>

#include "check.h"
#include "uart.h"

#define MARKER 0xB5U
#define GAP_MS 100U  /* longest silence within a block */
#define QUIET_MS 20U /* silence after which what was damaged is taken to have ended */
#define HEADER_BYTES 7U
#define CHECK_BYTES 8U

/* A block as it comes, and its sums. */
static uint8_t bytes[HEADER_BYTES + 2U * FEATURES_HOP_SAMPLES + CHECK_BYTES];

static uint32_t number(const uint8_t *p, uint32_t size)
{
    uint32_t value = 0U;
    while (size-- > 0U) {
        value = value << 8 | p[size];
    }
    return value;
}

static bool receive(uint8_t *to, size_t count)
{
    while (count-- > 0U) {
        const int byte = uart_read_byte(GAP_MS);
        if (byte == UART_TIMEOUT) {
            return false;
        }
        *to++ = (uint8_t)byte;
    }
    return true;
}

static block_result_t drop(void)
{
    while (uart_read_byte(QUIET_MS) != UART_TIMEOUT) {
    }
    return BLOCK_DAMAGED;
}

static bool is_whole(size_t size, uint32_t session)
{
    const uint8_t id[] = {
        (uint8_t)session,
        (uint8_t)(session >> 8),
        (uint8_t)(session >> 16),
        (uint8_t)(session >> 24),
    };
    check_t check = CHECK_OF_NOTHING;
    check_update(&check, id, sizeof id);
    check_update(&check, bytes, size);
    return number(&bytes[size], 4U) == check.crc && number(&bytes[size + 4U], 4U) == check.adler;
}

block_result_t block_receive(block_t *block, uint32_t session, uint32_t timeout_ms)
{
    const int first = uart_read_byte(timeout_ms);
    if (first == UART_TIMEOUT) {
        return BLOCK_NONE;
    }
    bytes[0] = (uint8_t)first;
    if (bytes[0] != MARKER || !receive(&bytes[1], HEADER_BYTES - 1U)) {
        return drop();
    }
    block->count = number(&bytes[1], 2U);
    block->hop = number(&bytes[3], 4U);
    if (block->count != 0U && block->count != FEATURES_HOP_SAMPLES) {
        return drop();
    }
    const size_t size = HEADER_BYTES + 2U * block->count;
    if (!receive(&bytes[HEADER_BYTES], size - HEADER_BYTES + CHECK_BYTES) || !is_whole(size, session)) {
        return drop();
    }
    for (uint32_t i = 0U; i < block->count; i++) {
        block->samples[i] = (int16_t)number(&bytes[HEADER_BYTES + 2U * i], 2U);
    }
    return BLOCK_WHOLE;
}
