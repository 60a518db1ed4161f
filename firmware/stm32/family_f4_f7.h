/* What board.c and gpio.c ask of a family, for STM32F4 and F7; the others have a family_registers.h of their own. */
#ifndef FAMILY_F4_F7_H
#define FAMILY_F4_F7_H

#include "board_config.h"
#include "stm32_registers.h"

#define GPIO_CLOCKS RCC_AHB1ENR

#endif
