/*
 * Memory functions for boards without a C library. Armv7-M loads and stores words at any address (only LDM, LDRD
 * and the like want alignment), so everything but the tail goes by words. Where a core wants words aligned (Armv6-M),
 * or the compiler believes so, bytes go before them, and all the way if destination and source lie differently.
 */
#include <string.h>

#include <stdint.h>

/* Else gcc would see what the loops below do, and call memcpy from memcpy. Clang is told by -fno-builtin alone. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#endif

/* A word of any type, and which bits of an address must be 0 for one. */
#if defined(__ARM_FEATURE_UNALIGNED) || defined(__riscv_misaligned_fast)
typedef uint32_t word_t __attribute__((aligned(1), may_alias));
#define WITHIN_A_WORD 0U
#else
typedef uint32_t word_t __attribute__((may_alias));
#define WITHIN_A_WORD 3U
#endif

static inline int is_aligned(const void *address)
{
    return ((uintptr_t)address & WITHIN_A_WORD) == 0U;
}

/* Four at a time: loads do not wait for each other. */
static inline void copy_bytes(uint8_t *destination, const uint8_t *source, size_t bytes)
{
    for (; bytes >= 4U; bytes -= 4U, destination += 4, source += 4) {
        const uint8_t a = source[0];
        const uint8_t b = source[1];
        const uint8_t c = source[2];
        const uint8_t d = source[3];
        destination[0] = a;
        destination[1] = b;
        destination[2] = c;
        destination[3] = d;
    }
    while (bytes-- > 0U) {
        *destination++ = *source++;
    }
}

/* Right for bytes that overlap, too, where the destination begins below the source: what is written was read. */
static inline void copy_forwards(uint8_t *destination, const uint8_t *source, size_t bytes)
{
    for (; bytes > 0U && !is_aligned(destination); bytes--) {
        *destination++ = *source++;
    }
    if (!is_aligned(source)) {
        copy_bytes(destination, source, bytes);
        return;
    }
    for (; bytes >= 16U; bytes -= 16U, destination += 16, source += 16) {
        const uint32_t a = ((const word_t *)source)[0];
        const uint32_t b = ((const word_t *)source)[1];
        const uint32_t c = ((const word_t *)source)[2];
        const uint32_t d = ((const word_t *)source)[3];
        ((word_t *)destination)[0] = a;
        ((word_t *)destination)[1] = b;
        ((word_t *)destination)[2] = c;
        ((word_t *)destination)[3] = d;
    }
    for (; bytes >= 4U; bytes -= 4U, destination += 4, source += 4) {
        *(word_t *)destination = *(const word_t *)source;
    }
    while (bytes-- > 0U) {
        *destination++ = *source++;
    }
}

static void copy_backwards(uint8_t *destination, const uint8_t *source, size_t bytes)
{
    for (; bytes > 0U && !is_aligned(destination + bytes); bytes--) {
        destination[bytes - 1U] = source[bytes - 1U];
    }
    for (; bytes >= 4U && is_aligned(source + bytes); bytes -= 4U) {
        *(word_t *)(destination + bytes - 4U) = *(const word_t *)(source + bytes - 4U);
    }
    while (bytes-- > 0U) {
        destination[bytes] = source[bytes];
    }
}

void *memcpy(void *restrict destination, const void *restrict source, size_t bytes)
{
    copy_forwards(destination, source, bytes);
    return destination;
}

void *memmove(void *destination, const void *source, size_t bytes)
{
    if ((uintptr_t)destination - (uintptr_t)source >= bytes) {
        copy_forwards(destination, source, bytes);
    } else {
        copy_backwards(destination, source, bytes);
    }
    return destination;
}

void *memset(void *destination, int value, size_t bytes)
{
    uint8_t *d = destination;
    const uint32_t word = 0x01010101U * (uint8_t)value;
    for (; bytes > 0U && !is_aligned(d); bytes--) {
        *d++ = (uint8_t)value;
    }
    for (; bytes >= 4U; bytes -= 4U, d += 4) {
        *(word_t *)d = word;
    }
    while (bytes-- > 0U) {
        *d++ = (uint8_t)value;
    }
    return destination;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
    const uint8_t *p = a;
    const uint8_t *q = b;
    for (; bytes > 0U; bytes--, p++, q++) {
        if (*p != *q) {
            return *p < *q ? -1 : 1;
        }
    }
    return 0;
}

size_t strlen(const char *text)
{
    size_t length = 0U;
    while (text[length] != '\0') {
        length++;
    }
    return length;
}
