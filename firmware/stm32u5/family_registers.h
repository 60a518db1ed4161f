/*
 * Registers of STM32U575, at their non-secure addresses (TrustZone off, as delivered). Names, addresses and bits are
 * those of ST's device header stm32u575xx.h (STM32CubeU5); what they do is in RM0456.
 */
#ifndef STM32U5_FAMILY_REGISTERS_H
#define STM32U5_FAMILY_REGISTERS_H

#include <stdint.h>

#include "board_config.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define RCC_CR REGISTER(0x46020C00U)
#define RCC_CR_HSION (1U << 8)
#define RCC_CR_HSIRDY (1U << 10)
#define RCC_CR_PLL1ON (1U << 24)
#define RCC_CR_PLL1RDY (1U << 25)
#define RCC_CFGR1 REGISTER(0x46020C1CU)
#define RCC_CFGR1_SW_MASK 3U
#define RCC_CFGR1_SW_PLL1 3U
#define RCC_CFGR1_SWS_SHIFT 2
#define RCC_CFGR2 REGISTER(0x46020C20U)
#define RCC_CFGR2_PPRE1_SHIFT 4
#define RCC_CFGR2_PPRE2_SHIFT 8
#define RCC_PLL1CFGR REGISTER(0x46020C28U)
#define RCC_PLL1CFGR_SRC_HSI 2U
#define RCC_PLL1CFGR_RGE_4_8 (0U << 2) /* input of 4 to 8 MHz */
#define RCC_PLL1CFGR_RGE_8_16 (3U << 2)
#define RCC_PLL1CFGR_M_SHIFT 8
#define RCC_PLL1CFGR_MBOOST_1 (0U << 12) /* the booster runs on the PLL's source, undivided */
#define RCC_PLL1CFGR_REN (1U << 18)
#define RCC_PLL1DIVR REGISTER(0x46020C34U)
#define RCC_PLL1DIVR_R_SHIFT 24
#define RCC_AHB2ENR1 REGISTER(0x46020C8CU)
#define RCC_AHB3ENR REGISTER(0x46020C94U)
#define RCC_AHB3ENR_PWREN (1U << 2)
#define RCC_APB2ENR REGISTER(0x46020CA4U)

#define PWR_CR3 REGISTER(0x46020808U)
#define PWR_CR3_REGSEL (1U << 1)
#define PWR_VOSR REGISTER(0x4602080CU)
#define PWR_VOSR_BOOSTRDY (1U << 14)
#define PWR_VOSR_VOSRDY (1U << 15)
#define PWR_VOSR_VOS_SHIFT 16 /* 3 to 0 are range 1 to 4 */
#define PWR_VOSR_BOOSTEN (1U << 18)
#define PWR_SVMCR REGISTER(0x46020810U)
#define PWR_SVMCR_IO2SV (1U << 29) /* VDDIO2, which drives PG2 to PG15, is there */
#define PWR_SVMSR REGISTER(0x4602083CU)
#define PWR_SVMSR_REGS (1U << 1)

#define FLASH_ACR REGISTER(0x40022000U)
#define FLASH_ACR_PRFTEN (1U << 8)

#define ICACHE_CR REGISTER(0x40030400U)
#define ICACHE_CR_EN (1U << 0)

#define GPIO_PORT_A 0x42020000U
#define GPIO_CLOCKS RCC_AHB2ENR1

#endif
