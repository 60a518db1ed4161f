/*
 * The buffer of the benchmark's `db` commands: an input as its runner sends it, kept until the next one. The model's
 * input cannot serve for it, as intermediate values overwrite that.
 */
#ifndef DB_H
#define DB_H

#include <stdbool.h>
#include <stdint.h>

/* Obeys "load N", "HEX" or "print [N [OFFSET]]". */
void db_command(const char *arguments);

/* Whether a whole input is there; else says what is. */
bool db_is_complete(void);

/* For raw bytes: room for all of an input, and the note that they have come. NULL where the firmware has no buffer. */
uint8_t *db_begin(void);
void db_finish(void);

#endif
