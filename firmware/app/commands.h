/* The commands, by protocol. Both functions answer a command of theirs, but for the last line, and tell if it was. */
#ifndef COMMANDS_H
#define COMMANDS_H

#include <stdbool.h>

bool commands_mlperf(const char *command);
bool commands_tinygen(const char *command);

#endif
