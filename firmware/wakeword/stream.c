#include "wakeword/wakeword_config.h"

#if WAKEWORD_STREAMS
#include "stream.h"

#include <stddef.h>
#include <string.h>

#include "board.h"
#include "measure.h"
#include "microphone.h"
#include "reply.h"
#include "text.h"
#include "uart.h"
#include "wakeword.h"

#define STREAM_KEPT 4096U /* 131 s of hops of 32 ms */
#define CODES_PER_LINE 16U
#define PULSE_US 2U
#define WINDOW_HOPS ((FEATURES_WINDOW_SAMPLES + FEATURES_HOP_SAMPLES - 1U) / FEATURES_HOP_SAMPLES)
#define SILENT_HOPS (WAKEWORD_FRAMES + WINDOW_HOPS - 2U)

static struct {
    bool runs;
    uint32_t hops;
    uint32_t lost;
    wakeword_code_t codes[STREAM_KEPT];
} stream;

static int16_t samples[FEATURES_HOP_SAMPLES];

/* As if there had been silence before: the first hop that comes is the first with an inference. */
static void hear_silence(void)
{
    wakeword_reset();
    memset(samples, 0, sizeof samples);
    for (uint32_t i = 0U; i < SILENT_HOPS; i++) {
        (void)wakeword_hop(samples);
    }
}

static void start(void)
{
    if (stream.runs) {
        reply("e-[streams already]");
        return;
    }
    hear_silence();
    stream.hops = 0U;
    stream.lost = 0U;
    board_stream_pins_init();
    if (!microphone_start(FEATURES_SAMPLE_RATE_HZ)) {
        reply("e-[I2S does not start]");
        return;
    }
    stream.runs = true;
    measure_timestamp();
    reply("m-tg-streams");
}

static void write_codes(void)
{
    const uint32_t count = stream.hops < STREAM_KEPT ? stream.hops : STREAM_KEPT;
    reply("target activations:");
    for (uint32_t i = 0U; i < count; i++) {
        const int32_t code = stream.codes[i];
        text_write(i == 0U ? "[" : "");
        text_write(code < 0 ? "-" : "");
        text_write_decimal((uint32_t)(code < 0 ? -code : code));
        text_write(i + 1U == count ? "]" : ", ");
        if ((i + 1U) % CODES_PER_LINE == 0U && i + 1U < count) {
            reply("");
        }
    }
    reply("");
}

static void stop(void)
{
    if (!stream.runs) {
        reply("m-tg-idle");
        return;
    }
    stream.runs = false;
    microphone_stop();
    measure_timestamp();
    reply_number("m-tg-hops ", stream.hops);
    reply_number("m-tg-lost ", stream.lost);
    if (stream.hops > 0U) {
        write_codes();
    }
}

bool stream_command(const char *command)
{
    if (text_takes_word(&command, "start") && text_at_end(command)) {
        start();
    } else if (text_takes_word(&command, "stop") && text_at_end(command)) {
        stop();
    } else {
        return false;
    }
    return true;
}

static void pulse(void)
{
    board_stream_pin(BOARD_PIN_DETECTION, false);
    const uint64_t from = cycles_now();
    while (cycles_now() - from < PULSE_US * (board_clock_hz() / 1000000U)) {
    }
    board_stream_pin(BOARD_PIN_DETECTION, true);
}

static void hear(void)
{
    board_stream_pin(BOARD_PIN_PROCESSING, true);
    if (microphone_read(samples, FEATURES_HOP_SAMPLES)) {
        const wakeword_hop_t hop = wakeword_hop(samples);
        if (hop.detected || stream.hops == 0U) {
            pulse();
        }
        if (stream.hops < STREAM_KEPT) {
            stream.codes[stream.hops] = hop.codes[0];
        }
        stream.hops++;
    } else {
        stream.lost++;
    }
    board_stream_pin(BOARD_PIN_PROCESSING, false);
}

int stream_read_byte(void)
{
    if (!stream.runs) {
        return uart_read_byte(UART_WAIT_FOREVER);
    }
    int byte = uart_read_byte(0U);
    while (byte == UART_TIMEOUT) {
        if (microphone_ready()) {
            hear();
        }
        byte = uart_read_byte(0U);
    }
    return byte;
}
#else
typedef int stream_is_not_there; /* a file must have something */
#endif
