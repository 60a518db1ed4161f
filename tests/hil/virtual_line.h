/*
 * Put before firmware/host/board.c, makes its standard input and output a line with a time of its own, so that
 * time-outs cost no waiting and depend on no load.
 *
 * In:  'D' length (2 bytes, little-endian) bytes    bytes on the line
 *      'T' milliseconds (4 bytes)                   time that passes
 * Out: 'D' as above; 'I' when the firmware waits, and all bytes and time that it got are used up.
 */
#define _POSIX_C_SOURCE 200809L

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint8_t line_bytes[65536];
static size_t line_next;
static size_t line_end;
static uint32_t line_ms;

static void line_receive(void *data, size_t bytes)
{
    uint8_t *p = data;
    while (bytes > 0U) {
        const ssize_t got = read(STDIN_FILENO, p, bytes);
        if (got <= 0) {
            exit(EXIT_SUCCESS);
        }
        p += got;
        bytes -= (size_t)got;
    }
}

static void line_send(const void *data, size_t bytes)
{
    if (write(STDOUT_FILENO, data, bytes) != (ssize_t)bytes) {
        exit(EXIT_FAILURE);
    }
}

/* Waits for more bytes, or more time. */
static void line_wait(void)
{
    uint8_t head[5];
    line_send("I", 1U);
    line_receive(head, 1U);
    if (head[0] == 'D') {
        line_receive(head + 1, 2U);
        line_next = 0U;
        line_end = head[1] | (size_t)head[2] << 8;
        line_receive(line_bytes, line_end);
    } else {
        line_receive(head + 1, 4U);
        line_ms += head[1] | (uint32_t)head[2] << 8 | (uint32_t)head[3] << 16 | (uint32_t)head[4] << 24;
    }
}

static int line_poll(struct pollfd *files, nfds_t count, int timeout)
{
    (void)files;
    (void)count;
    uint32_t left = (uint32_t)timeout;
    for (;;) {
        if (line_next < line_end) {
            return 1;
        }
        if (timeout >= 0 && line_ms >= left) {
            line_ms -= left;
            return 0;
        }
        if (timeout >= 0) {
            left -= line_ms;
        }
        line_ms = 0U;
        line_wait();
    }
}

static ssize_t line_read(int file, void *data, size_t bytes)
{
    (void)file;
    const size_t there = line_end - line_next;
    const size_t count = there < bytes ? there : bytes;
    memcpy(data, line_bytes + line_next, count);
    line_next += count;
    return (ssize_t)count;
}

static ssize_t line_write(int file, const void *data, size_t bytes)
{
    (void)file;
    const size_t count = bytes < 65535U ? bytes : 65535U;
    const uint8_t head[3] = {'D', (uint8_t)(count & 0xFFU), (uint8_t)(count >> 8)};
    line_send(head, sizeof head);
    line_send(data, count);
    return (ssize_t)count;
}

#define poll line_poll
#define read line_read
#define write line_write

