/* The cycle counter is one of Espressif's own CSRs: mpcer, mpcmr, mpccr (esp-idf, riscv/rv_utils.h). */
#include <stdint.h>

#include "board.h"
#include "esp32.h"
#include "riscv.h"

#define COUNT_CYCLES 1U

static uint32_t last_count; /* and the wraps seen between readings */
static uint32_t wraps;

void cycles_init(void)
{
    CSR_WRITE(0x7E0, COUNT_CYCLES);
    CSR_WRITE(0x7E1, 1U);
    CSR_WRITE(0x7E2, 0U);
}

uint64_t cycles_now(void)
{
    uint32_t count;
    CSR_READ(0x7E2, count);
    if (count < last_count) {
        wraps++;
    }
    last_count = count;
    return ((uint64_t)wraps << 32) | count;
}
