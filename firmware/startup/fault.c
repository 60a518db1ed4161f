/*
 * A fault is reported over the UART and ends the program:
 *
 *     e-[fault: bus pc=08001234 address=60000000 cfsr=00008200]
 *
 * "address=unknown" and "pc=unknown" where the hardware does not say (imprecise faults; a broken stack).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "board.h"
#include "core_registers.h"
#include "text.h"

extern uint32_t __stack_bottom[];
extern uint32_t __stack_top[];

#define FRAME_BYTES 32U
#define FRAME_PC 6U /* word of the exception frame (DDI 0403 B1.5.6) */
#define NEAR_BYTES 0x10000U

void fault_report(uint32_t kind, uint32_t sp);
void NMI_Handler(void);
void HardFault_Handler(void);
void MemManage_Handler(void);
void BusFault_Handler(void);
void UsageFault_Handler(void);
void Unexpected_Handler(void);

/*
 * The stack may be what is broken: note where it was, then start again at its top.
 * `kind` is a number in `names` below.
 */
#define FAULT_HANDLER(name, kind)                 \
    __attribute__((naked, used)) void name(void)  \
    {                                             \
        __asm volatile(                           \
            "mov r1, sp\n"                        \
            "ldr r0, =__stack_top\n"              \
            "mov sp, r0\n"                        \
            "movs r0, #" #kind "\n"               \
            "b fault_report\n"                    \
            ".ltorg\n");                          \
    }

FAULT_HANDLER(NMI_Handler, 0)
FAULT_HANDLER(HardFault_Handler, 1)
FAULT_HANDLER(MemManage_Handler, 2)
FAULT_HANDLER(BusFault_Handler, 3)
FAULT_HANDLER(UsageFault_Handler, 4)
FAULT_HANDLER(Unexpected_Handler, 5)

static const char *const names[] = {"nmi", "hard", "memory", "bus", "usage", "unexpected exception"};

static bool fault_address(uint32_t *address)
{
    const uint32_t cfsr = SCB_CFSR;
    if ((cfsr & SCB_CFSR_BFARVALID) != 0U) {
        *address = SCB_BFAR;
        return true;
    }
    if ((cfsr & SCB_CFSR_MMARVALID) != 0U) {
        *address = SCB_MMFAR;
        return true;
    }
    return false;
}

static bool is_just_below_stack(uint32_t address)
{
    const uint32_t bottom = (uint32_t)(uintptr_t)__stack_bottom;
    return bottom - address <= NEAR_BYTES && address < bottom;
}

static void write_value(const char *label, bool known, uint32_t value)
{
    text_write(label);
    if (known) {
        text_write_hex(value);
    } else {
        text_write("unknown");
    }
}

__attribute__((used, noreturn)) void fault_report(uint32_t kind, uint32_t sp)
{
    const uint32_t bottom = (uint32_t)(uintptr_t)__stack_bottom;
    const uint32_t top = (uint32_t)(uintptr_t)__stack_top;
    const uint32_t cfsr = SCB_CFSR;
    const bool has_frame = sp >= bottom && sp <= top - FRAME_BYTES && (sp & 3U) == 0U;
    uint32_t address = 0U;
    const bool has_address = fault_address(&address);
    const bool overflow = (cfsr & (SCB_CFSR_STKERR | SCB_CFSR_MSTKERR)) != 0U || is_just_below_stack(sp) ||
                          (has_address && is_just_below_stack(address));

    board_led(BOARD_LED_FAULT, true);
    text_write("\r\ne-[fault: ");
    text_write(overflow ? "stack overflow" : names[kind]);
    write_value(" pc=", has_frame, has_frame ? ((const uint32_t *)(uintptr_t)sp)[FRAME_PC] : 0U);
    write_value(" address=", has_address, address);
    write_value(" cfsr=", true, cfsr);
    text_write("]\r\n");
    for (;;) {
        __asm volatile("wfi");
    }
}
