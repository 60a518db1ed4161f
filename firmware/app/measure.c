#include "measure.h"

#include "board.h"
#include "board_config.h"
#include "reply.h"
#include "uart.h"

#define ENERGY_BAUD 9600U
#define HOLD_US 50U /* the protocol asks for 1 at least; some instruments look at their inputs every 10 */
#define MICROSECONDS 1000000U

static measure_mode_t mode;
static measure_mode_t wanted = APP_ENERGY_MODE ? MEASURE_ENERGY : MEASURE_PERFORMANCE;

static void enter(measure_mode_t next)
{
    mode = next;
    board_led(BOARD_LED_READY, next == MEASURE_PERFORMANCE);
}

void measure_init(void)
{
    if (wanted == MEASURE_ENERGY) {
        uart_set_baud(ENERGY_BAUD);
    }
    enter(wanted);
}

measure_mode_t measure_mode(void)
{
    return mode;
}

const char *measure_mode_name(measure_mode_t of)
{
    return of == MEASURE_ENERGY ? "energy" : "performance";
}

uint32_t measure_baud(void)
{
    return mode == MEASURE_ENERGY ? ENERGY_BAUD : BOARD_UART_BAUD;
}

void measure_request(measure_mode_t next)
{
    wanted = next;
}

void measure_settle(void)
{
    if (wanted != mode) {
        enter(wanted);
        uart_set_baud(measure_baud());
    }
}

/* Bit by bit, which spares the 64-bit division routine; `rest` is less than 2^32, so that it has room to double. */
static uint64_t divide(uint64_t dividend, uint32_t divisor, uint64_t *rest)
{
    uint64_t quotient = 0U;
    *rest = 0U;
    for (uint32_t bit = 64U; bit-- > 0U;) {
        *rest = *rest << 1 | (dividend >> bit & 1U);
        quotient <<= 1;
        if (*rest >= divisor) {
            *rest -= divisor;
            quotient |= 1U;
        }
    }
    return quotient;
}

static uint64_t microseconds_of(uint64_t cycles)
{
    uint64_t rest;
    const uint64_t seconds = divide(cycles, board_clock_hz(), &rest);
    return seconds * MICROSECONDS + divide(rest * MICROSECONDS, board_clock_hz(), &rest);
}

static void pulse(void)
{
    board_timestamp_pin(false);
    const uint64_t start = cycles_now();
    const uint64_t hold = (uint64_t)HOLD_US * (board_clock_hz() / MICROSECONDS);
    while (cycles_now() - start < hold) {
    }
    board_timestamp_pin(true);
}

uint64_t measure_mark(void)
{
    const uint64_t now = cycles_now();
    if (mode == MEASURE_ENERGY) {
        pulse();
    }
    return now;
}

void measure_report(uint64_t cycles)
{
    if (mode == MEASURE_PERFORMANCE) {
        reply_number("m-lap-us-", microseconds_of(cycles));
    }
}

void measure_timestamp(void)
{
    measure_report(measure_mark());
}
