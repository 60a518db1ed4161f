/*
 * Commands are ASCII and end in '%'; CR and LF before a command are ignored. A reply is lines that end in CR LF,
 * the last of which is "m-ready"; "e-[...]" says what was wrong.
 *
 *     tg-info%          name, build, clock, sizes of inputs and outputs, switches if several, layers of the current
 *     tg-switch S%      runs the model by switch S from now on
 *     tg-load I N C%    then N raw bytes for input I, whose CRC-32 is C (hexadecimal)
 *     tg-run%           one inference; its cycles
 *     tg-profile%       one inference; cycles of each layer
 *     tg-read O%        N and CRC-32 of output O, then N raw bytes
 *     tg-trace%         one inference; CRC-32 of every tensor that a layer writes
 *     tg-dump T%        one inference; tensor T of the trace, sent as tg-read does
 *     tg-seal C N ...%  any of these, guarded against all that a line can do (see seal.h)
 *
 * Inputs share memory with intermediate values, so load them again before every inference, and after tg-switch.
 */
#include "serve.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "app_model.h"
#include "board.h"
#include "crc32.h"
#include "seal.h"
#include "text.h"
#include "uart.h"

#define COMMAND_CHARACTERS 64U
#define GAP_MS 500U  /* longest silence within raw bytes */
#define QUIET_MS 50U /* silence after which discarded bytes are taken to have ended */

static void end_line(void)
{
    text_write("\r\n");
}

static void line(const char *text)
{
    text_write(text);
    end_line();
}

static void line_text(const char *label, const char *value)
{
    text_write(label);
    line(value);
}

static void line_number(const char *label, uint64_t value)
{
    text_write(label);
    text_write_decimal(value);
    end_line();
}

static void line_pair(const char *label, uint32_t index, uint64_t value)
{
    text_write(label);
    text_write_decimal(index);
    text_write(" ");
    text_write_decimal(value);
    end_line();
}

static void ready(void)
{
    line("m-ready");
}

static void discard_until_quiet(void)
{
    while (uart_read_byte(QUIET_MS) != UART_TIMEOUT) {
    }
}

/* For commands that raw bytes may follow: answers at once, then drops those, so that none is taken for a command. */
static void refuse(const char *error)
{
    line(error);
    discard_until_quiet();
}

static const app_switch_t *current_switch(void)
{
    return &app_model.each_switch[app_model.current()];
}

static void line_switches(void)
{
    for (uint32_t i = 0U; i < app_model.switches; i++) {
        text_write("m-tg-switch ");
        text_write_decimal(i);
        text_write(" ");
        line(app_model.each_switch[i].name);
    }
    line_number("m-tg-current ", app_model.current());
}

static void info(void)
{
    line_text("m-tg-name ", app_model.name);
    line_text("m-tg-build ", app_model.build_id);
    line_number("m-tg-clock ", board_clock_hz());
    for (uint32_t i = 0U; i < app_model.inputs; i++) {
        line_pair("m-tg-input ", i, app_model.input(i).bytes);
    }
    for (uint32_t i = 0U; i < app_model.outputs; i++) {
        line_pair("m-tg-output ", i, app_model.output(i).bytes);
    }
    if (app_model.switches > 1U) {
        line_switches();
    }
    line_number("m-tg-layers ", current_switch()->layers);
}

static void set_switch(const char *arguments)
{
    uint32_t index;
    if (!text_read_decimal(&arguments, &index) || !text_at_end(arguments)) {
        line("e-[tg-switch wants: switch]");
        return;
    }
    if (!app_model.set_switch(index)) {
        line("e-[no such switch]");
        return;
    }
    line_number("m-tg-current ", app_model.current());
}

static void load(const char *arguments)
{
    uint32_t index;
    uint32_t bytes;
    uint32_t crc;
    if (!text_read_decimal(&arguments, &index) || !text_read_decimal(&arguments, &bytes) ||
        !text_read_hex(&arguments, &crc) || !text_at_end(arguments)) {
        refuse("e-[tg-load wants: input bytes crc32]");
        return;
    }
    if (index >= app_model.inputs) {
        refuse("e-[no such input]");
        return;
    }
    const app_tensor_t tensor = app_model.input(index);
    if (bytes != tensor.bytes) {
        refuse("e-[wrong number of bytes]");
        return;
    }
    uint8_t *const data = tensor.data;
    for (uint32_t i = 0U; i < bytes; i++) {
        const int byte = uart_read_byte(GAP_MS);
        if (byte == UART_TIMEOUT) {
            line("e-[timeout]");
            return;
        }
        data[i] = (uint8_t)byte;
    }
    if (crc32_update(0U, data, bytes) != crc) {
        line("e-[crc]");
    }
}

static void run(void)
{
    board_led(BOARD_LED_BUSY, true);
    seal_ran();
    const uint64_t start = cycles_now();
    app_model.invoke(NULL, NULL);
    const uint64_t cycles = cycles_now() - start;
    board_led(BOARD_LED_BUSY, false);
    line_number("m-tg-cycles ", cycles);
    seal_gave();
}

