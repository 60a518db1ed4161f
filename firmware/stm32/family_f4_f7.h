/* What board.c and gpio.c ask of a family, for STM32F4 and F7; stm32l4/family_registers.h is the other one. */
#ifndef FAMILY_F4_F7_H
#define FAMILY_F4_F7_H

#include "board_config.h"
#include "stm32_registers.h"

#define GPIO_CLOCKS RCC_AHB1ENR
/* RM0385 31.5.4, RM0090 30.3.4: oversampling by 16. */
#define UART_DIVISOR(clock_hz, baud) (((clock_hz) + (baud) / 2U) / (baud))

#endif
