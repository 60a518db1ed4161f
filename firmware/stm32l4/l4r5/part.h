/* STM32L4R5 (RM0432, stm32l4r5xx.h). */
#ifndef PART_H
#define PART_H

#define PART_RESET_CLOCK RCC_CFGR_SW_MSI
#define PART_HAS_BOOST 1
#define PART_HAS_VDDIO2 1

#endif
