/* ESP32-C3: addresses and bits from esp-idf's soc headers for it (reg_base.h and the *_reg.h named below). */
#ifndef CHIP_REGISTERS_H
#define CHIP_REGISTERS_H

#define CHIP_XTAL_HZ 40000000U

/* rtc_cntl_reg.h */
#define RTC_WDT_CONFIG0 REGISTER(0x60008090U)
#define RTC_WDT_PROTECT REGISTER(0x600080A8U)
#define SUPER_WDT_CONFIG REGISTER(0x600080ACU)
#define SUPER_WDT_PROTECT REGISTER(0x600080B0U)
#define SUPER_WDT_AUTO_FEED (1U << 31)
#define SUPER_WDT_KEY 0x8F1D312AU /* rwdt_ll.h */

/* timer_group_reg.h */
#define TIMG0_WDT_CONFIG0 REGISTER(0x6001F048U)
#define TIMG0_WDT_PROTECT REGISTER(0x6001F064U)

/* system_reg.h */
#define SYSTEM_CPU_PER_CONF REGISTER(0x600C0008U)
#define CPU_PERIOD_MASK 3U
#define CPU_PERIOD_160_MHZ 1U
#define PLL_IS_480_MHZ (1U << 2)
#define SYSTEM_SYSCLK_CONF REGISTER(0x600C0058U)
#define CLOCK_DIVIDER_MASK 0x3FFU
#define CLOCK_SOURCE_MASK (3U << 10)
#define CLOCK_SOURCE_PLL (1U << 10)

/* extmem_reg.h, and the table of the MMU behind it */
#define CACHE_BUSES REGISTER(0x600C4004U)
#define CACHE_SHUT_INSTRUCTIONS (1U << 0)
#define CACHE_SHUT_DATA (1U << 1)
#define MMU_ENTRY(n) REGISTER(0x600C5000U + 4U * (n))

/* esp32c3.rom.ld */
#define ROM_CACHE_DISABLE_ICACHE 0x4000051CU
#define ROM_CACHE_ENABLE_ICACHE 0x40000520U

/* uart_reg.h */
#define UART_FSM REGISTER(BOARD_UART_BASE + 0x6CU)
#define UART_CLK_CONF REGISTER(BOARD_UART_BASE + 0x78U)
#define UART_CLK_DIVIDER_AT 12U
#define UART_CLK_DIVIDER_MASK 0xFFFFFU /* whole and fraction */
#define UART_CLK_XTAL (3U << 20)
#define UART_CLK_SOURCE_MASK (3U << 20)
#define UART_ID REGISTER(BOARD_UART_BASE + 0x80U)
#define UART_ID_UPDATE (1U << 31)
#define UART_CONF0_KEPT (1U << 28) /* clock of the FIFO's memory */

#define GPIO_BASE 0x60004000U
#define IO_MUX_BASE 0x60009000U

#endif
