/* ESP32-C6: addresses and bits from esp-idf's soc headers for it (reg_base.h and the *_reg.h named below). */
#ifndef CHIP_REGISTERS_H
#define CHIP_REGISTERS_H

#define CHIP_XTAL_HZ 40000000U

/* lp_wdt_reg.h */
#define RTC_WDT_CONFIG0 REGISTER(0x600B1C00U)
#define RTC_WDT_PROTECT REGISTER(0x600B1C18U)
#define SUPER_WDT_CONFIG REGISTER(0x600B1C1CU)
#define SUPER_WDT_PROTECT REGISTER(0x600B1C20U)
#define SUPER_WDT_AUTO_FEED (1U << 18)
#define SUPER_WDT_KEY 0x50D83AA1U /* lpwdt_ll.h */

/* timer_group_reg.h */
#define TIMG0_WDT_CONFIG0 REGISTER(0x60008048U)
#define TIMG0_WDT_PROTECT REGISTER(0x60008064U)

/* pcr_reg.h */
#define PCR_UART0_SCLK_CONF REGISTER(0x60096004U)
#define UART_CLK_DIVIDER_AT 12U
#define UART_CLK_DIVIDER_MASK 0xFFFFFU /* whole and fraction */
#define UART_CLK_XTAL (3U << 20)
#define UART_CLK_SOURCE_MASK (3U << 20)
#define UART_CLK_ENABLE (1U << 22)
#define PCR_MSPI_CLK_CONF REGISTER(0x6009601CU)
#define MSPI_DIVIDER_MASK (0xFFU << 8) /* what makes flash's clock of the PLL, less one: 3 after reset, 4 or 5 */
#define MSPI_DIVIDER_6 (5U << 8)
#define PCR_SYSCLK_CONF REGISTER(0x60096110U)
#define CLOCK_SOURCE_MASK (3U << 16)
#define CLOCK_SOURCE_PLL (1U << 16)
#define PCR_CPU_FREQ_CONF REGISTER(0x60096118U)
#define CPU_DIVIDER_MASK (0x1FFU << 8) /* of the PLL's 160 MHz; and the bit that forces 120 MHz */

/* extmem_reg.h; spi_mem_reg.h: the MMU's table is written through a window */
#define CACHE_BUSES REGISTER(0x600C8004U)
#define CACHE_SHUT_INSTRUCTIONS (1U << 0)
#define CACHE_SHUT_DATA (1U << 1)
#define MMU_ITEM_CONTENT REGISTER(0x6000237CU)
#define MMU_ITEM_INDEX REGISTER(0x60002380U)
#define MMU_POWER_CTRL REGISTER(0x60002384U)
#define MMU_PAGE_SIZE_MASK (3U << 3) /* 0: 64 KiB */
#define MMU_VALID (1U << 9)          /* ext_mem_defs.h */

/* esp32c6.rom.ld */
#define ROM_CACHE_DISABLE_ICACHE 0x40000690U
#define ROM_CACHE_ENABLE_ICACHE 0x40000694U

/* uart_reg.h */
#define UART_FSM REGISTER(BOARD_UART_BASE + 0x70U)
#define UART_UPDATE REGISTER(BOARD_UART_BASE + 0x98U)
#define UART_CONF0_KEPT (1U << 20) /* clock of the FIFO's memory */

#define GPIO_BASE 0x60091000U
#define IO_MUX_BASE 0x60090000U

#endif
