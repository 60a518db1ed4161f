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

/* Of the boot ROM (esp32c3.rom.ld); the second argument is the bus, of which there is one. */
#define REGI2C_READ ((uint8_t (*)(uint32_t, uint32_t, uint32_t))(uintptr_t)ROM_REGI2C_READ)
#define REGI2C_WRITE ((void (*)(uint32_t, uint32_t, uint32_t, uint32_t))(uintptr_t)ROM_REGI2C_WRITE)

uint8_t analog_read(uint32_t block, uint32_t at)
{
    return REGI2C_READ(block, 0U, at);
}

void analog_write(uint32_t block, uint32_t at, uint8_t value)
{
    REGI2C_WRITE(block, 0U, at, value);
}

void pll_power_up(void)
{
    ANALOG_BUS |= ANALOG_BUS_ALL_OFF;
    ANALOG_BUS &= ~ANALOG_BUS_PLL_OFF;
    RTC_OPTIONS0 &= ~PLL_POWER_DOWN;
    SYSTEM_CPU_PER_CONF |= PLL_IS_480_MHZ;
}

/* This chip has no flag that calibration ends with; it goes on while the core runs, as esp-idf leaves it. */
bool pll_calibrated(void)
{
    return true;
}

/*
 * The PLL's 480 MHz are divided by 3 (rtc_clk.c of esp-idf, rtc_clk_cpu_freq_to_pll_mhz). A core that is on the PLL
 * stays there: it proves that the PLL runs.
 */
const char *clock_init(void)
{
    if ((SYSTEM_SYSCLK_CONF & CLOCK_SOURCE_MASK) != CLOCK_SOURCE_PLL) {
        SYSTEM_SYSCLK_CONF &= ~(CLOCK_SOURCE_MASK | CLOCK_DIVIDER_MASK);
        supply_trim();
        const char *problem = pll_start();
        if (problem != NULL) {
            return problem;
        }
    }
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
