/*
 * The device protocol of MLPerf Tiny (github.com/mlcommons/tiny, benchmark/api), which its runners speak:
 *
 *     name%  profile%  help%   who answers, what it runs
 *     timestamp%               a timestamp (measure.h)
 *     db ...%                  db.h
 *     infer N W%               W inferences to warm up (10), then N between two timestamps (1); then the results
 *     results%                 the outputs of the last inference
 */
#include <stddef.h>

#include "app_model.h"
#include "board.h"
#include "commands.h"
#include "db.h"
#include "measure.h"
#include "reply.h"
#include "seal.h"
#include "text.h"

#define FIRMWARE_VERSION "ULPMark for tinyML Firmware V0.0.1" /* by this, runners know the protocol */
#define WARM_UP 10U

static bool has_results;

static void results(void)
{
    if (!has_results || app_model.benchmark.results == NULL) {
        reply(has_results ? "e-[no values of these outputs]" : "e-[no inference yet]");
        return;
    }
    text_write("m-results-[");
    app_model.benchmark.results();
    reply("]");
}

static void infer_once(void)
{
    app_model.benchmark.load();
    app_model.invoke(NULL, NULL);
    (void)cycles_now(); /* so that only one inference must end before the counter wraps */
}

static void infer(uint32_t count, uint32_t warm_up)
{
    if (!db_is_complete()) {
        return;
    }
    app_model.benchmark.load();
    seal_ran();
    reply_number("m-warmup-start-", warm_up);
    while (warm_up-- > 0U) {
        infer_once();
    }
    reply("m-warmup-done");
    reply_number("m-infer-start-", count);
    board_led(BOARD_LED_BUSY, measure_mode() == MEASURE_PERFORMANCE);
    const uint64_t start = measure_mark();
    while (count-- > 0U) {
        infer_once();
    }
    const uint64_t end = measure_mark();
    board_led(BOARD_LED_BUSY, false);
    measure_report(start); /* only now: a line takes longer than some inferences */
    measure_report(end);
    reply("m-infer-done");
    has_results = true;
    results();
    seal_gave();
}

static void parse_infer(const char *arguments)
{
    uint32_t count = 1U;
    uint32_t warm_up = WARM_UP;
    if (!text_at_end(arguments) && (!text_read_decimal(&arguments, &count) || count == 0U)) {
        reply("e-[Inference iterations must be >0]");
    } else if (!text_at_end(arguments) && (!text_read_decimal(&arguments, &warm_up) || !text_at_end(arguments))) {
        reply("e-[Inference warmup must be >=0]");
    } else {
        infer(count, warm_up);
    }
}

static void help(void)
{
    reply(FIRMWARE_VERSION);
    reply("");
    reply("help, name, profile, timestamp, results");
    reply("db load N    : a new input of N bytes");
    reply("db HH[HH]*   : its next bytes, until there are N");
    reply("db print [N [OFFSET]]");
    reply("infer [N [W]]: N inferences after W to warm up");
    reply("tg-info      : and other commands of tinygen's own");
}

static void profile(void)
{
    reply("m-profile-[" FIRMWARE_VERSION "]");
    text_write("m-model-[");
    text_write(app_model.benchmark.id != NULL ? app_model.benchmark.id : app_model.name);
    reply("]");
}

bool commands_mlperf(const char *command)
{
    if (text_takes_word(&command, "db")) {
        db_command(command);
    } else if (text_takes_word(&command, "infer")) {
        parse_infer(command);
    } else if (text_takes_word(&command, "name")) {
        reply("m-name-dut-[tinygen]");
    } else if (text_takes_word(&command, "profile")) {
        profile();
    } else if (text_takes_word(&command, "timestamp")) {
        measure_timestamp();
    } else if (text_takes_word(&command, "results")) {
        results();
    } else if (text_takes_word(&command, "help")) {
        help();
    } else {
        return false;
    }
    return true;
}
