/*
 * The regulators that feed the core and the always-on part. The factory has measured what they give and which setting
 * the core needs for 160 MHz, from revision 0.3 on; esp-idf sets them before it goes that fast (bootloader_esp32c3.c,
 * bootloader_hardware_init; rtc_init.c, set_rtc_dig_dbias).
 */
#include <stdbool.h>

#include "chip_registers.h"
#include "esp32.h"
#include "riscv.h"

/* regi2c_lp_bias.h, regi2c_bias.h, regi2c_dig_reg.h */
#define ANALOG_LOW_POWER 0x61U
#define BIAS_CURRENT_ON (1U << 4)
#define ANALOG_BIAS 0x6AU
#define BIAS_VOLTAGE_MASK 15U
#define BIAS_VOLTAGE 12U
#define ANALOG_REGULATORS 0x6DU
#define REGULATOR_ALWAYS_ON 4U /* its register */
#define REGULATOR_CORE 6U
#define REGULATOR_MASK 31U
#define REGULATOR_MAX 31U
#define REGULATOR_UNKNOWN 28U /* where the factory has said nothing */
#define REGULATOR_SPARE 4U    /* steps above the factory's setting */
#define LOWEST_ALWAYS_ON 15U

/* rtc.h: what both give in the middle of their range (setting 20) and a step of it, in 0.1 mV. */
#define ALWAYS_ON_20 10800
#define ALWAYS_ON_STEP 215
#define CORE_20 10860
#define CORE_STEP 213
#define MEASURED_UNIT 20 /* of the factory's differences from that at setting 20 */
#define TOLERATED 250    /* that the always-on part's may be below the core's */

/* Revision 0.n; 1.n counts as 100 + n. */
static uint32_t revision(void)
{
    const uint32_t minor = (EFUSE_BLOCK1_5 >> 23 & 1U) << 3 | (EFUSE_BLOCK1_3 >> 18 & 7U);
    return (EFUSE_BLOCK1_5 >> 24 & 3U) * 100U + minor;
}

/* The factory writes a sign bit and a magnitude of `bits` bits. */
static int32_t with_sign(uint32_t value, uint32_t bits)
{
    const int32_t magnitude = (int32_t)(value & ((1U << bits) - 1U));
    return (value >> bits & 1U) != 0U ? -magnitude : magnitude;
}

/* The least setting that gives the always-on part what the core has at `core`. */
static uint32_t like_core(uint32_t core)
{
    const uint32_t measured = EFUSE_BLOCK1_4;
    const uint32_t core_20 = (EFUSE_BLOCK1_5 & 31U) << 3 | measured >> 29;
    const int32_t core_step = CORE_STEP + with_sign(measured >> 14 & 0x7FU, 6U);
    const int32_t step = ALWAYS_ON_STEP + with_sign(measured >> 7 & 0x7FU, 6U);
    const int32_t core_gives = CORE_20 + MEASURED_UNIT * with_sign(core_20, 7U) + core_step * ((int32_t)core - 20);
    const int32_t at_20 = ALWAYS_ON_20 + MEASURED_UNIT * with_sign(measured >> 21 & 0xFFU, 7U);
    uint32_t setting = LOWEST_ALWAYS_ON;
    while (setting < REGULATOR_MAX && at_20 + step * ((int32_t)setting - 20) < core_gives - TOLERATED) {
        setting++;
    }
    return setting;
}

static void set(uint32_t block, uint32_t at, uint32_t mask, uint32_t value)
{
    analog_write(block, at, (uint8_t)((analog_read(block, at) & ~mask) | value));
}

void supply_trim(void)
{
    uint32_t core = REGULATOR_UNKNOWN;
    uint32_t always_on = REGULATOR_UNKNOWN;
    if (revision() <= 3U) {
        set(ANALOG_LOW_POWER, 0U, BIAS_CURRENT_ON, BIAS_CURRENT_ON);
        set(ANALOG_BIAS, 1U, BIAS_VOLTAGE_MASK, BIAS_VOLTAGE);
    }
    const uint32_t factory = EFUSE_BLOCK1_5 >> 5 & 31U;
    if (revision() >= 3U && factory != 0U) {
        core = factory + REGULATOR_SPARE < REGULATOR_MAX ? factory + REGULATOR_SPARE : REGULATOR_MAX;
        always_on = like_core(core);
    }
    set(ANALOG_REGULATORS, REGULATOR_ALWAYS_ON, REGULATOR_MASK, always_on);
    set(ANALOG_REGULATORS, REGULATOR_CORE, REGULATOR_MASK, core);
}
