/*
 * What the benchmark's protocol lacks:
 *
 *     tg-info%          name, build, clock, sizes of inputs and outputs, switches if several, layers of the current,
 *                       bytes of the db buffer, mode, bytes of what the model keeps between inferences, if any
 *     tg-switch S%      runs the model by switch S from now on
 *     tg-threshold T C% sets threshold T to the code C (32 bits, hexadecimal); tg-info names them and has their codes.
 *                       Where a model has thresholds (thresholds.c)
 *     tg-mode M%        "performance" or "energy" (measure.h), once this command is answered
 *     tg-load I N C%    then N raw bytes for input I, whose CRC-32 is C (hexadecimal)
 *     tg-db N C%        then N raw bytes for the db buffer
 *     tg-reset%         the model forgets all earlier inferences; also after tg-paint and at the start
 *     tg-run%           one inference; its cycles
 *     tg-profile%       one inference; cycles of each layer that ran
 *     tg-read O%        N and CRC-32 of output O, then N raw bytes
 *     tg-trace%         one inference; CRC-32 of every tensor that a layer writes, if it runs
 *     tg-dump T%        one inference; tensor T of the trace, sent as tg-read does
 *     tg-paint%         fills arena and free stack with a pattern; thresholds get their defaults again
 *     tg-marks%         how much of both was written since, and how much there is; nothing if never painted
 *
 * Inputs share memory with intermediate values, so load them again before every inference, and after tg-switch and
 * tg-paint. The db buffer is apart: for `infer` it is loaded once.
 */
#include <stddef.h>
#include <stdint.h>

#include "app_model.h"
#include "board.h"
#include "commands.h"
#include "crc32.h"
#include "db.h"
#include "measure.h"
#include "paint.h"
#include "reply.h"
#include "seal.h"
#include "text.h"
#include "uart.h"

#define GAP_MS 500U /* longest silence within raw bytes */

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
        reply(app_model.each_switch[i].name);
    }
    reply_number("m-tg-current ", app_model.current());
}

static void info(void)
{
    reply_text("m-tg-name ", app_model.name);
    reply_text("m-tg-build ", app_model.build_id);
    reply_number("m-tg-clock ", board_clock_hz());
    for (uint32_t i = 0U; i < app_model.inputs; i++) {
        reply_pair("m-tg-input ", i, app_model.input(i).bytes);
    }
    for (uint32_t i = 0U; i < app_model.outputs; i++) {
        reply_pair("m-tg-output ", i, app_model.output(i).bytes);
    }
    if (app_model.switches > 1U) {
        line_switches();
    }
    reply_number("m-tg-layers ", current_switch()->layers);
    reply_number("m-tg-db ", app_model.benchmark.db_bytes);
    reply_text("m-tg-mode ", measure_mode_name(measure_mode()));
    if (app_model.state_bytes > 0U) {
        reply_number("m-tg-state ", app_model.state_bytes);
    }
    if (app_model.thresholds != NULL) {
        app_model.thresholds->list();
    }
}

static void reset(void)
{
    if (app_model.reset == NULL) {
        reply("e-[this model keeps nothing]");
        return;
    }
    app_model.reset();
}

static void set_switch(const char *arguments)
{
    uint32_t index;
    if (!text_read_decimal(&arguments, &index) || !text_at_end(arguments)) {
        reply("e-[tg-switch wants: switch]");
        return;
    }
    if (!app_model.set_switch(index)) {
        reply("e-[no such switch]");
        return;
    }
    reply_number("m-tg-current ", app_model.current());
}

static bool receive(uint8_t *data, uint32_t bytes, uint32_t crc)
{
    for (uint32_t i = 0U; i < bytes; i++) {
        const int byte = uart_read_byte(GAP_MS);
        if (byte == UART_TIMEOUT) {
            reply("e-[timeout]");
            return false;
        }
        data[i] = (uint8_t)byte;
    }
    if (crc32_update(0U, data, bytes) != crc) {
        reply("e-[crc]");
        return false;
    }
    return true;
}

static void load(const char *arguments)
{
    uint32_t index;
    uint32_t bytes;
    uint32_t crc;
    if (!text_read_decimal(&arguments, &index) || !text_read_decimal(&arguments, &bytes) ||
        !text_read_hex(&arguments, &crc) || !text_at_end(arguments)) {
        reply_refusal("e-[tg-load wants: input bytes crc32]");
        return;
    }
    if (index >= app_model.inputs) {
        reply_refusal("e-[no such input]");
        return;
    }
    const app_tensor_t tensor = app_model.input(index);
    if (bytes != tensor.bytes) {
        reply_refusal("e-[wrong number of bytes]");
        return;
    }
    (void)receive(tensor.data, bytes, crc);
}

static void load_db(const char *arguments)
{
    uint32_t bytes;
    uint32_t crc;
    if (!text_read_decimal(&arguments, &bytes) || !text_read_hex(&arguments, &crc) || !text_at_end(arguments)) {
        reply_refusal("e-[tg-db wants: bytes crc32]");
        return;
    }
    uint8_t *const data = db_begin();
    if (data == NULL || bytes != app_model.benchmark.db_bytes) {
        reply_refusal("e-[wrong number of bytes]");
        return;
    }
    if (receive(data, bytes, crc)) {
        db_finish();
    }
}

