/*
 * What STM32F4 and STM32F7 have in common: reset and clock control, power, flash interface and GPIO lie at the same
 * addresses, and the registers used here have the same layout but for the bits named after a family.
 * Sections are those of RM0385 (F74x); RM0090 (F40x) has the same registers in its chapters 5, 7, 8 and 3. So have
 * RM0383 (F411) and RM0410 (F76x).
 */
#ifndef STM32_REGISTERS_H
#define STM32_REGISTERS_H

#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

/* 5.3 RCC */
#define RCC_CR REGISTER(0x40023800U)
#define RCC_CR_HSION (1U << 0)
#define RCC_CR_HSIRDY (1U << 1)
#define RCC_CR_HSEON (1U << 16)
#define RCC_CR_HSERDY (1U << 17)
#define RCC_CR_HSEBYP (1U << 18)
#define RCC_CR_PLLON (1U << 24)
#define RCC_CR_PLLRDY (1U << 25)
#define RCC_PLLCFGR REGISTER(0x40023804U)
#define RCC_PLLCFGR_FIELDS 0x0F437FFFU /* Q, source, P, N, M */
#define RCC_PLLCFGR_SRC_HSE (1U << 22)
#define RCC_CFGR REGISTER(0x40023808U)
#define RCC_CFGR_SW_MASK 3U
#define RCC_CFGR_SW_PLL 2U
#define RCC_CFGR_SWS_MASK (3U << 2)
#define RCC_CFGR_DIVIDERS 0x0000FCF0U /* PPRE2, PPRE1, HPRE */
#define RCC_AHB1ENR REGISTER(0x40023830U)
#define RCC_APB1ENR REGISTER(0x40023840U)
#define RCC_APB1ENR_PWREN (1U << 28)
#define RCC_APB2ENR REGISTER(0x40023844U)

/* 4.4 PWR */
#define PWR_CR REGISTER(0x40007000U)
#define PWR_CSR REGISTER(0x40007004U)

/* 3.7 Flash interface */
#define FLASH_ACR REGISTER(0x40023C00U)
#define FLASH_ACR_LATENCY_MASK 0xFU

/* 6.4 GPIO */
#define GPIO_PORT_A 0x40020000U

#endif
