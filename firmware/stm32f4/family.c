/* Flash interface of STM32F405/F407 and F411. */
#include <stdint.h>

#include "board_config.h"
#include "clock.h"
#include "stm32_registers.h"

/* RM0090 3.9.1; RM0383, FLASH_ACR */
#define FLASH_ACR_PRFTEN (1U << 8)
#define FLASH_ACR_ICEN (1U << 9)
#define FLASH_ACR_DCEN (1U << 10)
#define FLASH_ACR_ICRST (1U << 11)
#define FLASH_ACR_DCRST (1U << 12)

bool family_over_drive(void)
{
    return true; /* none in this family */
}

bool family_flash_latency(void)
{
    FLASH_ACR &= ~(FLASH_ACR_ICEN | FLASH_ACR_DCEN);
    FLASH_ACR |= FLASH_ACR_ICRST | FLASH_ACR_DCRST; /* RM0090 3.9.1: reset the caches only while they are off */
    FLASH_ACR &= ~(FLASH_ACR_ICRST | FLASH_ACR_DCRST);
    FLASH_ACR = BOARD_FLASH_WAIT_STATES | FLASH_ACR_PRFTEN | FLASH_ACR_ICEN | FLASH_ACR_DCEN;
    return (FLASH_ACR & FLASH_ACR_LATENCY_MASK) == BOARD_FLASH_WAIT_STATES;
}
