/* The clock tree of STM32H743: from HSI, which reset leaves at 64 MHz, to PLL1 on HSE. */
#include "clock.h"

#include <stdbool.h>
#include <stddef.h>

#include "family_registers.h"
#include "prescaler.h"

#define START_MS 100U
#define REVISION_B 0x2000U /* stm32h7xx_hal.h, REV_ID_B */
#define REVISION_V 0x2003U /* REV_ID_V; those before it are for 400 MHz at most (DS12110) */
#define EARLIER_REVISIONS_HZ 400000000U
#define PLL_INPUT_HZ (BOARD_HSE_HZ / BOARD_PLL_M)
#define AXI_HZ (BOARD_HCLK_HZ / BOARD_AXI_DIV)

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

static uint32_t revision(void)
{
    return DBGMCU_IDCODE >> DBGMCU_IDCODE_REV_ID_SHIFT;
}

/* Before revision B, reads of the AXI SRAM may give wrong data, unless one is issued at a time (ES0392). */
static void read_axi_sram_one_by_one(void)
{
    if (revision() < REVISION_B) {
        AXI_TARG7_FN_MOD = AXI_TARG7_FN_MOD_READ_ISS_OVERRIDE;
    }
}

static bool voltage_ready(void)
{
    return clock_wait(&PWR_D3CR, PWR_D3CR_VOSRDY, PWR_D3CR_VOSRDY, START_MS);
}

/* Scale 0 is reached from scale 1 by over-drive (stm32h7xx_hal_pwr_ex.c, HAL_PWREx_ControlVoltageScaling). */
static const char *power_up(void)
{
    const uint32_t scale = BOARD_VOLTAGE_SCALE == 0U ? 1U : BOARD_VOLTAGE_SCALE;
    if (BOARD_HCLK_HZ > EARLIER_REVISIONS_HZ && revision() < REVISION_V) {
        return "this revision of the silicon is for 400 MHz at most";
    }
    PWR_D3CR = (PWR_D3CR & ~(3U << PWR_D3CR_VOS_SHIFT)) | ((4U - scale) << PWR_D3CR_VOS_SHIFT);
    if (!voltage_ready()) {
        return "voltage scale not taken";
    }
    if (BOARD_VOLTAGE_SCALE == 0U) {
        RCC_APB4ENR |= RCC_APB4ENR_SYSCFGEN;
        (void)RCC_APB4ENR;
        SYSCFG_PWRCR |= SYSCFG_PWRCR_ODEN;
        (void)SYSCFG_PWRCR; /* on another bus than PWR: else its flag might be read before this is written */
        if (!voltage_ready()) {
            return "over-drive not ready";
        }
    }
    return NULL;
}

static const char *start_pll(void)
{
    const uint32_t range = PLL_INPUT_HZ >= 8000000U   ? 3U
                           : PLL_INPUT_HZ >= 4000000U ? 2U
                           : PLL_INPUT_HZ >= 2000000U ? 1U
                                                      : 0U;
    RCC_CR |= BOARD_HSE_BYPASS ? RCC_CR_HSEBYP : 0U;
    RCC_CR |= RCC_CR_HSEON;
    if (!clock_wait(&RCC_CR, RCC_CR_HSERDY, RCC_CR_HSERDY, START_MS)) {
        return "HSE not ready";
    }
    RCC_PLLCKSELR = RCC_PLLCKSELR_SRC_HSE | (BOARD_PLL_M << RCC_PLLCKSELR_DIVM1_SHIFT);
    RCC_PLLCFGR = (range << RCC_PLLCFGR_PLL1RGE_SHIFT) | RCC_PLLCFGR_DIVP1EN;
    RCC_PLL1DIVR = (BOARD_PLL_N - 1U) | ((BOARD_PLL_P - 1U) << 9) | ((BOARD_PLL_Q - 1U) << 16);
    RCC_CR |= RCC_CR_PLL1ON;
    if (!clock_wait(&RCC_CR, RCC_CR_PLL1RDY, RCC_CR_PLL1RDY, START_MS)) {
        return "PLL not locked";
    }
    return NULL;
}

/* APB3 and APB4, where nothing of ours runs, are as slow as APB1. */
static const char *prepare_buses(void)
{
    const uint32_t delay = AXI_HZ > 185000000U ? 2U : AXI_HZ > 70000000U ? 1U : 0U; /* RM0433 table 17 */
    const uint32_t latency = BOARD_FLASH_WAIT_STATES | (delay << FLASH_ACR_WRHIGHFREQ_SHIFT);
    const uint32_t apb1 = apb_code(BOARD_APB1_DIV);
    FLASH_ACR = latency;
    if (FLASH_ACR != latency) {
        return "flash wait states not taken";
    }
    RCC_D1CFGR = ahb_code(BOARD_AXI_DIV) | (apb1 << RCC_D1CFGR_D1PPRE_SHIFT) |
                 (ahb_code(BOARD_AHB_DIV) << RCC_D1CFGR_D1CPRE_SHIFT);
    RCC_D2CFGR = (apb1 << RCC_D2CFGR_D2PPRE1_SHIFT) | (apb_code(BOARD_APB2_DIV) << RCC_D2CFGR_D2PPRE2_SHIFT);
    RCC_D3CFGR = apb1 << RCC_D3CFGR_D3PPRE_SHIFT;
    return NULL;
}

static const char *use_pll(void)
{
    RCC_CFGR = (RCC_CFGR & ~RCC_CFGR_SW_MASK) | RCC_CFGR_SW_PLL1;
    if (!clock_wait(&RCC_CFGR, RCC_CFGR_SW_MASK << RCC_CFGR_SWS_SHIFT, RCC_CFGR_SW_PLL1 << RCC_CFGR_SWS_SHIFT,
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
    RCC_CFGR &= ~RCC_CFGR_SW_MASK;
    RCC_D1CFGR = 0U;
    RCC_D2CFGR = 0U;
    RCC_D3CFGR = 0U;
    RCC_CR &= ~(RCC_CR_PLL1ON | RCC_CR_HSEON);
}

const char *clock_init(void)
{
    read_axi_sram_one_by_one();
    const char *problem = power_up();
    if (problem == NULL) {
        problem = start_pll();
    }
    if (problem == NULL) {
        problem = prepare_buses();
    }
    if (problem == NULL) {
        problem = use_pll();
    }
    if (problem != NULL) {
        stay_on_internal_oscillator();
    }
    return problem;
}
