/* The part of <string.h> that generated code may use; libc/string.c implements it. */
#ifndef TINYGEN_STRING_H
#define TINYGEN_STRING_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

void *memcpy(void *restrict destination, const void *restrict source, size_t bytes);
void *memmove(void *destination, const void *source, size_t bytes);
void *memset(void *destination, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
size_t strlen(const char *text);

#ifdef __cplusplus
}
#endif

#endif
