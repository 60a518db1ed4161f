#include <stdint.h>

#include "cortex_m.h"
#include "core_registers.h"

#define CACHE_LINE 32U /* Cortex-M7 TRM (DDI 0489) 5.1 */

/* Drops every line of the L1 data cache by set and way; its content is undefined after power-up. */
static void invalidate_data_cache(void)
{
    SCB_CSSELR = 0U; /* level 1, data */
    data_barrier();
    const uint32_t ccsidr = SCB_CCSIDR;
    const uint32_t line_shift = (ccsidr & 7U) + 4U;        /* log2 of the line, bytes */
    const uint32_t last_way = (ccsidr >> 3) & 0x3FFU;
    const uint32_t last_set = (ccsidr >> 13) & 0x7FFFU;
    const uint32_t way_shift = last_way == 0U ? 0U : (uint32_t)__builtin_clz(last_way);
    for (uint32_t set = 0U; set <= last_set; set++) {
        for (uint32_t way = 0U; way <= last_way; way++) {
            SCB_DCISW = (way << way_shift) | (set << line_shift);
        }
    }
    data_barrier();
}

void caches_enable(void)
{
    data_barrier();
    instruction_barrier();
    SCB_ICIALLU = 0U;
    data_barrier();
    instruction_barrier();
    SCB_CCR |= SCB_CCR_IC;
    data_barrier();
    instruction_barrier();
    if ((SCB_CCR & SCB_CCR_DC) == 0U) {
        invalidate_data_cache();
        SCB_CCR |= SCB_CCR_DC;
        data_barrier();
        instruction_barrier();
    }
}

void cache_discard(const void *data, uint32_t bytes)
{
    const uint32_t start = (uint32_t)(uintptr_t)data;
    data_barrier();
    for (uint32_t address = start; address < start + bytes; address += CACHE_LINE) {
        SCB_DCIMVAC = address;
    }
    data_barrier();
}
