/* Regulator of STM32F411, with three scales as in the larger parts of the family. */
#include "board_config.h"
#include "clock.h"
#include "stm32_registers.h"

/* RM0383, PWR_CR: two bits; scale 1, for up to 100 MHz, is written 3, scale 3 is written 1 */
#define PWR_CR_VOS_SHIFT 14
#define PWR_CR_VOS_MASK (3U << PWR_CR_VOS_SHIFT)

bool family_voltage(void)
{
    const uint32_t scale = (4U - BOARD_VOLTAGE_SCALE) << PWR_CR_VOS_SHIFT;
    PWR_CR = (PWR_CR & ~PWR_CR_VOS_MASK) | scale;
    return (PWR_CR & PWR_CR_VOS_MASK) == scale;
}
