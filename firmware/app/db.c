#include "db.h"

#include <stddef.h>

#include "app_model.h"
#include "reply.h"
#include "text.h"

#define BYTES_PER_LINE 8U

static uint32_t expected; /* bytes, said by the last "db load" */
static uint32_t filled;

uint8_t *db_begin(void)
{
    expected = 0U;
    filled = 0U;
    return app_model.benchmark.db;
}

void db_finish(void)
{
    expected = app_model.benchmark.db_bytes;
    filled = expected;
}

bool db_is_complete(void)
{
    if (filled == app_model.benchmark.db_bytes && filled > 0U) {
        return true;
    }
    text_write("e-[Input db has ");
    text_write_decimal(filled);
    text_write(" bytes, expected ");
    text_write_decimal(app_model.benchmark.db_bytes);
    reply("]");
    return false;
}

static void load(const char *arguments)
{
    uint32_t bytes;
    if (!text_read_decimal(&arguments, &bytes) || !text_at_end(arguments)) {
        reply("e-[Command 'db load' requires the # of bytes]");
    } else if (bytes == 0U) {
        reply("e-[Command 'db load' must be >0 bytes]");
    } else if (bytes > app_model.benchmark.db_bytes) {
        text_write("e-[Supplied buffer size ");
        text_write_decimal(bytes);
        text_write(" exceeds maximum of ");
        text_write_decimal(app_model.benchmark.db_bytes);
        reply("]");
    } else {
        expected = bytes;
        filled = 0U;
        text_write("m-[Expecting ");
        text_write_decimal(bytes);
        reply(" bytes]");
    }
}

static void print(const char *arguments)
{
    uint32_t count = expected;
    uint32_t offset = 0U;
    if ((!text_at_end(arguments) && !text_read_decimal(&arguments, &count)) ||
        (!text_at_end(arguments) && !text_read_decimal(&arguments, &offset)) || !text_at_end(arguments)) {
        reply("e-[Command 'db print' takes: bytes offset]");
        return;
    }
    for (uint32_t i = 0U; i < count && offset < expected; i++, offset++) {
        text_write(i % BYTES_PER_LINE == 0U ? "m-buffer-" : "-");
        text_write_hex_byte(app_model.benchmark.db[offset]);
        if ((i + 1U) % BYTES_PER_LINE == 0U || i + 1U == count || offset + 1U == expected) {
            reply_end();
        }
    }
}

/* All of the digits are looked at before any is stored, so that the host can send a refused command again. */
static bool check_digits(const char *digits)
{
    size_t count = 0U;
    while (text_digit(digits[count]) < 16U) {
        count++;
    }
    if (!text_at_end(&digits[count])) {
        reply("e-[Invalid hex digit]");
        return false;
    }
    if (count % 2U != 0U) {
        reply("e-[Insufficent number of hex digits]"); /* spelled so in the protocol */
        return false;
    }
    return true;
}

static void store(const char *digits)
{
    if (!check_digits(digits)) {
        return;
    }
    if (filled == expected) {
        reply("e-[Command 'db load' comes first]");
        return;
    }
    for (; text_digit(*digits) < 16U && filled < expected; digits += 2) {
        app_model.benchmark.db[filled++] = (uint8_t)(text_digit(digits[0]) << 4 | text_digit(digits[1]));
    }
    if (filled == expected) {
        reply("m-load-done"); /* what digits are left do not count */
    }
}

void db_command(const char *arguments)
{
    if (text_at_end(arguments)) {
        reply("e-[Command 'db' requires a subcommand]");
    } else if (app_model.benchmark.db == NULL) {
        reply("e-[this firmware has no db buffer]");
    } else if (text_takes_word(&arguments, "load")) {
        load(arguments);
    } else if (text_takes_word(&arguments, "print")) {
        print(arguments);
    } else {
        while (*arguments == ' ') {
            arguments++;
        }
        store(arguments);
    }
}
