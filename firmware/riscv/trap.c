/*
 * An exception is reported over the UART and ends the program:
 *
 *     e-[fault: load access pc=42011234 address=60100000 mcause=00000005]
 */
#include <stdbool.h>
#include <stdint.h>

#include "board.h"
#include "text.h"

extern uint32_t __stack_bottom[];

#define NEAR_BYTES 0x10000U

void trap_entry(void);
void trap_report(uint32_t cause, uint32_t pc, uint32_t address, uint32_t sp);

/*
 * Espressif's cores know vectored mode only: exceptions come to the base, which is a multiple of 256 (ESP32-C3 TRM,
 * mtvec). The stack may be what is broken: note where it was, then start again at its top.
 */
__attribute__((naked, used, aligned(256), section(".iram.trap"))) void trap_entry(void)
{
    __asm volatile(
        "mv a3, sp\n"
        "la sp, __stack_top\n"
        "csrr a0, mcause\n"
        "csrr a1, mepc\n"
        "csrr a2, mtval\n"
        "tail trap_report\n");
}

/* RISC-V privileged architecture, table of mcause; an interrupt has bit 31 set. */
static const char *name_of(uint32_t cause)
{
    static const char *const names[] = {
        "instruction alignment", "instruction access", "illegal instruction", "breakpoint",
        "load alignment", "load access", "store alignment", "store access",
    };
    return cause < sizeof names / sizeof names[0] ? names[cause] : "unexpected trap";
}

static bool is_just_below_stack(uint32_t address)
{
    const uint32_t bottom = (uint32_t)(uintptr_t)__stack_bottom;
    return address < bottom && bottom - address <= NEAR_BYTES;
}

static void write_value(const char *label, uint32_t value)
{
    text_write(label);
    text_write_hex(value);
}

__attribute__((used, noreturn)) void trap_report(uint32_t cause, uint32_t pc, uint32_t address, uint32_t sp)
{
    board_led(BOARD_LED_FAULT, true);
    text_write("\r\ne-[fault: ");
    text_write(is_just_below_stack(sp) || is_just_below_stack(address) ? "stack overflow" : name_of(cause));
    write_value(" pc=", pc);
    write_value(" address=", address);
    write_value(" mcause=", cause);
    text_write("]\r\n");
    for (;;) {
        __asm volatile("wfi");
    }
}
