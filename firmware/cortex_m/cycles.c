#include <stdbool.h>
#include <stdint.h>

#include "board.h"
#include "cortex_m.h"
#include "core_registers.h"
#include "uart.h"

#define POLLS_PER_READING 1024U
#define SYSTICK_SPAN (UINT32_C(1) << 24)

static bool has_cyccnt;
static uint32_t last_count; /* of CYCCNT, and the wraps seen between readings */
static uint32_t wraps;
static volatile uint32_t systick_wraps;

void SysTick_Handler(void);

void SysTick_Handler(void)
{
    systick_wraps++;
}

/* Whether CYCCNT counts: QEMU has the register's address but not the counter. */
static bool start_cyccnt(void)
{
    DEMCR |= DEMCR_TRCENA;
    DWT_LAR = DWT_LAR_KEY;
    if ((DWT_CTRL & DWT_CTRL_NOCYCCNT) != 0U) {
        return false;
    }
    DWT_CYCCNT = 0U;
    DWT_CTRL |= DWT_CTRL_CYCCNTENA;
    data_barrier();
    for (uint32_t i = 0U; i < 100U; i++) {
        if (DWT_CYCCNT != 0U) {
            return true;
        }
    }
    return false;
}

void cycles_init(void)
{
    has_cyccnt = start_cyccnt();
    if (!has_cyccnt) {
        SYST_RVR = SYSTICK_SPAN - 1U;
        SYST_CVR = 0U;
        SYST_CSR = SYST_CSR_CLKSOURCE | SYST_CSR_TICKINT | SYST_CSR_ENABLE;
    }
}

static uint64_t cyccnt_now(void)
{
    const uint32_t count = DWT_CYCCNT;
    if (count < last_count) {
        wraps++;
    }
    last_count = count;
    return ((uint64_t)wraps << 32) | count;
}

/*
 * SysTick counts down, and its interrupt counts the wraps. A wrap may have happened, and its interrupt not been taken
 * yet: then it is pending, and the value is a high one. Read again when the interrupt came in between.
 */
static uint64_t systick_now(void)
{
    uint32_t before;
    uint32_t value;
    bool pending;
    do {
        before = systick_wraps;
        value = SYST_CVR;
        pending = (SCB_ICSR & SCB_ICSR_PENDSTSET) != 0U;
    } while (before != systick_wraps);
    const uint64_t passed = (uint64_t)before + (pending && value > SYSTICK_SPAN / 2U ? 1U : 0U);
    return passed * SYSTICK_SPAN + (SYSTICK_SPAN - 1U - value);
}

uint64_t cycles_now(void)
{
    return has_cyccnt ? cyccnt_now() : systick_now();
}

deadline_t deadline_in(uint32_t ms, uint32_t clock_hz)
{
    const deadline_t deadline = {cycles_now(), (uint64_t)ms * (clock_hz / 1000U)};
    return deadline;
}

bool deadline_passed(const deadline_t *deadline)
{
    return cycles_now() - deadline->start >= deadline->cycles;
}

bool wait_is_over(uint32_t timeout_ms, const deadline_t *deadline)
{
    static uint32_t polls;
    if (timeout_ms != UART_WAIT_FOREVER) {
        return deadline_passed(deadline);
    }
    if (++polls % POLLS_PER_READING == 0U) {
        (void)cycles_now();
    }
    return false;
}
