#include "chip_registers.h"
#include "esp32.h"
#include "riscv.h"

/* Keys that open the registers for writing: rwdt_ll.h, lpwdt_ll.h and mwdt_ll.h of esp-idf. */
#define WATCHDOG_KEY 0x50D83AA1U
#define TIMG_WDT_CONF_UPDATE (1U << 22)

/*
 * Two of them run since reset in "flash boot" mode, which must be switched off by software, too (ESP32-C3 TRM,
 * watchdog timers: flash boot protection): the RTC's and that of timer group 0. The super watchdog is fed by itself.
 */
IN_RAM void watchdogs_stop(void)
{
    RTC_WDT_PROTECT = WATCHDOG_KEY;
    RTC_WDT_CONFIG0 = 0U;
    RTC_WDT_PROTECT = 0U;

    SUPER_WDT_PROTECT = SUPER_WDT_KEY;
    SUPER_WDT_CONFIG |= SUPER_WDT_AUTO_FEED;
    SUPER_WDT_PROTECT = 0U;

    TIMG0_WDT_PROTECT = WATCHDOG_KEY;
    TIMG0_WDT_CONFIG0 = TIMG_WDT_CONF_UPDATE;
    TIMG0_WDT_PROTECT = 0U;
}
