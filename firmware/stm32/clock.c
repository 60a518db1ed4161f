#include "clock.h"

#include <stddef.h>

#include "board_config.h"
#include "cortex_m.h"
#include "stm32_registers.h"

#define HSE_START_MS 100U /* a crystal needs a few; a clock at the pin, none */
#define PLL_LOCK_MS 10U   /* datasheets: 0.3 ms at most */
#define SWITCH_MS 10U

static uint32_t core_hz = BOARD_FALLBACK_HZ;
static uint32_t uart_bus_divider = 1U;

uint32_t clock_core_hz(void)
{
    return core_hz;
}

uint32_t clock_uart_hz(void)
{
    return core_hz / uart_bus_divider;
}

static const char *start_oscillator(void)
{
    RCC_CR |= RCC_CR_HSION;
    if (!clock_wait(&RCC_CR, RCC_CR_HSIRDY, RCC_CR_HSIRDY, HSE_START_MS)) {
        /* No STM32 runs without it, so this is none (QEMU's has no RCC): its rate is the one it pretends to. */
        core_hz = BOARD_SYSCLK_HZ;
        return "RCC does not answer, clock assumed";
    }
    RCC_CR |= BOARD_HSE_BYPASS ? RCC_CR_HSEBYP : 0U;
    RCC_CR |= RCC_CR_HSEON;
    if (!clock_wait(&RCC_CR, RCC_CR_HSERDY, RCC_CR_HSERDY, HSE_START_MS)) {
        return "HSE not ready";
    }
    return NULL;
}

static const char *start_pll(void)
{
    const uint32_t factors = (uint32_t)BOARD_PLL_M | ((uint32_t)BOARD_PLL_N << 6) |
                             ((uint32_t)(BOARD_PLL_P / 2 - 1) << 16) | ((uint32_t)BOARD_PLL_Q << 24);
    RCC_APB1ENR |= RCC_APB1ENR_PWREN;
    (void)RCC_APB1ENR;
    if (!family_voltage()) {
        return "voltage scale not taken";
    }
    RCC_PLLCFGR = (RCC_PLLCFGR & ~RCC_PLLCFGR_FIELDS) | RCC_PLLCFGR_SRC_HSE | factors;
    RCC_CR |= RCC_CR_PLLON;
    if (!family_over_drive()) {
        return "over-drive not ready";
    }
    if (!family_flash_latency()) {
        return "flash wait states not taken";
    }
    RCC_CFGR = (RCC_CFGR & ~RCC_CFGR_DIVIDERS) | BOARD_RCC_CFGR_DIVIDERS;
    if (!clock_wait(&RCC_CR, RCC_CR_PLLRDY, RCC_CR_PLLRDY, PLL_LOCK_MS)) {
        return "PLL not locked";
    }
    return NULL;
}

static const char *use_pll(void)
{
    RCC_CFGR = (RCC_CFGR & ~RCC_CFGR_SW_MASK) | RCC_CFGR_SW_PLL;
    if (!clock_wait(&RCC_CFGR, RCC_CFGR_SWS_MASK, RCC_CFGR_SW_PLL << 2, SWITCH_MS)) {
        return "switch to the PLL refused";
    }
    core_hz = BOARD_HCLK_HZ;
    uart_bus_divider = BOARD_UART_BUS_DIV;
    return NULL;
}

/* Back to what reset leaves, but for the flash wait states, of which too many do no harm. */
static void stay_on_internal_oscillator(void)
{
    RCC_CFGR &= ~(RCC_CFGR_SW_MASK | RCC_CFGR_DIVIDERS);
    RCC_CR &= ~(RCC_CR_PLLON | RCC_CR_HSEON);
}

const char *clock_init(void)
{
    const char *problem = start_oscillator();
    if (problem == NULL) {
        problem = start_pll();
    }
    if (problem == NULL) {
        problem = use_pll();
    }
    if (problem != NULL) {
        stay_on_internal_oscillator();
    }
    return problem;
}
