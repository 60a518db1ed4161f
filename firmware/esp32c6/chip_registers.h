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

/* i2c_ana_mst_reg.h, regi2c_impl.c: the bus of the analogue blocks */
#define ANALOG_CTRL(master) REGISTER(0x600AF800U + 4U * (master))
#define ANALOG_REGISTER_AT 8U
#define ANALOG_DATA_AT 16U
#define ANALOG_WRITE (1U << 24)
#define ANALOG_BUSY (1U << 25)
#define ANALOG_CONF0 REGISTER(0x600AF818U)
#define PLL_CALIBRATION_STOP (1U << 2)
#define PLL_CALIBRATION_RUN (1U << 3)
#define PLL_CALIBRATION_DONE (1U << 24)
#define ANALOG_CONF1 REGISTER(0x600AF81CU)
#define ANALOG_ALL_BLOCKS 0xFFFFFFU
#define ANALOG_PLL_OFF (1U << 7)
#define ANALOG_CONF2 REGISTER(0x600AF820U)
#define ANALOG_PLL_MASTER_0 (1U << 9)

/* regi2c_bbpll.h; values for a crystal of 40 MHz: clk_tree_ll.h, clk_ll_bbpll_set_config */
#define PLL_SETTINGS                                                                                                  \
    {                                                                                                                 \
        {2U, 0xFFU, 5U << 4}, {3U, 0xFFU, 8U}, {5U, 7U, 0U}, {5U, 7U << 4, 0U}, {6U, 0xFFU, 1U << 6 | 3U << 4 | 3U},  \
            {9U, 3U, 2U},                                                                                             \
    }

/* modem_lpcon_reg.h, modem_syscon_reg.h: clocks of the bus; state 2 is "active" (pmu_types.h) */
#define MODEM_LPCON_MASTER_CLOCK REGISTER(0x600AF010U)
#define MASTER_CLOCK_160_MHZ (1U << 0)
#define MODEM_LPCON_CLOCKS REGISTER(0x600AF018U)
#define MASTER_CLOCK_ON (1U << 2)
#define MODEM_LPCON_GATES REGISTER(0x600AF020U)
#define GATE_LOW_POWER_MASK (0xFFU << 24) /* of the bus's master, of the low-power bus */
#define GATE_LOW_POWER_ACTIVE (0x44U << 24)
#define MODEM_SYSCON_GATES REGISTER(0x600A980CU)
#define GATE_APB_MASK (0xFU << 28)
#define GATE_APB_ACTIVE (4U << 28)

/* pmu_reg.h */
#define PMU_ACTIVE_MODEM REGISTER(0x600B000CU)
#define MODEM_STATE_MASK (3U << 30)
#define MODEM_STATE_ACTIVE (2U << 30)
#define PMU_CLOCK_POWER REGISTER(0x600B00CCU)
#define PLL_POWER_UP (1U << 28 | 1U << 29 | 1U << 30) /* of the bus, of the PLL's registers, of the PLL */
#define PLL_CLOCK_OPEN (1U << 25)
#define PMU_SWITCH_UPDATE REGISTER(0x600B00D0U)
#define PMU_SWITCH_UPDATE_NOW (1U << 28)
#define PMU_MODEM_UPDATE REGISTER(0x600B00DCU)
#define PMU_MODEM_UPDATE_NOW (1U << 31)

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
