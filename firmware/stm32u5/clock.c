/* The clock tree of STM32U575: from MSIS, which reset leaves at 4 MHz, to PLL1 on HSI16. */
#include "clock.h"

#include <stddef.h>

#include "family_registers.h"
#include "prescaler.h"

#define START_MS 10U
#define BOOST_ABOVE_HZ 55000000U
#define HSI_HZ 16000000U
#define PLL_INPUT_HZ (HSI_HZ / BOARD_PLL_M)

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

/* The switching regulator first, then the range (stm32u5xx_hal_pwr_ex.c: "recommended to switch first to SMPS"). */
static const char *power_up(void)
{
    const uint32_t range = 4U - BOARD_VOLTAGE_SCALE;
    RCC_AHB3ENR |= RCC_AHB3ENR_PWREN;
    (void)RCC_AHB3ENR;
    PWR_SVMCR |= PWR_SVMCR_IO2SV;
    PWR_CR3 |= PWR_CR3_REGSEL;
    if (!clock_wait(&PWR_SVMSR, PWR_SVMSR_REGS, PWR_SVMSR_REGS, START_MS)) {
        return "switching regulator not ready";
    }
    PWR_VOSR = (PWR_VOSR & ~(3U << PWR_VOSR_VOS_SHIFT)) | (range << PWR_VOSR_VOS_SHIFT);
    if (!clock_wait(&PWR_VOSR, PWR_VOSR_VOSRDY, PWR_VOSR_VOSRDY, START_MS)) {
        return "voltage range not taken";
    }
    return NULL;
}

/* Above 55 MHz the regulator needs its booster, whose clock comes from the PLL's source (RM0456, PWR: EPOD booster). */
static const char *start_pll(void)
{
    RCC_CR |= RCC_CR_HSION;
    if (!clock_wait(&RCC_CR, RCC_CR_HSIRDY, RCC_CR_HSIRDY, START_MS)) {
        return "HSI16 not ready";
    }
    RCC_PLL1CFGR = RCC_PLL1CFGR_SRC_HSI | (PLL_INPUT_HZ > 8000000U ? RCC_PLL1CFGR_RGE_8_16 : RCC_PLL1CFGR_RGE_4_8) |
                   ((BOARD_PLL_M - 1U) << RCC_PLL1CFGR_M_SHIFT) | RCC_PLL1CFGR_MBOOST_1 | RCC_PLL1CFGR_REN;
    RCC_PLL1DIVR = (BOARD_PLL_N - 1U) | ((BOARD_PLL_P - 1U) << RCC_PLL1DIVR_R_SHIFT); /* output R feeds the core */
    if (BOARD_SYSCLK_HZ > BOOST_ABOVE_HZ) {
        PWR_VOSR |= PWR_VOSR_BOOSTEN;
        if (!clock_wait(&PWR_VOSR, PWR_VOSR_BOOSTRDY, PWR_VOSR_BOOSTRDY, START_MS)) {
            return "booster not ready";
        }
    }
    RCC_CR |= RCC_CR_PLL1ON;
    if (!clock_wait(&RCC_CR, RCC_CR_PLL1RDY, RCC_CR_PLL1RDY, START_MS)) {
        return "PLL not locked";
    }
    return NULL;
}

/* Reset has emptied the instruction cache, which also keeps constants of the flash. */
static const char *use_pll(void)
{
    FLASH_ACR = BOARD_FLASH_WAIT_STATES | FLASH_ACR_PRFTEN;
    if (FLASH_ACR != (BOARD_FLASH_WAIT_STATES | FLASH_ACR_PRFTEN)) {
        return "flash wait states not taken";
    }
    ICACHE_CR |= ICACHE_CR_EN;
    RCC_CFGR2 = ahb_code(BOARD_AHB_DIV) | (apb_code(BOARD_APB1_DIV) << RCC_CFGR2_PPRE1_SHIFT) |
                (apb_code(BOARD_APB2_DIV) << RCC_CFGR2_PPRE2_SHIFT);
    RCC_CFGR1 = (RCC_CFGR1 & ~RCC_CFGR1_SW_MASK) | RCC_CFGR1_SW_PLL1;
    if (!clock_wait(&RCC_CFGR1, RCC_CFGR1_SW_MASK << RCC_CFGR1_SWS_SHIFT, RCC_CFGR1_SW_PLL1 << RCC_CFGR1_SWS_SHIFT,
                    START_MS)) {
        return "switch to the PLL refused";
    }
    core_hz = BOARD_HCLK_HZ;
    uart_bus_divider = BOARD_UART_BUS_DIV;
    return NULL;
}

/* Back to what reset leaves, but for the voltage and the flash wait states, of which too many do no harm. */
static void stay_on_internal_oscillator(void)
{
    RCC_CFGR1 &= ~RCC_CFGR1_SW_MASK;
    RCC_CFGR2 = 0U;
    RCC_CR &= ~RCC_CR_PLL1ON;
}

const char *clock_init(void)
{
    const char *problem = power_up();
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
