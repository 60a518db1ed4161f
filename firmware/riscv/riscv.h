/* What RISC-V code of ours shares: control and status registers, and code that lies in RAM. */
#ifndef RISCV_H
#define RISCV_H

#include <stdint.h>

/* Numbers or names of CSRs are part of the instruction, so these are macros. */
#define CSR_WRITE(csr, value) __asm volatile("csrw " #csr ", %0" ::"r"((uint32_t)(value)))
#define CSR_READ(csr, variable) __asm volatile("csrr %0, " #csr : "=r"(variable))

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

/* What runs before flash can be read. All that such a function calls must be in RAM, too. */
#define IN_RAM __attribute__((section(".iram.text"), noinline))

/* Stops watchdogs and makes flash readable; each chip has its own. Runs in RAM, before .bss is zero. */
void chip_start(void);

#endif
