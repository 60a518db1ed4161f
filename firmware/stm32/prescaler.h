/* Codes of bus prescalers, the same in all STM32: from the divider, a constant. */
#ifndef STM32_PRESCALER_H
#define STM32_PRESCALER_H

#include <stdint.h>

/* HPRE, D1CPRE: 1 is 0; 2, 4, 8, 16, 64 to 512 are 8 to 15 (there is no 32). */
static inline uint32_t ahb_code(uint32_t divider)
{
    const uint32_t log2 = (uint32_t)__builtin_ctz(divider);
    return divider == 1U ? 0U : divider <= 16U ? 7U + log2 : 6U + log2;
}

/* PPRE1, PPRE2, ...: 1 is 0; 2, 4, 8, 16 are 4 to 7. */
static inline uint32_t apb_code(uint32_t divider)
{
    return divider == 1U ? 0U : 3U + (uint32_t)__builtin_ctz(divider);
}

#endif
