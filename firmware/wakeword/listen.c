#include "listen.h"

#include <stddef.h>

#include "block.h"
#include "board.h"
#include "board_config.h"
#include "measure.h"
#include "reply.h"
#include "text.h"
#include "uart.h"
#include "wakeword.h"

#if BOARD_HAS_MICROPHONE
#include "microphone.h"
#endif

#define IDLE_MS 3000U
#define STOP 0x03
#define STOP_HOPS 4U
#define QUIET_MS 20U /* silence after which the computer is taken to have heard the end */
#define LIGHT_MS 1000U /* how long the light stays on after a detection */
#define LIGHT_HOPS (LIGHT_MS * (FEATURES_SAMPLE_RATE_HZ / 1000U) / FEATURES_HOP_SAMPLES)

typedef struct {
    uint32_t inferences;
    uint32_t detections;
    uint32_t overruns;
    uint32_t lost;
    uint32_t worst_without;
    uint32_t worst_with;
} counts_t;

static struct {
    bool is_asked;
    bool from_microphone;
    bool exists; /* whether there was a session since the restart */
    uint32_t baud;
    uint32_t id;
} session;

static counts_t counts;
static wakeword_hop_t newest;
static uint32_t light_hops; /* how many more the light stays on */

/* What the clock counts in the time of one hop; the products fit 32 bits. */
static uint32_t budget_cycles(void)
{
    const uint32_t hz = board_clock_hz();
    return hz / FEATURES_SAMPLE_RATE_HZ * FEATURES_HOP_SAMPLES +
           hz % FEATURES_SAMPLE_RATE_HZ * FEATURES_HOP_SAMPLES / FEATURES_SAMPLE_RATE_HZ;
}

static bool has_rate(uint32_t baud)
{
    static const uint32_t rates[] = WAKEWORD_BAUDS;
    for (size_t i = 0U; i < sizeof rates / sizeof rates[0]; i++) {
        if (rates[i] == baud) {
            return true;
        }
    }
    return false;
}

/* A session goes on where it was left, if nothing else had the model run since; any other begins. */
static void open(uint32_t id)
{
    if (!session.exists || session.id != id || session.from_microphone || wakeword_is_disturbed()) {
        const counts_t none = {0U, 0U, 0U, 0U, 0U, 0U};
        counts = none;
        light_hops = 0U;
        wakeword_reset();
    }
    session.exists = true;
    session.id = id;
}

static void ask(const char *arguments)
{
    uint32_t baud;
    uint32_t id;
    const bool from_microphone = text_takes_word(&arguments, "mic");
    if (!text_read_decimal(&arguments, &baud) || !text_read_hex(&arguments, &id) || !text_at_end(arguments)) {
        reply("e-[tg-listen wants: [mic] rate session]");
        return;
    }
    if (from_microphone && !BOARD_HAS_MICROPHONE) {
        reply("e-[no microphone]");
        return;
    }
    if (!has_rate(baud)) {
        reply("e-[no such rate]");
        return;
    }
    session.from_microphone = session.from_microphone || from_microphone;
    open(id);
    session.from_microphone = from_microphone;
    session.baud = baud;
    session.is_asked = true;
    reply_number("m-tg-listen ", wakeword_hops());
}

static void tell_counts(void)
{
    if (!session.exists) {
        reply("e-[has not listened]");
        return;
    }
    reply_number("m-tg-hops ", wakeword_hops());
    reply_number("m-tg-inferences ", counts.inferences);
    reply_number("m-tg-detections ", counts.detections);
    reply_number("m-tg-overruns ", counts.overruns);
    reply_number("m-tg-lost ", counts.lost);
    reply_number("m-tg-worst-without ", counts.worst_without);
    reply_number("m-tg-worst-with ", counts.worst_with);
    reply_number("m-tg-budget ", budget_cycles());
}

bool listen_command(const char *command)
{
    if (text_takes_word(&command, "tg-listened") && text_at_end(command)) {
        tell_counts();
    } else if (text_takes_word(&command, "tg-listen")) {
        ask(command);
    } else {
        return false;
    }
    return true;
}

static void begin_line(const char *label, uint32_t hop)
{
    text_check_restart();
    text_write(label);
    text_write_hex(session.id);
    text_write(" ");
    text_write_decimal(hop);
}

