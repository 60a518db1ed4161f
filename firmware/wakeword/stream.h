/*
 * MLPerf Tiny's streaming benchmark, sww01 (github.com/mlcommons/tiny, benchmark/runner: script.py, "stream"), in
 * firmware built for it (WAKEWORD_STREAMS). Another board sends sound over I2S and watches two pins:
 *
 *     start%     listens from now on, to silence first; the timestamp pin falls in energy mode
 *     stop%      ends that: another timestamp, then the first output's codes of the first STREAM_KEPT inferences,
 *
 *     target activations:
 *     [-128, -128, ...]
 *
 * PROCESSING is high while a hop is worked on. DETECTION falls for PULSE_US at the first hop, from which the other
 * board counts the time, and at each inference that detects the word. `stop%` without `start%` only says that nothing
 * runs.
 *
 * The UART is looked at between hops, and may keep one byte only: commands come when no sound does, as the benchmark's
 * do.
 */
#ifndef STREAM_H
#define STREAM_H

#include <stdbool.h>

/* As those of commands.h. */
bool stream_command(const char *command);

/* The next byte of a command; meanwhile hears what comes. */
int stream_read_byte(void);

#endif
