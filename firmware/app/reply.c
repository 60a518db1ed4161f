#include "reply.h"

#include "text.h"
#include "uart.h"

#define QUIET_MS 50U /* silence after which discarded bytes are taken to have ended */

void reply_end(void)
{
    text_write("\r\n");
}

void reply(const char *text)
{
    text_write(text);
    reply_end();
}

void reply_text(const char *label, const char *value)
{
    text_write(label);
    reply(value);
}

void reply_number(const char *label, uint64_t value)
{
    text_write(label);
    text_write_decimal(value);
    reply_end();
}

void reply_pair(const char *label, uint32_t index, uint64_t value)
{
    text_write(label);
    text_write_decimal(index);
    text_write(" ");
    text_write_decimal(value);
    reply_end();
}

void reply_check(check_t check)
{
    text_write(" ");
    text_write_hex(check.crc);
    text_write(" ");
    text_write_hex(check.adler);
    reply_end();
}

void reply_refusal(const char *error)
{
    reply(error);
    while (uart_read_byte(QUIET_MS) != UART_TIMEOUT) {
    }
}