typedef struct {
    uint64_t layer_start;
    uint64_t total;
} profile_t;

/* Lines go out between the layers, outside the measured time, so that no buffer limits the number of layers. */
static void layer_finished(void *context, uint32_t layer)
{
    profile_t *const profile = context;
    const uint64_t cycles = cycles_now() - profile->layer_start;
    profile->total += cycles;
    line_pair("m-tg-layer ", layer, cycles);
    profile->layer_start = cycles_now();
}

static void profile(void)
{
    seal_ran();
    profile_t state = {cycles_now(), 0U};
    app_model.invoke(layer_finished, &state);
    line_number("m-tg-cycles ", state.total);
    seal_gave();
}

static void send_block(const void *data, uint32_t bytes)
{
    text_write("m-tg-data ");
    text_write_decimal(bytes);
    text_write(" ");
    text_write_hex(crc32_update(0U, data, bytes));
    end_line();
    text_write_bytes(data, bytes);
    end_line();
}

static void read_output(const char *arguments)
{
    uint32_t index;
    if (!text_read_decimal(&arguments, &index) || !text_at_end(arguments)) {
        line("e-[tg-read wants: output]");
        return;
    }
    if (index >= app_model.outputs) {
        line("e-[no such output]");
        return;
    }
    const app_tensor_t tensor = app_model.output(index);
    send_block(tensor.data, tensor.bytes);
}

static void trace_finished(void *context, uint32_t layer)
{
    uint32_t *const next = context;
    for (; *next < current_switch()->traces && app_model.trace(*next).layer == layer; (*next)++) {
        const app_trace_t tensor = app_model.trace(*next);
        text_write("m-tg-crc ");
        text_write_decimal(*next);
        text_write(" ");
        text_write_hex(crc32_update(0U, tensor.data, tensor.bytes));
        end_line();
    }
}

static void trace(void)
{
    uint32_t next = 0U;
    seal_ran();
    app_model.invoke(trace_finished, &next);
}

/* The tensor is sent when its layer has finished: later ones may reuse its memory. */
static void dump_finished(void *context, uint32_t layer)
{
    const app_trace_t *const tensor = context;
    if (layer == tensor->layer) {
        send_block(tensor->data, tensor->bytes);
    }
}

static void dump(const char *arguments)
{
    uint32_t index;
    if (!text_read_decimal(&arguments, &index) || !text_at_end(arguments) || index >= current_switch()->traces) {
        line("e-[no such tensor]");
        return;
    }
    app_trace_t tensor = app_model.trace(index);
    seal_ran();
    app_model.invoke(dump_finished, &tensor);
}

/* Reads up to '%'. False when the command is longer than COMMAND_CHARACTERS. */
static bool read_command(char command[COMMAND_CHARACTERS + 1U])
{
    size_t length = 0U;
    for (;;) {
        const char c = (char)uart_read_byte(UART_WAIT_FOREVER);
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
        command[length++] = c;
    }
}

/* Whether `command` is `name`, alone or followed by arguments, to which *arguments then points. */
static bool matches(const char *command, const char *name, const char **arguments)
{
    while (*name != '\0') {
        if (*command++ != *name++) {
            return false;
        }
    }
    *arguments = command;
    return *command == '\0' || *command == ' ';
}

static void obey(const char *command)
{
    const char *arguments;
    if (matches(command, "tg-load", &arguments)) {
        load(arguments);
    } else if (matches(command, "tg-read", &arguments)) {
        read_output(arguments);
    } else if (matches(command, "tg-dump", &arguments)) {
        dump(arguments);
    } else if (matches(command, "tg-switch", &arguments)) {
        set_switch(arguments);
    } else if (matches(command, "tg-trace", &arguments) && text_at_end(arguments)) {
        trace();
    } else if (matches(command, "tg-info", &arguments) && text_at_end(arguments)) {
        info();
    } else if (matches(command, "tg-run", &arguments) && text_at_end(arguments)) {
        run();
    } else if (matches(command, "tg-profile", &arguments) && text_at_end(arguments)) {
        profile();
    } else {
        line("e-[unknown command]");
    }
}

/* Raw bytes may follow a sealed command that arrived damaged. */
static void answer(const char *command)
{
    uint32_t nonce;
    if (!matches(command, "tg-seal", &command)) {
        obey(command);
    } else if (!seal_open(&command, &nonce)) {
        refuse("e-[damaged]");
    } else {
        seal_begin(nonce);
        obey(command);
        seal_end();
    }
}

static void banner(void)
{
    text_write("m-tg-boot ");
    text_write(app_model.name);
    text_write(" ");
    text_write(app_model.build_id);
    line_number(" ", board_clock_hz());
    if (board_clock_status() != NULL) {
        text_write("e-[clock: ");
        text_write(board_clock_status());
        line("]");
    }
    ready();
}

void serve(void)
{
    char command[COMMAND_CHARACTERS + 1U];
    app_model.init();
    board_led(BOARD_LED_READY, true);
    banner();
    for (;;) {
        if (read_command(command)) {
            answer(command);
        } else {
            refuse("e-[command too long]");
        }
        ready();
    }
}
