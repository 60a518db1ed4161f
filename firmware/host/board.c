/*
 * This computer as a board: the UART is stdin and stdout, and a "cycle" is a nanosecond of the monotonic clock.
 * The program ends when stdin does.
 */
#define _POSIX_C_SOURCE 200809L

#include "board.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "uart.h"

#define NANOSECONDS 1000000000U

static uint8_t buffer[4096];
static size_t buffer_next;
static size_t buffer_end;

void board_init(void)
{
}

uint32_t board_clock_hz(void)
{
    return NANOSECONDS;
}

const char *board_clock_status(void)
{
    return NULL;
}

uint64_t cycles_now(void)
{
    struct timespec now = {0, 0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NANOSECONDS + (uint64_t)now.tv_nsec;
}

void board_led(board_led_t led, bool on)
{
    (void)led;
    (void)on;
}

uint32_t board_stack(uint8_t **lowest)
{
    *lowest = NULL;
    return 0U;
}

void board_timestamp_pin(bool high)
{
    (void)high;
}

/* Whether stdin has something to read (or has ended) within the time. */
static bool wait_for_input(uint32_t timeout_ms)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    const int timeout = timeout_ms > (uint32_t)INT_MAX ? -1 : (int)timeout_ms;
    int ready;
    do {
        ready = poll(&input, 1, timeout);
    } while (ready < 0 && errno == EINTR);
    return ready > 0;
}

int uart_read_byte(uint32_t timeout_ms)
{
    if (buffer_next == buffer_end) {
        if (!wait_for_input(timeout_ms)) {
            return UART_TIMEOUT;
        }
        const ssize_t bytes = read(STDIN_FILENO, buffer, sizeof buffer);
        if (bytes <= 0) {
            exit(EXIT_SUCCESS);
        }
        buffer_next = 0U;
        buffer_end = (size_t)bytes;
    }
    return buffer[buffer_next++];
}

void uart_write(const void *data, size_t bytes)
{
    const uint8_t *p = data;
    while (bytes > 0U) {
        const ssize_t written = write(STDOUT_FILENO, p, bytes);
        if (written < 0 && errno != EINTR) {
            exit(EXIT_FAILURE); /* nobody listens any more */
        }
        if (written > 0) {
            p += written;
            bytes -= (size_t)written;
        }
    }
}

/* Pipes and pseudo-terminals take bytes at any rate. */
void uart_set_baud(uint32_t baud)
{
    (void)baud;
}
