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

/* The bus has two masters; which one serves the PLL's block is a bit of its own (regi2c_impl.c). */
static uint32_t transfer(uint32_t command)
{
    const uint32_t master = (ANALOG_CONF2 & ANALOG_PLL_MASTER_0) != 0U ? 0U : 1U;
    ANALOG_CONF1 = ANALOG_ALL_BLOCKS & ~ANALOG_PLL_OFF;
    while ((ANALOG_CTRL(master) & ANALOG_BUSY) != 0U) {
    }
    ANALOG_CTRL(master) = command;
    while ((ANALOG_CTRL(master) & ANALOG_BUSY) != 0U) {
    }
    return ANALOG_CTRL(master) >> ANALOG_DATA_AT;
}

uint8_t analog_read(uint32_t block, uint32_t at)
{
    return (uint8_t)transfer(block | at << ANALOG_REGISTER_AT);
}

void analog_write(uint32_t block, uint32_t at, uint8_t value)
{
    (void)transfer(block | at << ANALOG_REGISTER_AT | ANALOG_WRITE | (uint32_t)value << ANALOG_DATA_AT);
}

/* Clock gates of the bus's master, which the power management opens in its active state (rtc_clk_init.c). */
static void open_gates(void)
{
    PMU_ACTIVE_MODEM = (PMU_ACTIVE_MODEM & ~MODEM_STATE_MASK) | MODEM_STATE_ACTIVE;
    MODEM_SYSCON_GATES = (MODEM_SYSCON_GATES & ~GATE_APB_MASK) | GATE_APB_ACTIVE;
    MODEM_LPCON_GATES = (MODEM_LPCON_GATES & ~GATE_LOW_POWER_MASK) | GATE_LOW_POWER_ACTIVE;
    PMU_MODEM_UPDATE |= PMU_MODEM_UPDATE_NOW;
    PMU_SWITCH_UPDATE |= PMU_SWITCH_UPDATE_NOW;
    MODEM_LPCON_MASTER_CLOCK |= MASTER_CLOCK_160_MHZ;
    MODEM_LPCON_CLOCKS |= MASTER_CLOCK_ON;
}

void pll_power_up(void)
{
    open_gates();
    PMU_CLOCK_POWER = PLL_POWER_UP;
    PMU_CLOCK_POWER = PLL_CLOCK_OPEN;
}

/* Measured in turns of a loop, since nobody knows the core's rate yet: each takes several cycles, 100 us at least. */
#define CALIBRATION_TURNS 4000U
#define SETTLING_TURNS 400U /* esp-idf: 10 us */

bool pll_calibrated(void)
{
    uint32_t turns = CALIBRATION_TURNS;
    while ((ANALOG_CONF0 & PLL_CALIBRATION_DONE) == 0U && turns > 0U) {
        turns--;
    }
    for (volatile uint32_t i = 0U; i < SETTLING_TURNS; i++) {
    }
    ANALOG_CONF0 = (ANALOG_CONF0 & ~PLL_CALIBRATION_RUN) | PLL_CALIBRATION_STOP;
    return turns > 0U;
}

/*
 * The chip makes 160 MHz of the PLL's 480 before the divider here (clk_tree_ll.h of esp-idf,
 * clk_ll_cpu_set_hs_divider). Flash changes over with the core: reset's divider would make 120 MHz, too fast for a
 * chip that is not calibrated for it, so that comes first (rtc_clk_init.c). A core that is on the PLL stays there.
 */
const char *clock_init(void)
{
    PCR_MSPI_CLK_CONF = (PCR_MSPI_CLK_CONF & ~MSPI_DIVIDER_MASK) | MSPI_DIVIDER_6;
    if ((PCR_SYSCLK_CONF & CLOCK_SOURCE_MASK) != CLOCK_SOURCE_PLL) {
        const char *problem = pll_start();
        if (problem != NULL) {
            return problem;
        }
    }
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
