/* STM32L476 (RM0351, stm32l476xx.h): up to 80 MHz, so there is no boost. */
#ifndef PART_H
#define PART_H

#define PART_RESET_CLOCK RCC_CFGR_SW_MSI
#define PART_HAS_BOOST 0
#define PART_HAS_VDDIO2 1

#endif
