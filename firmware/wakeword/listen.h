/*
 * Listening over the UART, or to the board's own microphone:
 *
 *     tg-listen [mic] BAUD SESSION%   BAUD in decimal, SESSION (chosen by the computer) in 8 hexadecimal digits
 *
 *     m-tg-listen NEXT                the hop that is expected: 0, or where the session of this number was left
 *
 * Once that is answered, the line changes to BAUD, and sound comes in blocks:
 *
 *     0xB5  COUNT (2 bytes)  HOP (4)  samples (2 each)  CRC-32 (4)  Adler-32 (4)
 *
 * all numbers with their lowest byte first, both sums over SESSION (4 bytes) and what precedes them. COUNT is that of a
 * hop's samples, or 0 at the end. The computer sends one block, and the next when this one is answered, so that
 * nothing has to be kept while the model runs:
 *
 *     m-tg-hop SESSION HOP RAN DETECTED LABEL SUM FRONTEND INFERENCE CODE ... CRC ADLER
 *     m-tg-again SESSION HOP CRC ADLER      what came is not that hop's block, whole: send it again
 *     m-tg-end SESSION HOPS CRC ADLER       the end; then the line changes back
 *
 * CRC and ADLER are of the line up to the space before them. A block that comes twice is answered again, and counts
 * once. After IDLE_MS without a good block the line changes back, too; the session can be taken up again.
 *
 * With "mic" no blocks are sent: each hop that is heard has its line, until the byte STOP is there in STOP_HOPS hops in a row.
 *
 *     tg-listened%    of the session: hops, inferences, detections, hops over budget, times that the microphone lost some;
 *                     cycles of the longest hop without and with inference, and of the budget (of one hop's time)
 */
#ifndef LISTEN_H
#define LISTEN_H

#include <stdbool.h>

/* As those of commands.h. */
bool listen_command(const char *command);

/* Listens, where the last command asked for that; to be called when its answer is out. */
void listen_if_asked(void);

#endif
