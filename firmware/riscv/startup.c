/*
 * From the image's entry to main() on RISC-V chips whose boot ROM has already loaded RAM from the image (.data too).
 * The linker script (board.ld) gives the symbols; the stack lies at the very bottom of RAM, so that one that
 * overflows meets unmapped addresses and faults instead of overwriting data.
 */
#include <stdint.h>

#include "board.h"
#include "riscv.h"

extern uint32_t __stack_bottom[];
extern uint32_t __stack_top[];
extern uint32_t __bss_start[];
extern uint32_t __bss_end[];

int main(void);
void Reset_Handler(void);
void start(void);

/* No interrupt is ever enabled; exceptions go to trap.c. */
__attribute__((naked, used, section(".iram.text"))) void Reset_Handler(void)
{
    __asm volatile(
        "csrci mstatus, 8\n"
        "la sp, __stack_top\n"
        "la t0, trap_entry\n"
        "csrw mtvec, t0\n"
        "call start\n"
        "1: j 1b\n");
}

__attribute__((used)) IN_RAM void start(void)
{
    chip_start();
    for (uint32_t *to = __bss_start; to < __bss_end;) {
        *to++ = 0U;
    }
    (void)main();
}

uint32_t board_stack(uint8_t **lowest)
{
    *lowest = (uint8_t *)__stack_bottom;
    return (uint32_t)((uintptr_t)__stack_top - (uintptr_t)__stack_bottom);
}
