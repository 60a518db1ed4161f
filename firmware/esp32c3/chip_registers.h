/* ESP32-C3: addresses and bits from esp-idf's soc headers for it (reg_base.h and the *_reg.h named below). */
#ifndef CHIP_REGISTERS_H
#define CHIP_REGISTERS_H

#define CHIP_XTAL_HZ 40000000U

/* rtc_cntl_reg.h */
#define RTC_OPTIONS0 REGISTER(0x60008000U)
#define PLL_POWER_DOWN (1U << 6 | 1U << 8 | 1U << 10) /* forced: of the bus, of the PLL's registers, of the PLL */
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

/* regi2c_defs.h, regi2c_bbpll.h; values for a crystal of 40 MHz: clk_tree_ll.h, clk_ll_bbpll_set_config */
#define ANALOG_CONF0 REGISTER(0x6000E040U)
#define PLL_CALIBRATION_STOP (1U << 2)
#define PLL_CALIBRATION_RUN (1U << 3)
#define ANALOG_BUS REGISTER(0x6000E044U)
#define ANALOG_BUS_ALL_OFF (0x3FFU << 8)
#define ANALOG_BUS_PLL_OFF (1U << 17)
#define PLL_SETTINGS                                                                                                  \
    {                                                                                                                 \
        {4U, 0xFFU, 0x6BU}, {2U, 0xFFU, 5U << 4}, {3U, 0xFFU, 8U}, {5U, 7U, 0U}, {5U, 7U << 4, 0U},                   \
            {6U, 0xFFU, 2U << 6 | 1U << 4 | 3U}, {9U, 3U, 2U}, {6U, 3U << 4, 2U << 4}, {6U, 3U << 6, 1U << 6},        \
    }

/* efuse_reg.h: what the factory has measured */
#define EFUSE_BLOCK1_3 REGISTER(0x60008850U)
#define EFUSE_BLOCK1_4 REGISTER(0x60008854U)
#define EFUSE_BLOCK1_5 REGISTER(0x60008858U)

/* extmem_reg.h, and the table of the MMU behind it */
#define CACHE_BUSES REGISTER(0x600C4004U)
#define CACHE_SHUT_INSTRUCTIONS (1U << 0)
#define CACHE_SHUT_DATA (1U << 1)
#define MMU_ENTRY(n) REGISTER(0x600C5000U + 4U * (n))

/* esp32c3.rom.ld */
#define ROM_CACHE_DISABLE_ICACHE 0x4000051CU
#define ROM_CACHE_ENABLE_ICACHE 0x40000520U
#define ROM_REGI2C_READ 0x40001954U  /* rom.regi2c.ld */
#define ROM_REGI2C_WRITE 0x4000195CU

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
