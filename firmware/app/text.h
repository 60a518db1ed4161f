/* Text and numbers, out to the UART and in from a command. */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"

void text_write(const char *text);
void text_write_bytes(const void *data, size_t bytes);
void text_write_decimal(uint64_t value);
void text_write_hex(uint32_t value); /* 8 digits, lower case */
void text_write_hex_byte(uint8_t value);

/* The check of all that was written since the restart. */
void text_check_restart(void);
check_t text_check(void);

/*
 * Read one number at *cursor, preceded by any spaces, and move *cursor behind it.
 * False, and nothing moved, when there is none or it does not fit 32 bits.
 */
bool text_read_decimal(const char **cursor, uint32_t *value);
bool text_read_hex(const char **cursor, uint32_t *value);

/* Whether nothing but spaces is left. */
bool text_at_end(const char *cursor);

/* Whether `word` comes next, after any spaces; *cursor is then moved behind it. */
bool text_takes_word(const char **cursor, const char *word);

/* Value of a hexadecimal digit; 16 or more of anything else. */
uint32_t text_digit(char c);

#endif
