/*
 * The firmware of the first minute: no network, but loops whose cost is known, as the layers of a model.
 *
 *     0 registers  a chain of multiply-adds: the core alone
 *     1 flash      a table that fits every cache, read often
 *     2 lines      a table that fits no cache, a word of every line
 *     3 ram        a buffer in RAM, read and written often
 *     4 code       straight code that fits no instruction cache
 *
 * Input 0 is a command: FAULT runs an instruction that no core has. Output 0 has a sum for each loop.
 */
#include <stddef.h>
#include <stdint.h>

#include "app_model.h"

#define FAULT 0xFAU
#define LOOPS 5U
#define ROUNDS 4000U
#define SMALL_WORDS 128U  /* 512 bytes */
#define LARGE_WORDS 16384U /* 64 kB */
#define LINE_WORDS 8U
#define RAM_WORDS 256U
#define FACTOR 1664525U
#define TERM 1013904223U

#define LINE_BYTES 46080U /* 4 s at 115200 baud */

#define FOUR(x) x, x, x, x
#define WORDS_16384(x) FOUR(FOUR(FOUR(FOUR(FOUR(FOUR(FOUR(x)))))))
#define TIMES_4(x) x x x x
#define TIMES_4096(x) TIMES_4(TIMES_4(TIMES_4(TIMES_4(TIMES_4(TIMES_4(x))))))
/* The compiler must neither join two steps nor work them out. */
#define STEP                             \
    x ^= x << 1;                         \
    __asm volatile("" : "+r"(x) : : );

static const uint32_t table[LARGE_WORDS] = {WORDS_16384(0x01234567U)}; /* a volatile one would lie in RAM */
static const volatile uint32_t *const words = table;
static volatile uint32_t buffer[RAM_WORDS];

static union {
    uint64_t alignment;
    uint8_t bytes[8];
} command;
static uint32_t sums[LOOPS];

static void init(void)
{
    command.bytes[0] = 0U;
}

static app_tensor_t input(uint32_t index)
{
    (void)index;
    const app_tensor_t tensor = {"command", command.bytes, sizeof command.bytes};
    return tensor;
}

static app_tensor_t output(uint32_t index)
{
    (void)index;
    const app_tensor_t tensor = {"sums", sums, sizeof sums};
    return tensor;
}

/* Tensor 0 is a block for the line: the harness times how long it takes to come. */
static app_trace_t trace(uint32_t index)
{
    const app_trace_t tensor = {index, LINE_BYTES, table};
    return tensor;
}

static const app_switch_t switches[] = {{"only", LOOPS, 1U}};

static uint32_t current(void)
{
    return 0U;
}

static bool set_switch(uint32_t index)
{
    return index == 0U;
}

static uint32_t registers(void)
{
    uint32_t x = 1U;
    for (uint32_t i = 0U; i < ROUNDS; i++) {
        x = x * FACTOR + TERM;
        __asm volatile("" : "+r"(x) : : );
    }
    return x;
}

static uint32_t flash(void)
{
    uint32_t sum = 0U;
    for (uint32_t pass = 0U; pass < 32U; pass++) {
        for (uint32_t i = 0U; i < SMALL_WORDS; i++) {
            sum += words[i];
        }
    }
    return sum;
}

static uint32_t lines(void)
{
    uint32_t sum = 0U;
    for (uint32_t i = 0U; i < LARGE_WORDS; i += LINE_WORDS) {
        sum += words[i];
    }
    return sum;
}

static uint32_t ram(void)
{
    uint32_t sum = 0U;
    for (uint32_t i = 0U; i < RAM_WORDS; i++) {
        buffer[i] = i;
    }
    for (uint32_t pass = 0U; pass < 16U; pass++) {
        for (uint32_t i = 0U; i < RAM_WORDS; i++) {
            sum += buffer[i];
            buffer[i] = sum;
        }
    }
    return sum;
}

static uint32_t code(void)
{
    uint32_t x = 1U;
    for (uint32_t pass = 0U; pass < 2U; pass++) {
        TIMES_4096(STEP)
    }
    return x;
}

static void invoke(app_observer_t *observer, void *context)
{
    static uint32_t (*const loops[LOOPS])(void) = {registers, flash, lines, ram, code};
    if (command.bytes[0] == FAULT) {
        __builtin_trap();
    }
    for (uint32_t i = 0U; i < LOOPS; i++) {
        sums[i] = loops[i]();
        if (observer != NULL) {
            observer(context, i);
        }
    }
}

const app_model_t app_model = {
    .name = "first_light",
    .build_id = "66697273746c6974",
    .inputs = 1U,
    .outputs = 1U,
    .switches = 1U,
    .init = init,
    .input = input,
    .output = output,
    .invoke = invoke,
    .trace = trace,
    .each_switch = switches,
    .current = current,
    .set_switch = set_switch,
};
