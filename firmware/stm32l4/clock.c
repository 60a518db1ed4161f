/*
 * The clock tree of STM32L4, L4+ and G4: from what reset leaves (MSI at 4 MHz, or HSI16) to the PLL on HSI16.
 */
#include "clock.h"

#include <stddef.h>

#include "cortex_m.h"
#include "family_registers.h"

#define START_MS 10U
#define HSI16_HZ 16000000U
/* Boost is for more than 80 MHz on L4+, 150 MHz on G4; having it on below does no harm. */
#define USES_BOOST (PART_HAS_BOOST && BOARD_SYSCLK_HZ > 80000000U)

#if BOARD_HSE_HZ != HSI16_HZ
#error "the PLL runs on HSI16 here: write `source: hsi` and `source_hz: 16000000` in the board's file"
#endif

static uint32_t core_hz = BOARD_FALLBACK_HZ;
static uint32_t uart_hz = BOARD_FALLBACK_HZ;

uint32_t clock_core_hz(void)
{
    return core_hz;
}

uint32_t clock_uart_hz(void)
{
    return uart_hz;
}

static const char *power_up(void)
{
    RCC_APB1ENR1 |= RCC_APB1ENR1_PWREN;
    (void)RCC_APB1ENR1;
#if PART_HAS_VDDIO2
    PWR_CR2 |= PWR_CR2_IOSV;
#endif
    PWR_CR1 = (PWR_CR1 & ~PWR_CR1_VOS_MASK) | PWR_CR1_VOS_RANGE_1;
    if (!clock_wait(&PWR_SR2, PWR_SR2_VOSF, 0U, START_MS)) {
        return "voltage scale not taken";
    }
#if USES_BOOST
    PWR_CR5 &= ~PWR_CR5_R1MODE;
#endif
    return NULL;
}

static const char *start_pll(void)
{
    RCC_CR |= RCC_CR_HSION;
    if (!clock_wait(&RCC_CR, RCC_CR_HSIRDY, RCC_CR_HSIRDY, START_MS)) {
        return "HSI16 not ready";
    }
    RCC_PLLCFGR = RCC_PLLCFGR_SRC_HSI | ((BOARD_PLL_M - 1U) << 4) | (BOARD_PLL_N << 8) | RCC_PLLCFGR_REN |
                  ((BOARD_PLL_P / 2U - 1U) << 25); /* the core is fed by output R */
    RCC_CR |= RCC_CR_PLLON;
    if (!clock_wait(&RCC_CR, RCC_CR_PLLRDY, RCC_CR_PLLRDY, START_MS)) {
        return "PLL not locked";
    }
    FLASH_ACR = (FLASH_ACR & ~FLASH_ACR_LATENCY_MASK) | BOARD_FLASH_WAIT_STATES | FLASH_ACR_PRFTEN | FLASH_ACR_ICEN |
                FLASH_ACR_DCEN;
    if ((FLASH_ACR & FLASH_ACR_LATENCY_MASK) != BOARD_FLASH_WAIT_STATES) {
        return "flash wait states not taken";
    }
    return NULL;
}

/*
 * On the way to more than 80 MHz the core runs at half the speed for a microsecond (RM0440 6.1.5; stm32l4xx_hal_rcc.c,
 * undershoot management).
 */
static const char *use_pll(void)
{
    RCC_CFGR |= RCC_CFGR_HPRE_2;
    RCC_CFGR |= RCC_CFGR_SW_PLL; /* both bits: 0 or 1 stood there */
    if (!clock_wait(&RCC_CFGR, RCC_CFGR_SWS_MASK, RCC_CFGR_SW_PLL << 2, START_MS)) {
        return "switch to the PLL refused";
    }
    const deadline_t deadline = deadline_in(1U, BOARD_FALLBACK_HZ);
    while (!deadline_passed(&deadline)) {
    }
    RCC_CFGR = RCC_CFGR_SW_PLL | BOARD_RCC_CFGR_DIVIDERS;
    core_hz = BOARD_HCLK_HZ;
    return NULL;
}

/* From the bus at full speed, 9600 baud would want more than the 20 bits of LPUART's divisor (RM0432, LPUART_BRR). */
static void feed_uart(void)
{
#if BOARD_UART_IS_LPUART
    RCC_CCIPR = (RCC_CCIPR & ~RCC_CCIPR_LPUART1SEL_MASK) | RCC_CCIPR_LPUART1SEL_HSI16;
    uart_hz = HSI16_HZ;
#else
    uart_hz = BOARD_HCLK_HZ / BOARD_UART_BUS_DIV;
#endif
}

/* Back to what reset leaves, but for the flash wait states, of which too many do no harm. */
static void stay_on_internal_oscillator(void)
{
    RCC_CFGR = (RCC_CFGR & ~(RCC_CFGR_SW_MASK | RCC_CFGR_HPRE_MASK)) | PART_RESET_CLOCK;
    RCC_CR &= ~RCC_CR_PLLON;
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
    if (problem == NULL) {
        feed_uart();
    } else {
        stay_on_internal_oscillator();
    }
    return problem;
}
