/*
 * From reset to main() on Armv7E-M and Armv8-M. The linker script (board.ld) gives the symbols; the stack lies at the
 * very bottom of RAM, so that one that overflows meets unmapped addresses and faults instead of overwriting data.
 */
#include <stdint.h>

#include "board.h"
#include "board_config.h"
#include "core_registers.h"

extern uint32_t __stack_bottom[];
extern uint32_t __stack_top[];
extern uint32_t __data_start[];
extern uint32_t __data_end[];
extern const uint32_t __data_load[];
extern uint32_t __bss_start[];
extern uint32_t __bss_end[];

int main(void);
void Reset_Handler(void);
void start(void);
void NMI_Handler(void);
void HardFault_Handler(void);
void MemManage_Handler(void);
void BusFault_Handler(void);
void UsageFault_Handler(void);
void Unexpected_Handler(void);
void SysTick_Handler(void);

typedef void handler_t(void);

typedef struct {
    uint32_t *stack;
    handler_t *handlers[15];
} vectors_t;

/* System exceptions only (DDI 0403 B1.5.2): no peripheral interrupt is ever enabled. */
__attribute__((used, section(".vectors"))) const vectors_t vectors = {
    .stack = __stack_top,
    .handlers = {
        Reset_Handler,
        NMI_Handler,
        HardFault_Handler,
        MemManage_Handler,
        BusFault_Handler,
        UsageFault_Handler,
        0, 0, 0, 0,
        Unexpected_Handler, /* SVCall */
        Unexpected_Handler, /* debug monitor */
        0,
        Unexpected_Handler, /* PendSV */
        SysTick_Handler,
    },
};

/*
 * CPACR (DDI 0403 B3.2.20): CP10 and CP11, the FPU, on before any compiled code that might use it. Where the supply
 * comes first, it does before anything is written to RAM, the stack included.
 */
__attribute__((naked, used)) void Reset_Handler(void)
{
    __asm volatile(
#if BOARD_SUPPLY_FIRST
        "bl supply_init\n"
#endif
        "ldr r0, =0xE000ED88\n"
        "ldr r1, [r0]\n"
        "orr r1, r1, #0x00F00000\n"
        "str r1, [r0]\n"
        "dsb\n"
        "isb\n"
        "bl start\n"
        "b .\n"
        ".ltorg\n");
}

__attribute__((used, noinline)) void start(void)
{
    const uint32_t *from = __data_load;
    for (uint32_t *to = __data_start; to < __data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *to = __bss_start; to < __bss_end;) {
        *to++ = 0U;
    }
    SCB_VTOR = (uint32_t)(uintptr_t)&vectors;
    SCB_SHCSR |= SCB_SHCSR_MEMFAULTENA | SCB_SHCSR_BUSFAULTENA | SCB_SHCSR_USGFAULTENA;
    data_barrier();
    (void)main();
}

uint32_t board_stack(uint8_t **lowest)
{
    *lowest = (uint8_t *)__stack_bottom;
    return (uint32_t)((uintptr_t)__stack_top - (uintptr_t)__stack_bottom);
}
