/*
 * Core registers of Armv7-M that we use. Sections are those of the Armv7-M Architecture Reference Manual,
 * Arm DDI 0403.
 */
#ifndef CORTEX_M_REGISTERS_H
#define CORTEX_M_REGISTERS_H

#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

/* B3.3 SysTick */
#define SYST_CSR REGISTER(0xE000E010U)
#define SYST_CSR_ENABLE (1U << 0)
#define SYST_CSR_TICKINT (1U << 1)
#define SYST_CSR_CLKSOURCE (1U << 2) /* the core's clock */
#define SYST_RVR REGISTER(0xE000E014U)
#define SYST_CVR REGISTER(0xE000E018U)

/* B3.2 System control block */
#define SCB_ICSR REGISTER(0xE000ED04U)
#define SCB_ICSR_PENDSTSET (1U << 26)
#define SCB_VTOR REGISTER(0xE000ED08U)
#define SCB_CCR REGISTER(0xE000ED14U)
#define SCB_CCR_DC (1U << 16)
#define SCB_CCR_IC (1U << 17)
#define SCB_SHCSR REGISTER(0xE000ED24U)
#define SCB_SHCSR_MEMFAULTENA (1U << 16)
#define SCB_SHCSR_BUSFAULTENA (1U << 17)
#define SCB_SHCSR_USGFAULTENA (1U << 18)
#define SCB_CFSR REGISTER(0xE000ED28U)
#define SCB_CFSR_MSTKERR (1U << 4)
#define SCB_CFSR_MMARVALID (1U << 7)
#define SCB_CFSR_STKERR (1U << 12)
#define SCB_CFSR_BFARVALID (1U << 15)
#define SCB_MMFAR REGISTER(0xE000ED34U)
#define SCB_BFAR REGISTER(0xE000ED38U)

/* B4.8 Cache identification, B2.2.7 cache maintenance */
#define SCB_CCSIDR REGISTER(0xE000ED80U)
#define SCB_CSSELR REGISTER(0xE000ED84U)
#define SCB_ICIALLU REGISTER(0xE000EF50U)
#define SCB_DCIMVAC REGISTER(0xE000EF5CU)
#define SCB_DCISW REGISTER(0xE000EF60U)

/* C1.6 Debug exception and monitor control, C1.8 DWT */
#define DEMCR REGISTER(0xE000EDFCU)
#define DEMCR_TRCENA (1U << 24)
#define DWT_CTRL REGISTER(0xE0001000U)
#define DWT_CTRL_CYCCNTENA (1U << 0)
#define DWT_CTRL_NOCYCCNT (1U << 25)
#define DWT_CYCCNT REGISTER(0xE0001004U)
#define DWT_LAR REGISTER(0xE0001FB0U) /* CoreSight software lock: present on Cortex-M7 */
#define DWT_LAR_KEY 0xC5ACCE55U

static inline void data_barrier(void)
{
    __asm volatile("dsb 0xF" ::: "memory");
}

static inline void instruction_barrier(void)
{
    __asm volatile("isb 0xF" ::: "memory");
}

#endif
