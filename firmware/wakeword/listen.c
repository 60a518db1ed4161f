#include "listen.h"

#include "block.h"
#include "board.h"
#include "board_config.h"
#include "measure.h"
#include "reply.h"
#include "text.h"
#include "uart.h"
#include "wakeword.h"

#if WAKEWORD_STREAMS
#include "stream.h"
#endif

#define HAS_MICROPHONE (BOARD_HAS_MICROPHONE && !WAKEWORD_STREAMS) /* else its port is another board's */

#if HAS_MICROPHONE
#include "microphone.h"
#endif

#define IDLE_MS 3000U
#define STOP 0x03
#define STOP_HOPS 4U
#define PATIENCE_MS 10000U /* silence after which firmware that listens by itself does so again */
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
static uint32_t light_label; /* the word that it is on for */

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

static void begin(uint32_t id)
{
    const counts_t none = {0U, 0U, 0U, 0U, 0U, 0U};
    counts = none;
    light_hops = 0U;
    wakeword_reset();
    session.exists = true;
    session.id = id;
}

/* A session goes on where it was left, if nothing else had the model run since; any other begins. */
static void open(uint32_t id)
{
    if (!session.exists || session.id != id || session.from_microphone || wakeword_is_disturbed()) {
        begin(id);
    }
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
    if (from_microphone && !HAS_MICROPHONE) {
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
#if WAKEWORD_STREAMS
    if (stream_command(command)) {
        return true;
    }
#endif
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

/* True where a word begins: several inferences may detect the same one. */
static bool light(const wakeword_hop_t *hop)
{
    const bool is_new = hop->detected && (light_hops == 0U || light_label != hop->label);
    if (hop->detected) {
        light_hops = LIGHT_HOPS;
        light_label = hop->label;
    } else if (light_hops > 0U) {
        light_hops--;
    }
    board_led(BOARD_LED_BUSY, light_hops > 0U);
    return is_new;
}

/* True where a word begins. */
static bool hear(const int16_t samples[FEATURES_HOP_SAMPLES])
{
    newest = wakeword_hop(samples);
    count(&newest);
    return light(&newest);
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
        (void)hear(block->samples);
        tell_hop(&newest);
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

#if HAS_MICROPHONE
typedef enum { HEARD_NOTHING, HEARD_SOUND, HEARD_WORD } heard_t;

/* The microphone's next hop: nothing where samples were lost, a word where one begins. */
static heard_t hear_next(void)
{
    static int16_t samples[FEATURES_HOP_SAMPLES];
    if (!microphone_read(samples, FEATURES_HOP_SAMPLES)) {
        counts.lost++;
        return HEARD_NOTHING;
    }
    return hear(samples) ? HEARD_WORD : HEARD_SOUND;
}

/* The UART may keep no more than one byte while the model runs, so that is all the computer has to say here. */
static void listen_to_microphone(void)
{
    const uint32_t longest = IDLE_MS * (board_clock_hz() / 1000U);
    uint32_t stops = 0U;
    if (microphone_start(FEATURES_SAMPLE_RATE_HZ)) {
        uint64_t since = cycles_now();
        while (stops < STOP_HOPS && cycles_now() - since < longest) {
            if (hear_next() != HEARD_NOTHING) {
                tell_hop(&newest);
            }
            const int byte = uart_read_byte(0U);
            if (byte != UART_TIMEOUT) {
                since = cycles_now();
            }
            stops = byte == STOP ? stops + 1U : 0U;
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
#if HAS_MICROPHONE
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

#if WAKEWORD_LISTENS
static void tell_word(void)
{
    static const char *const words[] = WAKEWORD_WORDS;
    const uint32_t above_zero = (uint32_t)(newest.sum - WAKEWORD_ZERO_SUM); /* as is every cutoff */
    const uint32_t thousandths = (uint32_t)((above_zero * WAKEWORD_THOUSANDTHS + (1ULL << 31)) >> 32);
    text_write("m-tg-heard ");
    text_write_decimal(thousandths / 1000U);
    text_write(".");
    for (uint32_t digit = 100U; digit > 0U; digit /= 10U) {
        text_write_decimal(thousandths / digit % 10U);
    }
    text_write(" ");
    text_write_decimal(newest.number);
    reply_text(" ", words[newest.label]);
}

/* At once, or a second after the last such line; gives how many losses have been told by now. */
static uint32_t tell_lost(uint32_t told)
{
    static uint64_t next;
    if (counts.lost == told || cycles_now() < next) {
        return told;
    }
    next = cycles_now() + board_clock_hz();
    reply_number("m-tg-lost ", counts.lost);
    return counts.lost;
}

/* Until a byte comes, which it gives. */
static int listen_alone(void)
{
    int byte = UART_TIMEOUT;
    uint32_t told = 0U;
    begin(0U);
    session.from_microphone = true; /* no session of a computer's goes on behind it */
    if (!microphone_start(FEATURES_SAMPLE_RATE_HZ)) {
        reply("e-[microphone does not start]");
        return uart_read_byte(UART_WAIT_FOREVER);
    }
    while (byte == UART_TIMEOUT) {
        if (hear_next() == HEARD_WORD) {
            tell_word();
        }
        told = tell_lost(told);
        byte = uart_read_byte(0U);
    }
    microphone_stop();
    board_led(BOARD_LED_BUSY, false);
    return byte;
}

int listen_read_byte(size_t *length)
{
    static uint32_t patience_ms; /* none after a restart */
    const int byte = uart_read_byte(patience_ms);
    patience_ms = PATIENCE_MS;
    if (byte != UART_TIMEOUT) {
        return byte;
    }
    *length = 0U;
    return listen_alone();
}
#elif WAKEWORD_STREAMS
int listen_read_byte(size_t *length)
{
    (void)length;
    return stream_read_byte();
}
#else
int listen_read_byte(size_t *length)
{
    (void)length;
    return uart_read_byte(UART_WAIT_FOREVER);
}
#endif
