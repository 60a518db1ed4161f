#include "text.h"

#include "uart.h"

static check_t written = CHECK_OF_NOTHING;

void text_check_restart(void)
{
    const check_t nothing = CHECK_OF_NOTHING;
    written = nothing;
}

check_t text_check(void)
{
    return written;
}

void text_write_bytes(const void *data, size_t bytes)
{
    check_update(&written, data, bytes);
    uart_write(data, bytes);
}

void text_write(const char *text)
{
    size_t length = 0U;
    while (text[length] != '\0') {
        length++;
    }
    text_write_bytes(text, length);
}

void text_write_decimal(uint64_t value)
{
    /* Subtracting powers of ten spares the 64-bit division routine. */
    static const uint64_t powers[] = {
        UINT64_C(10000000000000000000), UINT64_C(1000000000000000000), UINT64_C(100000000000000000),
        UINT64_C(10000000000000000), UINT64_C(1000000000000000), UINT64_C(100000000000000),
        UINT64_C(10000000000000), UINT64_C(1000000000000), UINT64_C(100000000000), UINT64_C(10000000000),
        UINT64_C(1000000000), UINT64_C(100000000), UINT64_C(10000000), UINT64_C(1000000), UINT64_C(100000),
        UINT64_C(10000), UINT64_C(1000), UINT64_C(100), UINT64_C(10), UINT64_C(1),
    };
    const size_t count = sizeof powers / sizeof powers[0];
    char digits[sizeof powers / sizeof powers[0]];
    size_t length = 0U;
    for (size_t i = 0U; i < count; i++) {
        char digit = '0';
        while (value >= powers[i]) {
            value -= powers[i];
            digit++;
        }
        if (digit != '0' || length > 0U || i == count - 1U) {
            digits[length++] = digit;
        }
    }
    text_write_bytes(digits, length);
}

static void write_hex(uint32_t value, size_t count)
{
    char digits[8];
    for (size_t i = count; i-- > 0U;) {
        digits[i] = "0123456789abcdef"[value & 15U];
        value >>= 4;
    }
    text_write_bytes(digits, count);
}

void text_write_hex(uint32_t value)
{
    write_hex(value, 8U);
}

void text_write_hex_byte(uint8_t value)
{
    write_hex(value, 2U);
}

uint32_t text_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return (uint32_t)(c - '0');
    }
    if (c >= 'a' && c <= 'f') {
        return (uint32_t)(c - 'a') + 10U;
    }
    if (c >= 'A' && c <= 'F') {
        return (uint32_t)(c - 'A') + 10U;
    }
    return UINT32_MAX;
}

static const char *after_spaces(const char *p)
{
    while (*p == ' ') {
        p++;
    }
    return p;
}

static bool read_number(const char **cursor, uint32_t base, uint32_t *value)
{
    const char *p = after_spaces(*cursor);
    if (text_digit(*p) >= base) {
        return false;
    }
    uint32_t number = 0U;
    for (uint32_t digit = text_digit(*p); digit < base; digit = text_digit(*++p)) {
        if (number > (UINT32_MAX - digit) / base) {
            return false;
        }
        number = number * base + digit;
    }
    *cursor = p;
    *value = number;
    return true;
}

bool text_read_decimal(const char **cursor, uint32_t *value)
{
    return read_number(cursor, 10U, value);
}

bool text_read_hex(const char **cursor, uint32_t *value)
{
    return read_number(cursor, 16U, value);
}

bool text_at_end(const char *cursor)
{
    return *after_spaces(cursor) == '\0';
}

bool text_takes_word(const char **cursor, const char *word)
{
    const char *p = after_spaces(*cursor);
    while (*word != '\0') {
        if (*p++ != *word++) {
            return false;
        }
    }
    if (*p != ' ' && *p != '\0') {
        return false;
    }
    *cursor = p;
    return true;
}
