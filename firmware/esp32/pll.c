/*
 * The PLL that the core runs from: 480 MHz, made of the crystal's 40 MHz. The steps and their order are those of
 * esp-idf whenever the core is not on the PLL (rtc_clk.c, rtc_clk_cpu_freq_set_config; clk_tree_ll.h).
 */
#include <stddef.h>

#include "chip_registers.h"
#include "esp32.h"
#include "riscv.h"

/* Bits of one register of the PLL: regi2c_bbpll.h. */
typedef struct {
    uint8_t at;
    uint8_t mask;
    uint8_t value;
} pll_setting_t;

static const pll_setting_t settings[] = PLL_SETTINGS;

#define ANALOG_PLL 0x66U
#define PLL_DIVIDER_AT 3U /* I2C_BBPLL_OC_DIV_7_0 */
#define PLL_DIVIDER_480_MHZ 8U

static void set(const pll_setting_t *setting)
{
    uint8_t kept = 0U;
    if (setting->mask != 0xFFU) {
        kept = (uint8_t)(analog_read(ANALOG_PLL, setting->at) & ~(uint32_t)setting->mask);
    }
    analog_write(ANALOG_PLL, setting->at, (uint8_t)(kept | setting->value));
}

/* Reading a register back tells a PLL without power from one that has it: nothing answers on the bus then. */
const char *pll_start(void)
{
    pll_power_up();
    ANALOG_CONF0 = (ANALOG_CONF0 & ~PLL_CALIBRATION_STOP) | PLL_CALIBRATION_RUN;
    for (size_t i = 0U; i < sizeof settings / sizeof settings[0]; i++) {
        set(&settings[i]);
    }
    if (analog_read(ANALOG_PLL, PLL_DIVIDER_AT) != PLL_DIVIDER_480_MHZ) {
        return "the PLL does not answer";
    }
    return pll_calibrated() ? NULL : "the PLL is not calibrated in time";
}
