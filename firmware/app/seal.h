/*
 * Sealed commands: what the line damages, repeats or delays is noticed by both sides.
 *
 *     tg-seal CRC NONCE COMMAND%    CRC: CRC-32 of "NONCE COMMAND"; both of 8 hexadecimal digits
 *
 * The reply is COMMAND's own, and one more line before "m-ready":
 *
 *     m-tg-seal NONCE CRC ADLER     CRC-32 and Adler-32 of all that was sent since the command, NONCE included
 *
 * The nonce, which the computer chooses, ties the reply to its command. A sealed inference also says what it ran on
 * and what came out, so that outputs read later are known to be its own, whatever happened in between:
 *
 *     m-tg-ran CRC ADLER            of the build id, the number of the switch (one byte), the number of inferences
 *                                   since the reset (four bytes, the lowest first; only of models that keep
 *                                   something from one to the next) and all inputs, in order
 *     m-tg-gave OUTPUT CRC ADLER    of each output
 *
 * There are two sums because they are of different kinds: a change that deceives one does not deceive the other.
 */
#ifndef SEAL_H
#define SEAL_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Opens what follows "tg-seal": moves *command to COMMAND, and says its nonce. False, and nothing changed, when the
 * line damaged it.
 */
bool seal_open(const char **command, uint32_t *nonce);

/* From here to seal_end, all that goes through text.h is summed, and inferences say what they ran on. */
void seal_begin(uint32_t nonce);
void seal_end(void);

/* Right before and right after the model runs; nothing in commands that are not sealed. */
void seal_ran(void);
void seal_gave(void);

#endif