static void run(void)
{
    board_led(BOARD_LED_BUSY, measure_mode() == MEASURE_PERFORMANCE);
    seal_ran();
    const uint64_t start = cycles_now();
    app_model.invoke(NULL, NULL);
    const uint64_t cycles = cycles_now() - start;
    board_led(BOARD_LED_BUSY, false);
    reply_number("m-tg-cycles ", cycles);
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
    reply_pair("m-tg-layer ", layer, cycles);
    profile->layer_start = cycles_now();
}

static void profile(void)
{
    seal_ran();
    profile_t state = {cycles_now(), 0U};
    app_model.invoke(layer_finished, &state);
    reply_number("m-tg-cycles ", state.total);
    seal_gave();
}

static void send_block(const void *data, uint32_t bytes)
{
    text_write("m-tg-data ");
    text_write_decimal(bytes);
    text_write(" ");
    text_write_hex(crc32_update(0U, data, bytes));
    reply_end();
    text_write_bytes(data, bytes);
    reply_end();
}

static void read_output(const char *arguments)
{
    uint32_t index;
    if (!text_read_decimal(&arguments, &index) || !text_at_end(arguments)) {
        reply("e-[tg-read wants: output]");
        return;
    }
    if (index >= app_model.outputs) {
        reply("e-[no such output]");
        return;
    }
    const app_tensor_t tensor = app_model.output(index);
    send_block(tensor.data, tensor.bytes);
}

static void trace_finished(void *context, uint32_t layer)
{
    uint32_t *const next = context;
    for (const uint32_t traces = current_switch()->traces; *next < traces; (*next)++) {
        const app_trace_t tensor = app_model.trace(*next);
        if (tensor.layer > layer) {
            break;
        }
        if (tensor.layer < layer) {
            continue; /* of a branch that did not run */
        }
        text_write("m-tg-crc ");
        text_write_decimal(*next);
        text_write(" ");
        text_write_hex(crc32_update(0U, tensor.data, tensor.bytes));
        reply_end();
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
        reply("e-[no such tensor]");
        return;
    }
    app_trace_t tensor = app_model.trace(index);
    seal_ran();
    app_model.invoke(dump_finished, &tensor);
}

static void set_mode(const char *arguments)
{
    const bool energy = text_takes_word(&arguments, "energy");
    const measure_mode_t mode = energy ? MEASURE_ENERGY : MEASURE_PERFORMANCE;
    if ((!energy && !text_takes_word(&arguments, "performance")) || !text_at_end(arguments)) {
        reply("e-[tg-mode wants: performance or energy]");
        return;
    }
    measure_request(mode);
    reply_text("m-tg-mode ", measure_mode_name(mode));
}

static bool painted; /* not after a restart: then it would be the start-up code that wrote */

/* A mark is the far end of what was written since tg-paint: at least so much, as a byte written may look like paint. */
static void marks(void)
{
    if (!painted) {
        return;
    }
    if (app_model.arena != NULL) {
        const app_tensor_t arena = app_model.arena();
        reply_pair("m-tg-arena ", paint_written_from_start(arena.data, arena.bytes), arena.bytes);
    }
    uint8_t *stack;
    const uint32_t bytes = board_stack(&stack);
    if (bytes > 0U) {
        reply_pair("m-tg-stack ", paint_written_from_end(stack, bytes), bytes);
    }
}

static void paint(void)
{
    if (app_model.arena != NULL) {
        const app_tensor_t arena = app_model.arena();
        paint_bytes(arena.data, arena.bytes);
    }
    if (app_model.restart != NULL) {
        app_model.restart();
    }
    uint8_t *stack;
    const uint32_t bytes = board_stack(&stack);
    paint_below_here(stack, bytes);
    painted = true;
}

static bool commands_without_arguments(const char *command)
{
    static const struct {
        const char *name;
        void (*obey)(void);
    } commands[] = {
        {"tg-info", info},   {"tg-run", run},     {"tg-profile", profile},
        {"tg-trace", trace}, {"tg-paint", paint}, {"tg-marks", marks},
        {"tg-reset", reset},
    };
    for (size_t i = 0U; i < sizeof commands / sizeof commands[0]; i++) {
        const char *rest = command;
        if (text_takes_word(&rest, commands[i].name) && text_at_end(rest)) {
            commands[i].obey();
            return true;
        }
    }
    return false;
}

bool commands_tinygen(const char *command)
{
    if (text_takes_word(&command, "tg-load")) {
        load(command);
    } else if (text_takes_word(&command, "tg-db")) {
        load_db(command);
    } else if (text_takes_word(&command, "tg-read")) {
        read_output(command);
    } else if (text_takes_word(&command, "tg-dump")) {
        dump(command);
    } else if (text_takes_word(&command, "tg-switch")) {
        set_switch(command);
    } else if (text_takes_word(&command, "tg-mode")) {
        set_mode(command);
    } else {
        return commands_without_arguments(command) ||
               (app_model.thresholds != NULL && app_model.thresholds->command(command));
    }
    return true;
}
