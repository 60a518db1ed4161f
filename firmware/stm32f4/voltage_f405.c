/* Regulator of STM32F405/F407. */
#include "clock.h"
#include "stm32_registers.h"

/* RM0090 5.4.1: one bit; 1 is scale 1, for up to 168 MHz */
#define PWR_CR_VOS (1U << 14)

bool family_voltage(void)
{
    PWR_CR |= PWR_CR_VOS;
    return (PWR_CR & PWR_CR_VOS) != 0U;
}
