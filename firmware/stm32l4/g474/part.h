/* STM32G474 (RM0440, stm32g474xx.h): it has no MSI, so it starts from HSI16, and one supply for all pins. */
#ifndef PART_H
#define PART_H

#define PART_RESET_CLOCK RCC_CFGR_SW_HSI
#define PART_HAS_BOOST 1
#define PART_HAS_VDDIO2 0

#endif
