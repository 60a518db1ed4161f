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
 * With "mic" no blocks are sent: each hop that is heard has its line, until the byte STOP is there in STOP_HOPS hops in
 * a row; or until no byte at all came for IDLE_MS, since the computer may be gone.
 *
 * Firmware built to listen by itself (WAKEWORD_LISTENS) does that from the start, to its own microphone, with no more
 * to say than
 *
 *     m-tg-heard PROBABILITY HOP WORD    a word, when the first inference detects it; hops count from where this began
 *     m-tg-lost N                        the microphone lost samples, N times until now; once a second at most
 *     e-[microphone does not start]
 *
 * Any byte ends that: it is the first of a command, and commands are answered as ever. When the line was quiet for
 * PATIENCE_MS, listening begins anew, and inputs and what the model kept are lost to the computer: neither noise on an
 * open line nor a computer that leaves makes it deaf for good. Where the UART keeps one byte only (STM32), most of a
 * command that comes while it listens is lost: send CR first, which no command minds, and the command 50 ms later.
 *
 *     tg-listened%    of the session, or since it last began to listen by itself: hops, inferences, detections, hops
 *                     over budget, times that the microphone lost some; cycles of the longest hop without and with
 *                     inference, and of the budget (of one hop's time)
 */
#ifndef LISTEN_H
#define LISTEN_H

#include <stdbool.h>
#include <stddef.h>

/* As those of commands.h. */
bool listen_command(const char *command);

/* Listens, where the last command asked for that; to be called when its answer is out. */
void listen_if_asked(void);

/*
 * The next byte of a command, as uart_read_byte(UART_WAIT_FOREVER) gives it; meanwhile firmware that listens by itself
 * may do so. Then it forgets the `*length` bytes of a command that never became whole.
 */
int listen_read_byte(size_t *length);

#endif