static void write_field(int32_t value)
{
    const uint32_t bits = (uint32_t)value;
    text_write(value < 0 ? " -" : " ");
    text_write_decimal(value < 0 ? 0U - bits : bits);
}

static void tell_hop(const wakeword_hop_t *hop)
{
    begin_line("m-tg-hop ", hop->number);
    write_field(hop->ran ? 1 : 0);
    write_field(hop->detected ? 1 : 0);
    write_field((int32_t)hop->label);
    write_field(hop->sum);
    text_write(" ");
    text_write_decimal(hop->frontend_cycles);
    text_write(" ");
    text_write_decimal(hop->inference_cycles);
    for (uint32_t i = 0U; i < WAKEWORD_OUTPUTS; i++) {
        write_field(hop->codes[i]);
    }
    reply_check(text_check());
}

static void tell(const char *label)
{
    begin_line(label, wakeword_hops());
    reply_check(text_check());
}

static void keep_highest(uint32_t *highest, uint32_t value)
{
    *highest = value > *highest ? value : *highest;
}

static void count(const wakeword_hop_t *hop)
{
    const uint32_t cycles = hop->frontend_cycles + hop->inference_cycles;
    counts.inferences += hop->ran ? 1U : 0U;
    counts.detections += hop->detected ? 1U : 0U;
    counts.overruns += cycles > budget_cycles() ? 1U : 0U;
    keep_highest(hop->ran ? &counts.worst_with : &counts.worst_without, cycles);
}

static void light(const wakeword_hop_t *hop)
{
    if (hop->detected) {
        light_hops = LIGHT_HOPS;
    } else if (light_hops > 0U) {
        light_hops--;
    }
    board_led(BOARD_LED_BUSY, light_hops > 0U);
}

static void hear(const int16_t samples[FEATURES_HOP_SAMPLES])
{
    newest = wakeword_hop(samples);
    count(&newest);
    light(&newest);
    tell_hop(&newest);
}

/* Answers one block; false when it was the last. */
static bool answer(const block_t *block)
{
    const uint32_t expected = wakeword_hops();
    const bool is_end = block->count == 0U;
    if (block->hop == expected && is_end) {
        tell("m-tg-end ");
        return false;
    }
    if (block->hop == expected) {
        hear(block->samples);
    } else if (block->hop + 1U == expected && !is_end) {
        tell_hop(&newest); /* the computer has not got it */
    } else {
        tell("m-tg-again ");
    }
    return true;
}

static void listen_to_line(void)
{
    static block_t block;
    const uint32_t cycles_per_ms = board_clock_hz() / 1000U;
    const uint32_t longest = IDLE_MS * cycles_per_ms;
    uint64_t since = cycles_now();
    for (uint64_t passed = 0U; passed < longest; passed = cycles_now() - since) {
        switch (block_receive(&block, session.id, (longest - (uint32_t)passed) / cycles_per_ms)) {
        case BLOCK_WHOLE:
            if (!answer(&block)) {
                return;
            }
            since = cycles_now();
            break;
        case BLOCK_DAMAGED:
            tell("m-tg-again ");
            break;
        default:
            return;
        }
    }
}

#if BOARD_HAS_MICROPHONE
/* The UART may keep no more than one byte while the model runs, so that is all the computer has to say here. */
static void listen_to_microphone(void)
{
    static int16_t samples[FEATURES_HOP_SAMPLES];
    uint32_t stops = 0U;
    if (microphone_start(FEATURES_SAMPLE_RATE_HZ)) {
        while (stops < STOP_HOPS) {
            if (microphone_read(samples, FEATURES_HOP_SAMPLES)) {
                hear(samples);
            } else {
                counts.lost++;
            }
            stops = uart_read_byte(0U) == STOP ? stops + 1U : 0U;
        }
        microphone_stop();
    }
    tell("m-tg-end ");
    while (uart_read_byte(QUIET_MS) != UART_TIMEOUT) {
    }
}
#endif

void listen_if_asked(void)
{
    if (!session.is_asked) {
        return;
    }
    session.is_asked = false;
    uart_set_baud(session.baud);
#if BOARD_HAS_MICROPHONE
    if (session.from_microphone) {
        listen_to_microphone();
    } else {
        listen_to_line();
    }
#else
    listen_to_line();
#endif
    board_led(BOARD_LED_BUSY, false);
    uart_set_baud(measure_baud());
}
