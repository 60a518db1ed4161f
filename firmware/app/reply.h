/* Lines of a reply; each ends in CR LF. */
#ifndef REPLY_H
#define REPLY_H

#include <stdint.h>

#include "check.h"

void reply_end(void); /* of a line that text.h began */
void reply(const char *text);
void reply_text(const char *label, const char *value);
void reply_number(const char *label, uint64_t value);
void reply_pair(const char *label, uint32_t index, uint64_t value);

/* Ends a line with a check of what came before. */
void reply_check(check_t check);

/* For commands that raw bytes may follow: answers at once, then drops those, so that none is taken for a command. */
void reply_refusal(const char *error);

#endif
