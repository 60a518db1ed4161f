#include <stddef.h>

#include "board_config.h"
#include "chip_registers.h"
#include "esp32.h"
#include "riscv.h"

/* An entry is the number of flash's page; bit 9, set, makes it valid (ext_mem_defs.h). */
IN_RAM void flash_map_page(uint32_t entry, uint32_t page)
{
    MMU_POWER_CTRL &= ~MMU_PAGE_SIZE_MASK;
    MMU_ITEM_INDEX = entry;
    MMU_ITEM_CONTENT = page | MMU_VALID;
}

/*
 * The PLL runs since reset, as the ROM's USB needs it: 480 MHz, of which the chip makes 160 MHz before the divider
 * here (clk_tree_ll.h of esp-idf, clk_ll_cpu_set_hs_divider). Flash changes over with the core: reset's divider would
 * make 120 MHz, too fast for a chip that is not calibrated for it, so that comes first (rtc_clk_init.c).
 */
const char *clock_init(void)
{
    PCR_MSPI_CLK_CONF = (PCR_MSPI_CLK_CONF & ~MSPI_DIVIDER_MASK) | MSPI_DIVIDER_6;
    PCR_CPU_FREQ_CONF &= ~CPU_DIVIDER_MASK;
    PCR_SYSCLK_CONF = (PCR_SYSCLK_CONF & ~CLOCK_SOURCE_MASK) | CLOCK_SOURCE_PLL;
    return (PCR_SYSCLK_CONF & CLOCK_SOURCE_MASK) == CLOCK_SOURCE_PLL ? NULL : "the PLL cannot be selected";
}

void uart_clock(uint32_t divider)
{
    const uint32_t kept = PCR_UART0_SCLK_CONF & ~(UART_CLK_SOURCE_MASK | UART_CLK_DIVIDER_MASK);
    PCR_UART0_SCLK_CONF = kept | UART_CLK_ENABLE | UART_CLK_XTAL | (divider - 1U) << UART_CLK_DIVIDER_AT;
}

/* The UART takes its registers over when asked to (uart_ll.h, uart_ll_update), and clears the bit when it has. */
void uart_synchronize(void)
{
    UART_UPDATE = 1U;
    while ((UART_UPDATE & 1U) != 0U) {
    }
}
