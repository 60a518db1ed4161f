#include "chip_registers.h"
#include "esp32.h"
#include "riscv.h"

extern uint32_t __flash_end[];

#define PAGE_BITS 16U
#define WINDOW 0x7FFFFFU /* of 8 MiB: SOC_MMU_LINEAR_ADDR_MASK in esp-idf's ext_mem_defs.h */

/* Of the boot ROM (esp32c3.rom.ld, esp32c6.rom.ld; rom/cache.h says what they do). */
#define CACHE_DISABLE ((uint32_t (*)(void))(uintptr_t)ROM_CACHE_DISABLE_ICACHE)
#define CACHE_ENABLE ((void (*)(uint32_t))(uintptr_t)ROM_CACHE_ENABLE_ICACHE)

/*
 * In the order in which esp-idf's second boot loader does it (bootloader_utility.c, set_cache_and_start_app).
 * The image is made so that what is linked at offset n of the window lies at offset n of flash.
 */
IN_RAM void flash_map(void)
{
    const uint32_t end = (uint32_t)(uintptr_t)__flash_end & WINDOW;
    (void)CACHE_DISABLE();
    for (uint32_t page = 0U; page << PAGE_BITS < end; page++) {
        flash_map_page(page, page);
    }
    CACHE_BUSES &= ~(CACHE_SHUT_INSTRUCTIONS | CACHE_SHUT_DATA);
    CACHE_ENABLE(0U);
}

IN_RAM void chip_start(void)
{
    watchdogs_stop();
    flash_map();
}
