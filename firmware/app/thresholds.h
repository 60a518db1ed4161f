/* Thresholds on the line; generated C names these functions where a model has thresholds, else they are not linked. */
#ifndef THRESHOLDS_H
#define THRESHOLDS_H

#include <stdbool.h>

#include "check.h"

/* A line for each, as tg-info has them. */
void thresholds_list(void);

/* What an inference's seal has of them. */
void thresholds_check(check_t *sum);

/* Answers tg-threshold, but for the last line, and tells if that was the command. */
bool thresholds_command(const char *command);

#endif
