/*
 * Registers of STM32L4 and L4+ (STM32L476, L4R5), and of STM32G4 (G474), which has the same. Names, addresses and bits
 * are those of ST's device headers stm32l476xx.h, stm32l4r5xx.h and stm32g474xx.h; what they do is in RM0351, RM0432
 * and RM0440. part.h says where these differ.
 */
#ifndef STM32L4_FAMILY_REGISTERS_H
#define STM32L4_FAMILY_REGISTERS_H

#include <stdint.h>

#include "board_config.h"
#include "part.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define RCC_CR REGISTER(0x40021000U)
#define RCC_CR_HSION (1U << 8)
#define RCC_CR_HSIRDY (1U << 10)
#define RCC_CR_PLLON (1U << 24)
#define RCC_CR_PLLRDY (1U << 25)
#define RCC_CFGR REGISTER(0x40021008U)
#define RCC_CFGR_SW_MASK 3U
#define RCC_CFGR_SW_MSI 0U
#define RCC_CFGR_SW_HSI 1U
#define RCC_CFGR_SW_PLL 3U
#define RCC_CFGR_SWS_MASK (3U << 2)
#define RCC_CFGR_HPRE_MASK (15U << 4)
#define RCC_CFGR_HPRE_2 (8U << 4)
#define RCC_PLLCFGR REGISTER(0x4002100CU)
#define RCC_PLLCFGR_SRC_HSI 2U
#define RCC_PLLCFGR_REN (1U << 24)
#define RCC_AHB2ENR REGISTER(0x4002104CU)
#define RCC_APB1ENR1 REGISTER(0x40021058U)
#define RCC_APB1ENR1_PWREN (1U << 28)
#define RCC_APB1ENR2 REGISTER(0x4002105CU)

#define RCC_CCIPR REGISTER(0x40021088U)
#define RCC_CCIPR_LPUART1SEL_MASK (3U << 10)
#define RCC_CCIPR_LPUART1SEL_HSI16 (2U << 10)

#define PWR_CR1 REGISTER(0x40007000U)
#define PWR_CR1_VOS_MASK (3U << 9)
#define PWR_CR1_VOS_RANGE_1 (1U << 9)
#define PWR_CR2 REGISTER(0x40007004U)
#define PWR_CR2_IOSV (1U << 9) /* VDDIO2, which drives PG2 to PG15, is there */
#define PWR_SR2 REGISTER(0x40007014U)
#define PWR_SR2_VOSF (1U << 10)
#define PWR_CR5 REGISTER(0x40007080U)
#define PWR_CR5_R1MODE (1U << 8) /* 0: range 1 boost */

#define FLASH_ACR REGISTER(0x40022000U)
#define FLASH_ACR_LATENCY_MASK 0xFU
#define FLASH_ACR_PRFTEN (1U << 8)
#define FLASH_ACR_ICEN (1U << 9)
#define FLASH_ACR_DCEN (1U << 10)

#define GPIO_PORT_A 0x48000000U
#define GPIO_CLOCKS RCC_AHB2ENR

#endif
