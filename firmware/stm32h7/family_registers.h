/*
 * Registers of STM32H743. Names, addresses and bits are those of ST's device header stm32h743xx.h (STM32CubeH7); what
 * they do is in RM0433.
 */
#ifndef STM32H7_FAMILY_REGISTERS_H
#define STM32H7_FAMILY_REGISTERS_H

#include <stdint.h>

#include "board_config.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define RCC_CR REGISTER(0x58024400U)
#define RCC_CR_HSEON (1U << 16)
#define RCC_CR_HSERDY (1U << 17)
#define RCC_CR_HSEBYP (1U << 18)
#define RCC_CR_PLL1ON (1U << 24)
#define RCC_CR_PLL1RDY (1U << 25)
#define RCC_CFGR REGISTER(0x58024410U)
#define RCC_CFGR_SW_MASK 7U
#define RCC_CFGR_SW_PLL1 3U
#define RCC_CFGR_SWS_SHIFT 3
#define RCC_D1CFGR REGISTER(0x58024418U)
#define RCC_D1CFGR_D1PPRE_SHIFT 4
#define RCC_D1CFGR_D1CPRE_SHIFT 8
#define RCC_D2CFGR REGISTER(0x5802441CU)
#define RCC_D2CFGR_D2PPRE1_SHIFT 4
#define RCC_D2CFGR_D2PPRE2_SHIFT 8
#define RCC_D3CFGR REGISTER(0x58024420U)
#define RCC_D3CFGR_D3PPRE_SHIFT 4
#define RCC_PLLCKSELR REGISTER(0x58024428U)
#define RCC_PLLCKSELR_SRC_HSE 2U
#define RCC_PLLCKSELR_DIVM1_SHIFT 4
#define RCC_PLLCFGR REGISTER(0x5802442CU)
#define RCC_PLLCFGR_PLL1RGE_SHIFT 2 /* 0 to 3: input from 1, 2, 4 or 8 MHz up to twice that */
#define RCC_PLLCFGR_DIVP1EN (1U << 16)
#define RCC_PLL1DIVR REGISTER(0x58024430U)
#define RCC_AHB4ENR REGISTER(0x580244E0U)
#define RCC_APB1LENR REGISTER(0x580244E8U)
#define RCC_APB4ENR REGISTER(0x580244F4U)
#define RCC_APB4ENR_SYSCFGEN (1U << 1)

#define PWR_D3CR REGISTER(0x58024818U)
#define PWR_D3CR_VOSRDY (1U << 13)
#define PWR_D3CR_VOS_SHIFT 14 /* 3, 2 and 1 are scale 1, 2 and 3; scale 0 is scale 1 with over-drive */
#define SYSCFG_PWRCR REGISTER(0x5800042CU)
#define SYSCFG_PWRCR_ODEN (1U << 0)

#define FLASH_ACR REGISTER(0x52002000U)
#define FLASH_ACR_WRHIGHFREQ_SHIFT 4

#define DBGMCU_IDCODE REGISTER(0x5C001000U)
#define DBGMCU_IDCODE_REV_ID_SHIFT 16

typedef struct {
    volatile uint32_t moder;
    volatile uint32_t otyper;
    volatile uint32_t ospeedr;
    volatile uint32_t pupdr;
    volatile uint32_t idr;
    volatile uint32_t odr;
    volatile uint32_t bsrr;
    volatile uint32_t lckr;
    volatile uint32_t afr[2];
} gpio_t;

#define GPIO(port) ((gpio_t *)(uintptr_t)(0x58020000U + 0x400U * (port)))
#define GPIO_CLOCKS RCC_AHB4ENR
/* RM0433, USART: oversampling by 16. */
#define UART_DIVISOR(clock_hz, baud) (((clock_hz) + (baud) / 2U) / (baud))

#endif
