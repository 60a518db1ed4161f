/*
 * Commands are ASCII and end in '%'; CR and LF before a command are ignored. A reply is lines that end in CR LF,
 * the last of which is "m-ready"; "e-[...]" says what was wrong. commands_mlperf.c has the commands of MLPerf Tiny's
 * protocol (EEMBC's API 3.1), commands_tinygen.c our own, an application its own besides (firmware/wakeword/listen.h).
 * "tg-seal C N ...%" is any of them, guarded against all that a line can do (seal.h).
 */
#include "serve.h"

#include <stdbool.h>
#include <stddef.h>

#include "app_model.h"
#include "board.h"
#include "board_config.h"
#include "commands.h"
#include "measure.h"
#include "reply.h"
#include "seal.h"
#include "text.h"
#include "uart.h"

#if APP_WAKEWORD
#include "listen.h"
#endif

#define COMMAND_CHARACTERS 80U
#define DELETE '\x7f' /* a character that is in no command */

static char next_character(size_t *length)
{
#if APP_WAKEWORD
    return (char)listen_read_byte(length);
#else
    (void)length;
    return (char)uart_read_byte(UART_WAIT_FOREVER);
#endif
}

/* Reads up to '%'. False when the command is longer than COMMAND_CHARACTERS. */
static bool read_command(char command[COMMAND_CHARACTERS + 1U])
{
    size_t length = 0U;
    for (;;) {
        const char c = next_character(&length);
        if (c == '%') {
            command[length] = '\0';
            return true;
        }
        if (length == 0U && (c == '\r' || c == '\n')) {
            continue;
        }
        if (length == COMMAND_CHARACTERS) {
            return false;
        }
        command[length++] = c == '\0' ? DELETE : c; /* a zero would end the text, and the rest pass unseen */
    }
}

/* Names the command, as far as it can be printed: what came over a bad line may hold anything, a line's end too. */
static void refuse_unknown(const char *command)
{
    size_t length = 0U;
    while (command[length] > ' ' && command[length] <= '~') {
        length++;
    }
    text_write("e-[Unknown command: ");
    text_write_bytes(command, length);
    reply("]");
}

static bool commands_of_application(const char *command)
{
#if APP_WAKEWORD
    return listen_command(command);
#else
    (void)command;
    return false;
#endif
}

static void obey(const char *command)
{
    if (!commands_mlperf(command) && !commands_tinygen(command) && !commands_of_application(command)) {
        refuse_unknown(command);
    }
}

/* Raw bytes may follow a sealed command that arrived damaged. */
static void answer(const char *command)
{
    uint32_t nonce;
    if (!text_takes_word(&command, "tg-seal")) {
        obey(command);
    } else if (!seal_open(&command, &nonce)) {
        reply_refusal("e-[damaged]");
    } else {
        seal_begin(nonce);
        obey(command);
        seal_end();
    }
}

/* The lines of the benchmark's start, and between them, where it leaves room for others, what runs here. */
static void banner(void)
{
    reply_text("m-timestamp-mode-", measure_mode_name(measure_mode()));
    measure_timestamp();
    text_write("m-tg-boot ");
    text_write(app_model.name);
    text_write(" ");
    text_write(app_model.build_id);
    reply_number(" ", board_clock_hz());
    if (board_clock_status() != NULL) {
        text_write("e-[clock: ");
        text_write(board_clock_status());
        reply("]");
    }
    reply("m-init-done");
    reply("m-ready");
}

void serve(void)
{
    char command[COMMAND_CHARACTERS + 1U];
    app_model.init();
    measure_init();
    banner();
    for (;;) {
        if (read_command(command)) {
            answer(command);
        } else {
            reply_refusal("e-[command too long]");
        }
        reply("m-ready");
        measure_settle();
#if APP_WAKEWORD
        listen_if_asked();
#endif
    }
}
