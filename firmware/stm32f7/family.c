/* Power and flash interface of STM32F74x/F75x; the same in RM0410 for F76x/F77x. */
#include <stdint.h>

#include "board_config.h"
#include "clock.h"
#include "stm32_registers.h"

/* RM0385 4.4.1, 4.4.2 */
#define PWR_CR1_VOS_SHIFT 14
#define PWR_CR1_ODEN (1U << 16)
#define PWR_CR1_ODSWEN (1U << 17)
#define PWR_CSR1_ODRDY (1U << 16)
#define PWR_CSR1_ODSWRDY (1U << 17)

/* RM0385 3.7.1 */
#define FLASH_ACR_PRFTEN (1U << 8)
#define FLASH_ACR_ARTEN (1U << 9)
#define FLASH_ACR_ARTRST (1U << 11)

#define POWER_MS 10U

bool family_voltage(void)
{
    const uint32_t scale = 4U - BOARD_VOLTAGE_SCALE; /* scale 1 is written 3, scale 3 is written 1 */
    PWR_CR = (PWR_CR & ~(3U << PWR_CR1_VOS_SHIFT)) | (scale << PWR_CR1_VOS_SHIFT);
    return (PWR_CR >> PWR_CR1_VOS_SHIFT & 3U) == scale;
}

/* RM0385 4.1.4, "Entering Over-drive mode" */
bool family_over_drive(void)
{
#if BOARD_OVER_DRIVE
    PWR_CR |= PWR_CR1_ODEN;
    if (!clock_wait(&PWR_CSR, PWR_CSR1_ODRDY, PWR_CSR1_ODRDY, POWER_MS)) {
        return false;
    }
    PWR_CR |= PWR_CR1_ODSWEN;
    return clock_wait(&PWR_CSR, PWR_CSR1_ODSWRDY, PWR_CSR1_ODSWRDY, POWER_MS);
#else
    return true;
#endif
}

/* The ART and its prefetch serve the ITCM interface only; code at 0x0800'0000 goes through the L1 caches. */
bool family_flash_latency(void)
{
    FLASH_ACR &= ~FLASH_ACR_ARTEN;
    FLASH_ACR |= FLASH_ACR_ARTRST; /* RM0385 3.7.1: reset the ART only while it is off */
    FLASH_ACR &= ~FLASH_ACR_ARTRST;
    FLASH_ACR = BOARD_FLASH_WAIT_STATES | FLASH_ACR_PRFTEN | FLASH_ACR_ARTEN;
    return (FLASH_ACR & FLASH_ACR_LATENCY_MASK) == BOARD_FLASH_WAIT_STATES;
}
