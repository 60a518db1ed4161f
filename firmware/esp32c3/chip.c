#include <stddef.h>

#include "board_config.h"
#include "chip_registers.h"
#include "esp32.h"
#include "riscv.h"

/* ext_mem_defs.h: an entry is the number of flash's page; bit 8, clear, makes it valid. */
IN_RAM void flash_map_page(uint32_t entry, uint32_t page)
{
    MMU_ENTRY(entry) = page;
}

/*
 * The PLL runs since reset, as the ROM's USB needs it: 480 MHz, which the chip divides by 3 (rtc_clk.c of esp-idf,
 * rtc_clk_cpu_freq_to_pll_mhz).
 */
const char *clock_init(void)
{
    SYSTEM_CPU_PER_CONF = (SYSTEM_CPU_PER_CONF & ~CPU_PERIOD_MASK) | PLL_IS_480_MHZ | CPU_PERIOD_160_MHZ;
    SYSTEM_SYSCLK_CONF = (SYSTEM_SYSCLK_CONF & ~(CLOCK_SOURCE_MASK | CLOCK_DIVIDER_MASK)) | CLOCK_SOURCE_PLL;
    return (SYSTEM_SYSCLK_CONF & CLOCK_SOURCE_MASK) == CLOCK_SOURCE_PLL ? NULL : "the PLL cannot be selected";
}

void uart_clock(uint32_t divider)
{
    const uint32_t kept = UART_CLK_CONF & ~(UART_CLK_SOURCE_MASK | UART_CLK_DIVIDER_MASK);
    UART_CLK_CONF = kept | UART_CLK_XTAL | (divider - 1U) << UART_CLK_DIVIDER_AT;
}

/* Needed where UART_ID's bit 30 (UART_HIGH_SPEED) is clear, harmless where it is set. */
void uart_synchronize(void)
{
    UART_ID |= UART_ID_UPDATE;
}
